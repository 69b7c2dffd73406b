package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/plugins/store/deadletter"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
)

// A request is about the log that it names, else about telemetry; what there is of one
// is not found in the other.
func TestLogs_ARequestNamesItsLog(t *testing.T) {
	dir, env := t.TempDir(), service.NewEnvironment()
	for _, register := range []func(*service.Environment) error{raw.Register, deadletter.Register} {
		if err := register(env); err != nil {
			t.Fatal(err)
		}
	}
	url := func(name string) string { return lake.FileURL(filepath.Join(dir, name)) }
	r := start(t, "audit_log: { url: 'CONTROL' }", "raw: "+url("raw"), "dead_letters: "+url("dead"),
		fmt.Sprintf("also: [ { log: user-events, raw: %q, dead_letters: %q } ]", url("user-raw"), url("user-dead")))
	ids := map[string]string{}
	for i, log := range []event.Log{event.Logs()[0], event.Logs()[1]} {
		ids[log.Name] = uuid.NewString()
		message := func() *service.Message {
			now := time.Now().UTC()
			msg := service.NewMessage(fmt.Appendf(nil, `{"event_id":%q,"device_id":"d-%d","device_firmware_version":"2.1.0",`+
				`"timestamp":%q,"metrics":{}}`, ids[log.Name], i, now.Format(time.RFC3339)))
			msg.MetaSetMut("weir_fleet", "plant-1")
			msg.MetaSetMut("weir_received_at", now.Format(time.RFC3339Nano))
			return msg
		}
		prefix := []string{"", "user-"}[i]
		stored(t, env, "output: { raw_store: { url: "+url(prefix+"raw")+" } }", service.MessageBatch{message()})
		letter := message()
		event.MarkRejected(letter, event.Reject(event.CodeInvalidEvent, "", "x"))
		stored(t, env, "pipeline: { processors: [ { dead_letter: { stage: ingest } } ] }\n"+
			"output: { dead_letter_store: { url: "+url(prefix+"dead")+" } }", service.MessageBatch{letter})
	}
	device := map[string]string{"": "d-0", event.LogTelemetry: "d-0", event.LogUsers: "d-1"}
	for log, want := range device {
		query := map[bool]string{true: "?limit=5", false: "?limit=5&log=" + log}[log == ""]
		for _, path := range []string{"/v1/events", "/v1/dead-letters"} {
			resp, body := r.do(r.fleet, http.MethodGet, path+query, "")
			if resp.StatusCode != http.StatusOK || strings.Count(body, `"device_id"`) != 1 || !strings.Contains(body, want) {
				t.Errorf("%s%s: %d %s", path, query, resp.StatusCode, body)
			}
		}
	}
	for own, other := range map[string]string{event.LogTelemetry: event.LogUsers, event.LogUsers: event.LogTelemetry} {
		for log, want := range map[string]int{own: http.StatusOK, other: http.StatusNotFound} {
			path := "/v1/events/" + ids[own] + "/lineage?log=" + log
			if resp, body := r.do(r.fleet, http.MethodGet, path, ""); resp.StatusCode != want {
				t.Errorf("%s of %s: %d %s", path, own, resp.StatusCode, body)
			}
		}
	}
	// a dead letter by its id, and what is decided about it
	_, body := r.do(r.fleet, http.MethodGet, "/v1/dead-letters?log=user-events", "")
	var page struct {
		Letters []struct{ ID string } `json:"dead_letters"`
	}
	if err := json.Unmarshal([]byte(body), &page); err != nil || len(page.Letters) != 1 {
		t.Fatal(body, err)
	}
	one := "/v1/dead-letters/" + page.Letters[0].ID
	for path, want := range map[string]int{one + "?log=user-events": 200, one + "/original?log=user-events": 200,
		one: 404} {
		if resp, body := r.do(r.fleet, http.MethodGet, path, ""); resp.StatusCode != want {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	if resp, body := r.do(r.fleet, http.MethodPost, one+"/discard?log=user-events", `{"reason":"seen"}`); resp.
		StatusCode != http.StatusOK {
		t.Errorf("discarding it: %d %s", resp.StatusCode, body)
	}
	resp, body := r.do(r.admin, http.MethodGet, "/v1/overview?log=user-events", "")
	var view struct {
		Stores  []struct{ Name string }
		Unknown map[string]string
	}
	if err := json.Unmarshal([]byte(body), &view); err != nil || resp.StatusCode != http.StatusOK ||
		view.Unknown["rates"] != view.Unknown["devices"] || view.Unknown["proof"] == "" || len(view.Stores) != 2 {
		t.Errorf("the overview: %d %s", resp.StatusCode, body)
	}
	for query, want := range map[string]int{"?log=users": 400, "?log=telemetry&log=user-events": 400, "?log=": 200} {
		if resp, body := r.do(r.fleet, http.MethodGet, "/v1/events"+query, ""); resp.StatusCode != want {
			t.Errorf("%s: %d %s", query, resp.StatusCode, body)
		}
	}
}

func TestLogs_AnAPIWithoutALogsStoresSaysSo(t *testing.T) {
	r := start(t, "drop: {}")
	for path, says := range map[string]string{"/v1/events?log=user-events": "user-events", "/v1/events": "field raw",
		"/v1/dead-letters": "field dead_letters"} {
		if resp, body := r.do(r.fleet, http.MethodGet, path, ""); resp.StatusCode != http.StatusNotFound ||
			!strings.Contains(body, says) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}
