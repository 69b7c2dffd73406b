package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// Who may operate may ask for a proof, which is an act; the wish stands until a
// run begins.
func TestProof_OneIsAskedFor(t *testing.T) {
	r := start(t, "audit_log: { url: CONTROL }")
	if _, body := r.do(r.admin, "GET", "/v1/proof", ""); !strings.Contains(body, `"verdict":null`) ||
		!strings.Contains(body, `nothing was proven yet`) {
		t.Errorf("before the first: %s", body)
	}
	resp, first := r.do(r.fleet, "POST", "/v1/proof", "") // its key may operate
	if resp.StatusCode != http.StatusAccepted {
		t.Fatal(resp.Status, first)
	}
	if _, again := r.do(r.fleet, "POST", "/v1/proof", ""); again != first {
		t.Errorf("asked twice: %s, then %s", first, again)
	}
	var wish, proof struct {
		At *string `json:"requested_at"`
	}
	_, body := r.do(r.fleet, "GET", "/v1/proof", "")
	if json.Unmarshal([]byte(first), &wish) != nil || json.Unmarshal([]byte(body), &proof) != nil || proof.At == nil ||
		*proof.At != *wish.At {
		t.Errorf("%s, and then %s", first, body)
	}
	if acts := r.acts("?path=/v1/proof").Acts; len(acts) != 2 {
		t.Errorf("%d acts", len(acts))
	}
}
