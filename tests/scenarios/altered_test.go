package scenarios

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// answer posts one event to the gate with the fleet's key and returns status and body.
func (s *system) answer(body string) (status int, reply string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://"+s.addresses[0]+"/v1/events",
		strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-API-Key", s.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// A mapping before the log that forgets `root = this` drops the rest of the event. The gate must answer such an event
// with 400, store a dead letter with the original bytes, and a redrive must bring the original in.
func TestEventLog_AMaskThatForgetsTheRestLosesNothing(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	for _, dir := range []string{"configs", "schemas", "bloblang"} {
		if err := os.CopyFS(filepath.Join(s.dir, dir), os.DirFS(repo(dir))); err != nil {
			t.Fatal(err)
		}
	}
	ingest := filepath.Join(s.dir, "configs", "streams", "ingest.yaml")
	raw, err := os.ReadFile(ingest)
	if err != nil {
		t.Fatal(err)
	}
	mask := func(mapping string) {
		t.Helper()
		masked := strings.Replace(string(raw), "\n# Here the batch becomes durable",
			"    - label: mask\n      mapping: '"+mapping+"'\n\n# Here the batch becomes durable", 1)
		if masked == string(raw) {
			t.Fatal("ingest.yaml has no place for the mask")
		}
		if err := os.WriteFile(ingest, []byte(masked), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	mask(`root.diagnostics.user = "***"`)
	if out, err := s.weir("lint", ingest); err == nil || !strings.Contains(err.Error(), "root = this") {
		t.Errorf("lint says %s, %v", out, err)
	}
	mask(`root = if this.diagnostics.user == "ada" { {"diagnostics": {"user": "***"}} }` + // only some events
		"'\n    - label: hold\n      mapping: '" + `root = if this.metrics.cpu_temp.or(0) > 500 { throw("quarantine: too hot") }`)
	s.start()
	s.ready()
	s.createKey()
	event := fmt.Sprintf(`{"event_id":%q,"device_id":"door-1","device_firmware_version":"2.1.0","timestamp":%q,`+
		`"metrics":{"cpu_temp":61.5,"battery_voltage":3.7,"vibration":0.2},"diagnostics":{"user":"ada"}}`,
		uuid.NewString(), time.Now().UTC().Format(time.RFC3339Nano))
	if status, reply := s.answer(event); status != http.StatusBadRequest ||
		!strings.Contains(reply, `"processing_failed"`) || !strings.Contains(reply, "root = this") {
		t.Fatalf("answered %d: %s", status, reply)
	}
	s.drained()
	if n := s.stored(); n != 0 {
		t.Fatalf("%d events are stored before the redrive", n)
	}
	if j := s.replay("--mode", "redrive", "--code", "processing_failed")(); j.Progress.Published != 1 {
		t.Fatalf("the redrive: %+v", j)
	}
	s.drained()
	var found struct{ Events []json.RawMessage }
	s.get(fmt.Sprintf("/v1/events?device=door-1&from=%s&to=%s", time.Now().Add(-time.Hour).UTC().Format(time.RFC3339),
		time.Now().Add(time.Hour).UTC().Format(time.RFC3339)), s.key, &found)
	if len(found.Events) != 1 || !strings.Contains(string(found.Events[0]), "ada") {
		t.Fatalf("after the redrive: %s", found.Events)
	}
	s.reviewed(strings.NewReplacer("61.5", "600.5", "door-1", "door-2", `"ada"`, `"bob"`).Replace(event))
	s.reconcile()
}

// reviewed sends an event that a config quarantines. A discard keeps its dead letter from a redrive; a later release
// stores the event. Both acts are in the audit log, and a released dead letter cannot be discarded.
func (s *system) reviewed(hot string) {
	s.t.Helper()
	hot = strings.Replace(hot, `"event_id":"`, `"event_id":"`+uuid.NewString()+`","was":"`, 1)
	if status, reply := s.answer(hot); status != http.StatusBadRequest || !strings.Contains(reply, `"quarantined"`) {
		s.t.Fatalf("what is held is answered %d: %s", status, reply)
	}
	s.drained()
	admin, err := s.weir("keys", "create", "--admin", "--data", s.data)
	if err != nil {
		s.t.Fatal(err)
	}
	admin = strings.TrimSpace(admin)
	var held struct {
		Letters []struct {
			ID      string
			Outcome *struct{ State, By, Reason string }
		} `json:"dead_letters"`
	}
	s.until("the dead letter that is held is in the store", func() bool {
		s.get("/v1/dead-letters?code=quarantined", admin, &held)
		return len(held.Letters) == 1
	})
	path := "/v1/dead-letters/" + held.Letters[0].ID
	s.administer(admin, http.MethodPost, path+"/discard", `{"reason":"a probe that lies"}`)
	if j := s.replay("--mode", "redrive", "--code", "quarantined")(); j.Progress.Published != 0 ||
		j.Progress.Skipped != 1 {
		s.t.Errorf("what was discarded was sent back: %+v", j)
	}
	if s.get("/v1/dead-letters?code=quarantined", admin, &held); held.Letters[0].Outcome == nil ||
		held.Letters[0].Outcome.State != "discarded" || held.Letters[0].Outcome.Reason != "a probe that lies" {
		s.t.Errorf("the list says %+v", held.Letters[0].Outcome)
	}
	s.administer(admin, http.MethodPost, path+"/release", `{"reason":"it was the sun"}`)
	s.until("what was released is stored", func() bool { return s.stored() == 2 })
	s.drained()
	var log struct{ Acts []struct{ Path string } }
	if s.get("/v1/audit?path="+path, admin, &log); len(log.Acts) != 2 {
		s.t.Errorf("the audit log has %+v", log.Acts)
	}
	if status, answer := s.request("http://"+s.addresses[1]+path+"/discard", http.MethodPost, admin,
		`{"reason":"too late"}`); status != http.StatusConflict {
		s.t.Errorf("what was released was discarded: %d %s", status, answer)
	}
}
