package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
	"weir/plugins/notify/alert"
	"weir/plugins/process/rule"
	"weir/plugins/store/deadletter"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
)

// stored runs a stream that stores what it is given.
func stored(t *testing.T, env *service.Environment, yaml string, batch service.MessageBatch) {
	t.Helper()
	b := env.NewStreamBuilder()
	if err := b.SetYAML("http: { enabled: false }\nlogger: { level: NONE }\n" + yaml); err != nil {
		t.Fatal(err)
	}
	produce, err := b.AddBatchProducerFunc()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- stream.Run(context.Background()) }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := produce(ctx, batch); err != nil {
		t.Fatal(err)
	}
	if err := stream.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
}

const lineageID = "0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f"

// The lineage tells where an event is stored, what repeated it, its dead letters
// with what became of them, and alerts; of a fleet and of devices that may be seen.
func TestLineage_TellsWhatBecameOfAnEvent(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	dir := t.TempDir()
	rawURL, deadURL := lake.FileURL(filepath.Join(dir, "raw")), lake.FileURL(filepath.Join(dir, "dead"))
	env := service.NewEnvironment()
	for _, register := range []func(*service.Environment) error{raw.Register, deadletter.Register} {
		if err := register(env); err != nil {
			t.Fatal(err)
		}
	}
	body := fmt.Appendf(nil, `{"event_id":%q,"device_id":"pump-1","device_firmware_version":"2.1.0","timestamp":%q,`+
		`"metrics":{"cpu_temp":61.5}}`, lineageID, now.Format(time.RFC3339))
	message := func(offset int, meta ...string) *service.Message {
		msg := service.NewMessage(body)
		for i, name := range []string{"weir_fleet", "weir_received_at", "weir_schema", "weir_flags", "kafka_topic"} {
			msg.MetaSetMut(name, []string{"plant-1", now.Format(time.RFC3339Nano), "telemetry/2", "late", "raw-events"}[i])
		}
		msg.MetaSetMut("kafka_partition", 0)
		msg.MetaSetMut("kafka_offset", offset)
		for i := 0; i+1 < len(meta); i += 2 {
			msg.MetaSetMut(meta[i], meta[i+1])
		}
		return msg
	}
	stored(t, env, "output: { raw_store: { url: "+rawURL+" } }",
		service.MessageBatch{message(7), message(9, "local_duplicate_of", "raw-events/0/7")})
	letter := message(8)
	letter.SetError(context.Canceled)
	stored(t, env, "pipeline: { processors: [ { dead_letter: { stage: rollup } } ] }\n"+
		"output: { dead_letter_store: { url: "+deadURL+" } }", service.MessageBatch{letter})

	db, err := sqldb.Open(t.Context(), "sqlite://"+filepath.Join(dir, "control.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	l := &lineage{now: time.Now, slots: httpx.NewSlots(1, time.Minute),
		alerts: func(ctx context.Context, fleet, id string) ([]alert.Mention, error) {
			return alert.Of(ctx, db, fleet, id)
		},
		rules: func(_ context.Context, e rule.Happened) ([]rule.Bearing, error) {
			if e.Fleet != "plant-1" || e.Device != "pump-1" || !e.At.Equal(now) || e.First.String() != "raw-events/0/7" {
				t.Errorf("rules are asked for %+v", e)
			}
			return []rule.Bearing{{Rule: "hot"}}, nil
		}}
	if l.events, err = lake.Open(t.Context(), rawURL); err != nil {
		t.Fatal(err)
	}
	if l.letters, err = lake.Open(t.Context(), deadURL); err != nil {
		t.Fatal(err)
	}
	if l.outcomes, err = deadletter.OpenOutcomes(t.Context(), db, event.LogTelemetry); err != nil {
		t.Fatal(err)
	}
	ask := func(fleet, id, query string) (int, lineageJSON) {
		t.Helper()
		mux := http.NewServeMux()
		keys := fixedKey{&apikey.Key{Fleet: fleet, Scopes: []apikey.Scope{apikey.Query}}}
		mux.Handle("GET /v1/events/{id}/lineage", (&apikey.Authenticator{Keys: keys}).Require(
			apikey.Route{Scope: apikey.Query, Reach: apikey.ByQuery}, l))
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", "/v1/events/"+id+"/lineage"+query, nil))
		var out lineageJSON
		if w.Code == http.StatusOK {
			if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
				t.Fatal(err)
			}
		}
		return w.Code, out
	}
	status, out := ask("plant-1", lineageID, "")
	if status != http.StatusOK || len(out.Stored) != 1 || len(out.Repeats) != 1 || len(out.Letters) != 1 ||
		len(out.Alerts) != 0 {
		t.Fatalf("%d %+v", status, out)
	}
	s := out.Stored[0]
	if s.Schema != "telemetry/2" || s.DeviceID != "pump-1" || len(s.Flags) != 1 || s.Flags[0] != "late" ||
		s.Record == nil || *s.Record != (recordJSON{"raw-events", 0, 7}) || s.Delivery != nil || s.ReceivedAt == nil ||
		len(s.Rules) != 1 || s.Rules[0].Rule != "hot" {
		t.Errorf("stored as %+v", s)
	}
	if out.Repeats[0] != (recordJSON{"raw-events", 0, 9}) {
		t.Errorf("repeated by %+v", out.Repeats)
	}
	d := out.Letters[0]
	if d.Stage != "rollup" || d.Outcome != nil {
		t.Errorf("dead letter %+v", d)
	}
	if _, err := l.outcomes.Discard(t.Context(), d.ID, "ada", "seen", now); err != nil {
		t.Fatal(err)
	}
	if _, out = ask("plant-1", lineageID, "?device=pump-1"); out.Letters[0].Outcome == nil ||
		out.Letters[0].Outcome.State != "discarded" {
		t.Errorf("after it was discarded: %+v", out.Letters)
	}
	for what, c := range map[string]struct {
		fleet, id, query string
		want             int
	}{
		"another fleet": {"other", lineageID, "", 404}, "another device": {"plant-1", lineageID, "?device=pump-2", 404},
		"another time": {"plant-1", lineageID, "?to=2020-01-01T00:00:00Z", 404}, "no id": {"plant-1", "x", "", 404},
		"another id": {"plant-1", "0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2e", "", 404},
		"too long":   {"plant-1", lineageID, "?from=2020-01-01T00:00:00Z", 400},
		"unknown":    {"plant-1", lineageID, "?x=1", 400},
	} {
		if status, out := ask(c.fleet, c.id, c.query); status != c.want {
			t.Errorf("%s: %d %+v, want %d", what, status, out, c.want)
		}
	}
}

// fixedKey lets everybody in as one.
type fixedKey struct{ key *apikey.Key }

func (f fixedKey) Check(context.Context, string) (*apikey.Key, error) { return f.key, nil }
