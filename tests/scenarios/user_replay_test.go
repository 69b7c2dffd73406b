package scenarios

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// An app sends the user in a field that is not declared: its events become dead letters. A redrive with a patch,
// killed half way, brings in each event once, except those of a blocked device and of one that has withdrawn consent.
// The misplaced user id is masked once it is in the right field. Reprocessing changes no count, and telemetry stays
// as it was.
func TestReplay_EventsAboutPeopleComeInOnceAndAsTheirSubjectsWant(t *testing.T) {
	t.Parallel()
	const events = 2000
	s := newSystem(t)
	gate := s.withPeople(map[string]string{"user_replay.yaml": "- label: consent\n      consent: { url: " +
		"'${WEIR_CONTROL_URL}', purposes: [analytics], unknown: pass }\n    "})
	s.start()
	s.ready()
	s.createKey()
	s.listens(gate)
	if status, body := s.sendTo(s.key, fmt.Sprintf(`{"event_id":%q,"device_id":"pump-1","device_firmware_version":"2.0.0",`+
		`"timestamp":%q,"metrics":{"cpu_temp":50,"battery_voltage":3.7,"vibration":0.2}}`, uuid.NewString(),
		time.Now().UTC().Format(time.RFC3339Nano))); status != http.StatusAccepted {
		t.Fatalf("a device's event was answered %d %s", status, body)
	}
	s.misplaced(gate, events)
	s.behind("weir-user-dead-letter", "user-dead-letter")
	in := func(args ...string) replayJob {
		t.Helper()
		return s.replay(append([]string{"--log", "user-events"}, args...)...)()
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := s.weir(append(args, "--data", s.data)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := run("dead-letters", "--log", "user-events", "--json", "--limit", "5"); strings.Count(out, `"schema_violation"`) != 5 {
		t.Errorf("their dead letters: %s", out)
	}
	if out := run("dead-letters"); strings.Contains(out, "schema_violation") {
		t.Errorf("among those of telemetry are: %s", out)
	}
	const patch = `root.user = this.usr
root.usr = deleted()`
	if out := run("dead-letters", "--log", "user-events", "--dry-run", "--patch", patch, "--json"); !strings.Contains(out,
		`"failing": 0`) {
		t.Errorf("a trial: %s", out)
	}
	run("block", "put", "--fleet", fleetName, "--device", "browser-0", "--for", "1h", "--reason", "card testing")
	run("consent", "withdraw", "--fleet", fleetName, "--subject", "browser-1", "--purpose", "analytics")

	redrive := []string{"--mode", "redrive", "--code", "schema_violation", "--patch", patch, "--rate", "400"}
	ended := s.replay(append([]string{"--log", "user-events"}, redrive...)...)
	s.killMidway()
	s.start()
	s.ready()
	// Records in flight at the kill are read again: those already published are skipped, those refused are refused
	// again.
	if j := ended(); j.State != "done" || j.Progress.Read < events || j.Progress.Published > events*8/10 ||
		j.Progress.Refused < events*2/10 {
		t.Fatalf("the redrive: %+v", j)
	}
	s.explained(events * 8 / 10)
	if j := in(redrive...); j.Progress.Published != 0 || j.Progress.Skipped != events*8/10 ||
		j.Progress.Refused != events*2/10 {
		t.Errorf("the same once more: %+v", j)
	}
	run("block", "lift", "--fleet", fleetName, "--device", "browser-0")
	run("consent", "grant", "--fleet", fleetName, "--subject", "browser-1", "--purpose", "analytics")
	time.Sleep(3 * time.Second) // blocks and consents are re-read every second or two
	if j := in(redrive...); j.Progress.Published != events*2/10 || j.Progress.Skipped != events*8/10 {
		t.Errorf("when nobody is against it any more: %+v", j)
	}
	s.explained(events)

	// Events that were too old are redriven if their code is named.
	if status, _ := s.request("http://"+gate+"/v1/events", http.MethodPost, s.key, aged(personal(""),
		48*time.Hour)); status != http.StatusBadRequest {
		t.Errorf("an event of two days ago was answered %d", status)
	}
	s.behind("weir-user-dead-letter", "user-dead-letter")
	s.until("the stale one is sent back", func() bool {
		j := in("--mode", "redrive", "--code", "stale")
		return j.Progress.Published == 1
	})
	s.explained(events + 1)

	run("consent", "withdraw", "--fleet", fleetName, "--subject", "browser-1", "--purpose", "analytics")
	from, to := time.Now().Add(-72*time.Hour).UTC().Format(time.RFC3339),
		time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	ended = s.replay("--log", "user-events", "--mode", "reprocess", "--from", from, "--to", to, "--rate", "400")
	s.killMidway()
	s.start()
	s.ready()
	if j := ended(); j.State != "done" || j.Progress.Read != events+1 || j.Progress.Published != events*9/10 ||
		j.Progress.Refused != events/10+1 { // the stale event was of browser-1 too
		t.Errorf("reprocessing: %+v", j)
	}
	s.explained(events + 1)
	s.drained()
	s.reconcile()
	if n := s.stored(); n != 1 {
		t.Errorf("of telemetry are stored %d", n)
	}
}

// withPeople writes the configs of both logs before the start, inserts the given text into files of configs/people
// where their comments allow it, and returns the address of the gate for user events.
func (s *system) withPeople(more map[string]string) (gate string) {
	s.t.Helper()
	gate = freeAddress(s.t)
	s.env = []string{"WEIR_PRIVACY_KEYS=k1:only-a-test-knows-this", "WEIR_USER_INGEST_ADDRESS=" + gate,
		"WEIR_RAW_PERIOD=500ms", "WEIR_DEAD_LETTER_PERIOD=500ms"}
	if _, err := s.weir("configs", filepath.Join(s.dir, "mine")); err != nil {
		s.t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "mine", "configs", "people", "*.yaml"))
	if err != nil || len(files) == 0 {
		s.t.Fatal(files, err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			s.t.Fatal(err)
		}
		text := string(raw)
		if add := more[filepath.Base(file)]; add != "" {
			text = strings.Replace(text, "# Where user_ingest has `consent`", add+"# Where user_ingest has `consent`", 1)
			if text == string(raw) {
				s.t.Fatalf("%s says nowhere where consent goes", file)
			}
		}
		if err := os.WriteFile(filepath.Join(s.dir, "mine", "configs", "streams", filepath.Base(file)), []byte(text),
			0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	s.besideWeir()
	return gate
}

// misplaced posts n events of ten devices that have the user in an undeclared field, and expects each to be refused.
func (s *system) misplaced(gate string, n int) {
	s.t.Helper()
	for first := 0; first < n; first += 100 {
		var list []string
		for i := first; i < first+100; i++ {
			list = append(list, fmt.Sprintf(`{"event_id":%q,"device_id":"browser-%d","device_firmware_version":"1.2.0",`+
				`"timestamp":%q,"metrics":{},"metadata":{"type":"page_viewed"},"usr":{"id":"person-%d"}}`, uuid.NewString(), i%10,
				time.Now().UTC().Format(time.RFC3339Nano), i%7))
		}
		status, body := s.request("http://"+gate+"/v1/events", http.MethodPost, s.key, "["+strings.Join(list, ",")+"]")
		if status != http.StatusBadRequest || strings.Count(body, "schema_violation") != 100 {
			s.t.Fatalf("%d %.300s", status, body)
		}
	}
}

// explained waits until all user events are processed. It fails unless n events are stored, each once and with a
// masked user id, and reconcile explains every record of their log. It returns the report.
func (s *system) explained(n int) (report string) {
	s.t.Helper()
	s.behind("weir-user-raw", "user-events")
	s.behind("weir-user-raw", "user-replay-events")
	seen := map[string]bool{}
	page := fmt.Sprintf("/v1/events?log=user-events&fields=event_id,event&limit=5000&from=%s&to=%s&cursor=",
		time.Now().Add(-72*time.Hour).UTC().Format(time.RFC3339), time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	for cursor := ""; ; {
		var found struct {
			Events []struct {
				ID    string `json:"event_id"`
				Event struct{ User struct{ ID string } }
			}
			Next *string
		}
		s.get(page+cursor, s.key, &found)
		for _, e := range found.Events {
			if seen[e.ID] || !strings.HasPrefix(e.Event.User.ID, "pii-") {
				raw, _ := json.Marshal(e) // only for the test's log
				s.t.Fatalf("stored twice, or with an id in clear: %s", raw)
			}
			seen[e.ID] = true
		}
		if found.Next == nil {
			break
		}
		cursor = *found.Next
	}
	if len(seen) != n {
		s.t.Fatalf("%d events about people are stored of %d", len(seen), n)
	}
	out, err := s.weir("reconcile", "--log", "user-events", "--data", s.data, "--wait", "60s", "--deep")
	if err != nil || !strings.Contains(out, "Every record is explained") {
		s.t.Fatalf("%v\n%s", err, out)
	}
	return out
}
