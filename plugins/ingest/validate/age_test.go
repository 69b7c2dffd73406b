package validate

import (
	"math"
	"strings"
	"testing"
	"time"

	"weir/internal/event"
)

func TestStale_AnEventIsJudgedByTheTimeItWasReceived(t *testing.T) {
	at := func(fleet, when string) string { return fleet + " " + when }
	wishes := map[string]bool{ // whether it is stale
		at("a", "2026-11-20T09:30:00Z"): false, at("a", "2026-11-20T09:29:59.999Z"): true,
		at("a", "2026-11-22T09:30:00Z"): false, at("a", "2026-11-22T09:30:00.001Z"): true,
		at("b", "2026-11-19T09:30:00Z"): false, at("b", "2026-11-18T09:29:59Z"): true,
		at("museum", "1970-01-01T00:00:00Z"): false, at("a", "0001-01-01T00:00:00Z"): true,
		at("a", "9999-01-01T00:00:00Z"): true,
	}
	for wish, stale := range wishes {
		fleet, when, _ := strings.Cut(wish, " ")
		m := through(t, "  url: file://"+shippedDir(t)+"\n  max_age: 24h\n  max_age_of_fleets: { b: 72h, museum: '' }",
			message(strings.Replace(goodEvent, "2026-11-21T09:30:00.123Z", when, 1),
				event.HeaderReceivedAt, receivedAt, event.HeaderFleet, fleet))[0]
		r := event.RejectionOf(m)
		if (r != nil) != stale || stale && (r.Code != event.CodeStale || r.Errors[0].Pointer != "/timestamp") {
			t.Errorf("%s: %+v", wish, r)
		}
		if stale == (event.Meta(m, event.HeaderSchema) != "") {
			t.Errorf("%s: the schema of a stale event is noted, or that of another is not", wish)
		}
	}
}

func TestStale_BoundsThatAreNoneAreRefused(t *testing.T) {
	for _, says := range []string{"1d", "0s", "-24h", "24"} {
		if _, err := parseAge(says); err == nil {
			t.Errorf("%q is taken", says)
		}
	}
	a := &ages{most: math.MaxInt64}
	if a.refuse("", time.Time{}, time.Now()) != nil {
		t.Error("an event is too old for a bound that has no end")
	}
}
