package api

import (
	"net/http/httptest"
	"testing"
)

// The entry of a question about a person says whom it was about.
func TestReads_TheEntryNamesThePersonThatWasAskedFor(t *testing.T) {
	a := readOf(httptest.NewRequest("GET", "/v1/erasures?fleet=shop&person=ann", nil), "r-1", 200)
	if a.Detail["person"] != "ann" || a.Detail["fleet"] != "shop" {
		t.Errorf("%v", a.Detail)
	}
}
