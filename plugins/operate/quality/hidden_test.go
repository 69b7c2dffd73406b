package quality

import (
	"slices"
	"strings"
	"testing"

	"weir/plugins/ingest/privacy"
)

// What a schema says to hold personal data is hidden, with all that is within it; what
// it says to keep is not.
func TestHidden_FieldsOfPersonalDataAndWhatIsWithinThem(t *testing.T) {
	pointers, whole := privacy.Annotated([]byte(`{"properties":{
		"user":{"type":"object","x-pii":"mask"},"mail":{"x-pii":"email"},"plan":{"x-pii":"keep"},
		"diagnostics":{"properties":{"phone":{"x-pii":"drop"}}}}}`))
	if !whole || !slices.Equal(pointers, []string{"/diagnostics/phone", "/mail", "/user"}) {
		t.Fatalf("the schema hides %v (%v)", pointers, whole)
	}
	for pointer, want := range map[string]bool{"/user": true, "/user/name": true, "/users": false, "/mail": true,
		"/plan": false, "/diagnostics": false, "/diagnostics/phone": true, "/metrics/t": false} {
		got := slices.ContainsFunc(pointers, func(p string) bool {
			return within(strings.Split(pointer, "/"), strings.Split(p, "/"))
		})
		if got != want {
			t.Errorf("%s is hidden: %v", pointer, got)
		}
	}
	if !within(strings.Split("/a/b/c", "/"), strings.Split("/a/*", "/")) {
		t.Error("a * does not stand for a name")
	}
	if _, whole := privacy.Annotated([]byte(`{`)); whole {
		t.Error("what is no schema hides nothing")
	}
}
