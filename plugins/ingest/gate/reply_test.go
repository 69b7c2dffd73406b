package gate

import (
	"net/http"
	"strings"
	"testing"

	"weir/internal/event"
)

// The verdict on an event of who is blocked is 403, over each protocol, and that on
// any other bad one 400; the request as a whole is answered as with any.
func TestReply_ABlockedEventIsForbidden(t *testing.T) {
	res := result{items: make([]item, 3), rejected: map[int]*event.Rejection{
		0: event.Reject(event.CodeBlocked, "/device_id", "is blocked until then"),
		2: event.Reject(event.CodeStale, "/timestamp", "is old")}}
	for name, body := range map[string]string{"all": string(appendVerdicts(nil, res.items, res.rejected)),
		"minimal": string(appendRejections(nil, res.items, res.rejected))} {
		for _, want := range []string{`"index":0,"event_id":null,"status":403,"code":"blocked"`,
			`"index":2,"event_id":null,"status":400,"code":"stale"`} {
			if !strings.Contains(body, want) {
				t.Errorf("%s: %s has no %s", name, body, want)
			}
		}
	}
	grpc := response(res).Events
	if grpc[0].Status != http.StatusForbidden || grpc[0].Code != "blocked" || grpc[1].Status != http.StatusAccepted ||
		grpc[2].Status != http.StatusBadRequest {
		t.Errorf("%v", grpc)
	}
	if res.status() != http.StatusMultiStatus {
		t.Errorf("the request is answered %d", res.status())
	}
}
