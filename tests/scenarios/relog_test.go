package scenarios

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
)

// Dead letters outlive their log: it is emptied, and in the new log other events of the same device, dead letters
// among them, have the same coordinates. A redrive brings in each event once, whichever log its dead letter is from.
func TestClaims_ARedriveIntoAnotherLogLosesNothing(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	broken, early := oneEvent("pump-1"), firmware7(oneEvent("pump-1"))
	s.post(oneEvent("pump-1"))
	s.pastTheGate("pump-1", strings.Replace(broken, `"cpu_temp":61.5`, `"cpu_temp":"61.5"`, 1))
	s.refused(early)
	s.letters(2)
	s.drained()
	s.stop()
	s.forgetLog()
	s.start()
	s.ready()
	live := []string{oneEvent("pump-1"), oneEvent("pump-1"), oneEvent("pump-1")}
	s.post(live...)
	newer := []string{firmware7(oneEvent("pump-1")), firmware7(oneEvent("pump-1"))}
	s.refused(newer...)
	s.letters(4)
	s.widen()
	const repair = `root.metrics.cpu_temp = this.metrics.cpu_temp.number()`
	if j := s.replay("--mode", "redrive", "--patch", repair)(); j.Progress.Published != 4 || j.Progress.Refused != 0 {
		t.Fatalf("the redrive: %+v", j)
	}
	s.drained()
	all := append(append([]string{broken, early}, live...), newer...)
	s.eachStoredOnce(all...)
	s.post(early) // claimed by the redrive: now a duplicate
	s.drained()
	s.eachStoredOnce(all...)
	if n := s.counted("cpu_temp", ""); n != len(all) {
		t.Errorf("%d events are counted of %d", n, len(all))
	}
	s.reconcile()
}

func firmware7(of string) string { return strings.Replace(of, `"2.1.0"`, `"7.1.0"`, 1) }

// refused posts events of a firmware that no schema knows, and expects 400.
func (s *system) refused(events ...string) {
	s.t.Helper()
	if status, answer := s.send(s.key, events...); status != http.StatusBadRequest {
		s.t.Fatalf("events of an unknown firmware were answered %d: %s", status, answer)
	}
}

// pastTheGate writes an event into the log without the gate.
func (s *system) pastTheGate(device, value string) {
	s.t.Helper()
	client, err := kgo.NewClient(s.brokerOptions()...)
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	err = client.ProduceSync(s.t.Context(), &kgo.Record{Topic: "raw-events", Key: []byte(device), Value: []byte(value),
		Headers: []kgo.RecordHeader{
			{Key: event.HeaderFleet, Value: []byte(fleetName)},
			{Key: event.HeaderReceivedAt, Value: []byte(time.Now().UTC().Format(event.TimeFormat))},
		}}).FirstErr()
	if err != nil {
		s.t.Fatal(err)
	}
}

// letters waits until the store has n dead letters.
func (s *system) letters(n int64) {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		j := s.replay("--mode", "redrive", "--dry-run")()
		if j.Preview.Letters == n {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("of %d dead letters %d are stored", n, j.Preview.Letters)
		}
	}
}

// eachStoredOnce fails unless the stored events are exactly the given ones, each once.
func (s *system) eachStoredOnce(events ...string) {
	s.t.Helper()
	var found struct {
		Events []struct {
			EventID string `json:"event_id"`
		}
	}
	s.get(fmt.Sprintf("/v1/events?limit=1000&from=%s&to=%s", time.Now().Add(-2*time.Hour).UTC().Format(time.RFC3339),
		time.Now().Add(time.Hour).UTC().Format(time.RFC3339)), s.key, &found)
	rows := map[string]int{}
	for _, e := range found.Events {
		rows[e.EventID]++
	}
	for i, raw := range events {
		var e struct {
			EventID string `json:"event_id"`
		}
		if err := json.Unmarshal([]byte(raw), &e); err != nil {
			s.t.Fatal(err)
		}
		if rows[e.EventID] != 1 {
			s.t.Errorf("event %d of %d is stored %d times", i, len(events), rows[e.EventID])
		}
	}
	if len(rows) != len(events) {
		s.t.Errorf("%d events are stored of %d", len(rows), len(events))
	}
}
