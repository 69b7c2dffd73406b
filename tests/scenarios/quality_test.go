package scenarios

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"
)

// quality holds the fields of GET /v1/quality that these tests read.
type quality struct {
	Events, Refused, Repeats int
}

// judging returns the environment of a weir that computes data quality every second, the current hour included.
func (s *system) judging() []string {
	later := time.Now().Add(3 * time.Hour).UTC().Format(time.RFC3339)
	return []string{"WEIR_QUALITY_INTERVAL=1s", "WEIR_QUALITY_NOW=" + later}
}

// judged waits until the data quality of the fleets covers all events of the last hours, by the counts of weir
// reconcile, and returns it by fleet.
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
