package scenarios

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"
)

// quality is what these tests read of GET /v1/quality.
type quality struct {
	Events, Refused, Repeats int
}

// judging is the environment of a weir that computes data quality every second, also
// of this hour.
func (s *system) judging() []string {
	later := time.Now().Add(3 * time.Hour).UTC().Format(time.RFC3339)
	return []string{"WEIR_QUALITY_INTERVAL=1s", "WEIR_QUALITY_NOW=" + later}
}

// judged waits until the data quality of the fleets is of all that was accepted or
// refused within the last hours, as weir reconcile counts it, and returns it.
func (s *system) judged(fleets ...string) map[string]quality {
	s.t.Helper()
	admin, err := s.weir("keys", "create", "--admin", "--data", s.data)
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := s.weir("reconcile", "--data", s.data, "--json")
	if err != nil {
		s.t.Fatal(err)
	}
	var proven struct{ Total counts }
	if err := json.Unmarshal([]byte(out), &proven); err != nil {
		s.t.Fatal(err)
	}
	now := time.Now().UTC()
	of := map[string]quality{}
	s.until("the data quality is not of all events", func() bool {
		sum := quality{}
		for _, fleet := range fleets {
			var q quality
			ask := url.Values{"fleet": {fleet}, "from": {now.Add(-2 * time.Hour).Format(time.RFC3339)},
				"to": {now.Add(time.Hour).Format(time.RFC3339)}}
			if err := s.ask(strings.TrimSpace(admin), "GET", "/v1/quality?"+ask.Encode(), &q); err != nil {
				return false
			}
			of[fleet] = q
			sum = quality{sum.Events + q.Events, sum.Refused + q.Refused, sum.Repeats + q.Repeats}
		}
		return int64(sum.Events+sum.Refused) == proven.Total.Stored && int64(sum.Repeats) == proven.Total.Duplicates
	})
	return of
}
