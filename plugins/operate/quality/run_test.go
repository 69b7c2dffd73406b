package quality

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/jobs"
	"weir/internal/platform/sqldb"
	"weir/plugins/store/deadletter"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
)

func object(written, first, last time.Time) lake.Object {
	return lake.Object{Name: lake.Name{Written: written, Min: first, Max: last}}
}

// Hours that are over are computed, each once a run, in the order in which objects
// were written; an hour that is not over keeps what was written since in sight.
func TestPlan_HoursThatAreOverInTheOrderOfWriting(t *testing.T) {
	day := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	at := func(h, m int) time.Time { return day.Add(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute) }
	now := at(12, 5) // the hour of 11 has not settled
	for name, c := range map[string]struct {
		objects []lake.Object
		hours   []int
		seen    []time.Time
	}{
		"none": {},
		"one":  {[]lake.Object{object(at(10, 0), at(9, 1), at(9, 59))}, []int{9}, []time.Time{at(10, 0)}},
		"two hours": {[]lake.Object{object(at(10, 0), at(8, 59), at(9, 0))}, []int{8, 9},
			[]time.Time{{}, at(10, 0)}},
		"the same hour twice": {[]lake.Object{object(at(10, 5), at(9, 0), at(9, 1)),
			object(at(10, 0), at(9, 0), at(9, 1))}, []int{9}, []time.Time{at(10, 5)}},
		"an open hour holds": {[]lake.Object{object(at(11, 1), at(10, 0), at(10, 1)),
			object(at(11, 2), at(11, 0), at(11, 1)), object(at(11, 3), at(3, 0), at(3, 1))},
			[]int{10, 3}, []time.Time{at(11, 1), {}}},
		"open alone": {[]lake.Object{object(at(11, 1), at(11, 0), at(11, 1))}, nil, nil},
		"from tomorrow": {[]lake.Object{object(at(9, 0), at(30, 0), at(30, 1)),
			object(at(9, 1), at(8, 0), at(8, 1))}, []int{8}, []time.Time{{}}},
	} {
		var hours []int
		var seen []time.Time
		for _, p := range plan(c.objects, now) {
			hours, seen = append(hours, int(p.hour.Sub(day).Hours())), append(seen, p.seen)
		}
		if fmt.Sprint(hours) != fmt.Sprint(c.hours) || fmt.Sprint(seen) != fmt.Sprint(c.seen) {
			t.Errorf("%s: hours %v until %v, want %v until %v", name, hours, seen, c.hours, c.seen)
		}
	}
}

// put stores events of a fleet.
func put(t *testing.T, url, fleet string, at time.Time, first, n int) {
	t.Helper()
	var batch service.MessageBatch
	for i := first; i < first+n; i++ {
		msg := record("raw-events", i, fmt.Appendf(nil, `{"event_id":"00000000-0000-4000-8000-%012d","device_id":"pump-%d",`+
			`"device_firmware_version":"2.1.0","timestamp":%q,"metrics":{"t":%d},"diagnostics":{"user":"ada"}}`,
			i, i%3, at.Format(time.RFC3339), i))
		msg.MetaSetMut("weir_fleet", fleet)
		msg.MetaSetMut("weir_received_at", at.Format(time.RFC3339Nano))
		msg.MetaSetMut("weir_schema", "telemetry/2")
		batch = append(batch, msg)
	}
	send(t, "raw_store: { url: "+url+" }", batch)
}

// refuse stores dead letters of events that were wrong.
func refuse(t *testing.T, url, fleet string, at time.Time, first, n int) {
	t.Helper()
	var batch service.MessageBatch
	for i := first; i < first+n; i++ {
		raw, err := json.Marshal(deadletter.NewEnvelope(deadletter.Failure{Stage: "ingest", Fleet: fleet, Index: i,
			FailedAt: at, Original: fmt.Append(nil, i), Rejection: event.Reject(event.CodeSchemaViolation, "", "x")}))
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, record("dead-letter", i, raw))
	}
	send(t, "dead_letter_store: { url: "+url+" }", batch)
}

func record(topic string, offset int, raw []byte) *service.Message {
	msg := service.NewMessage(raw)
	msg.MetaSetMut("kafka_topic", topic)
	msg.MetaSetMut("kafka_partition", 0)
	msg.MetaSetMut("kafka_offset", offset)
	return msg
}

// send runs a stream of one output until it has a batch.
func send(t *testing.T, output string, batch service.MessageBatch) {
	t.Helper()
	env := service.NewEnvironment()
	if err := errors.Join(raw.Register(env), deadletter.Register(env)); err != nil {
		t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	if err := b.SetYAML("http: { enabled: false }\nlogger: { level: NONE }\noutput: { " + output + " }"); err != nil {
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

// An hour counts each event once, whatever was delivered again; a late event makes it
// computed again; of two processes one computes; an erasure takes it away.
func TestJob_CountsEachEventOnce(t *testing.T) {
	dir := t.TempDir()
	url := lake.FileURL(filepath.Join(dir, "raw"))
	at := time.Now().UTC().Truncate(time.Hour).Add(-3*time.Hour + 20*time.Minute)
	put(t, url, "plant-1", at, 0, 50)
	put(t, url, "plant-1", at, 30, 40) // of which 20 came before
	put(t, url, "other", at, 100, 5)
	db, err := sqldb.Open(t.Context(), "sqlite://"+filepath.Join(dir, "control.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store, err := Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	events, err := lake.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	j := &job{Store: store, Events: events, Owner: "a", Now: time.Now}
	of := func(fleet string) (n int64) {
		t.Helper()
		if err := store.Hours(t.Context(), fleet, at.Add(-time.Hour), at.Add(time.Hour), func(h Hour) error {
			n += h.Profile.Events
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	run := func(hours int) {
		t.Helper()
		r, err := j.Run(t.Context())
		if err != nil || r.Hours != hours {
			t.Fatalf("%+v %v, want %d hours", r, err, hours)
		}
	}
	run(1)
	if a, b := of("plant-1"), of("other"); a != 70 || b != 5 {
		t.Errorf("%d and %d events, want 70 and 5", a, b)
	}
	put(t, url, "plant-1", at, 200, 1) // late
	run(1)
	if n := of("plant-1"); n != 71 {
		t.Errorf("after a late one: %d", n)
	}

	other := store.work()
	if id, err := other.Take(t.Context(), "b", "", time.Now()); id == "" || err != nil {
		t.Fatal(id, err)
	}
	run(0) // b has it
	if err := store.replace(t.Context(), "a", at.Truncate(time.Hour), nil, time.Time{}, time.Now()); !errors.Is(err,
		jobs.ErrLost) {
		t.Errorf("who lost the lease writes: %v", err)
	}
	if n := of("plant-1"); n != 71 {
		t.Errorf("who lost the lease changed it: %d", n)
	}
	if err := tombstone.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if err := eraseHours(t.Context(), db, tombstone.Target{Job: "1", Fleet: "plant-1"}); err != nil {
		t.Fatal(err)
	}
	if a, b := of("plant-1"), of("other"); a != 0 || b != 5 {
		t.Errorf("after the erasure of a fleet: %d and %d", a, b)
	}
}

// An hour of which all was refused is known, too, though nothing of it is stored.
func TestJob_KnowsHoursOfWhichAllWasRefused(t *testing.T) {
	dir := t.TempDir()
	at := time.Now().UTC().Truncate(time.Hour).Add(-3*time.Hour + 20*time.Minute)
	put(t, lake.FileURL(dir+"/raw"), "plant-1", at, 0, 3)
	refuse(t, lake.FileURL(dir+"/dead"), "plant-1", at, 0, 1)
	refuse(t, lake.FileURL(dir+"/dead"), "plant-2", at.Add(-time.Hour), 1, 4)
	db, err := sqldb.Open(t.Context(), "sqlite://"+filepath.Join(dir, "control.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	j := &job{Owner: "a", Now: time.Now}
	if j.Store, err = Open(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if j.Events, err = lake.Open(t.Context(), lake.FileURL(dir+"/raw")); err != nil {
		t.Fatal(err)
	}
	if j.Letters, err = lake.Open(t.Context(), lake.FileURL(dir+"/dead")); err != nil {
		t.Fatal(err)
	}
	if r, err := j.Run(t.Context()); err != nil || r.Hours != 2 {
		t.Fatalf("%+v %v", r, err)
	}
	sum := map[string][2]int64{}
	if err := j.Store.Hours(t.Context(), "", at.Add(-2*time.Hour), at, func(h Hour) error {
		of := sum[h.Fleet]
		sum[h.Fleet] = [2]int64{of[0] + h.Profile.Events, of[1] + h.Refused}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := (map[string][2]int64{"plant-1": {3, 1}, "plant-2": {0, 4}}); !maps.Equal(sum, want) {
		t.Errorf("%v, want %v", sum, want)
	}
}

// fixed lets everybody in for a fleet.
type fixed string

func (f fixed) Check(context.Context, string) (*apikey.Key, error) {
	return &apikey.Key{Fleet: string(f), Scopes: []apikey.Scope{apikey.Query}}, nil
}

func TestHandler_TellsScoresAndFieldsOfAFleet(t *testing.T) {
	db, err := sqldb.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "control.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store, err := Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	hour := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	work := store.work()
	if _, err := work.Take(t.Context(), "a", "", time.Now()); err != nil {
		t.Fatal(err)
	}
	keep := func(hour time.Time, late int64) {
		t.Helper()
		p := &Profile{Events: 100, Late: late, Fields: map[string]*Field{"/metrics/t": {Numbers: 100}}}
		if err := store.replace(t.Context(), "a", hour, []Hour{{Key: Key{"plant-1", "telemetry/2"}, Profile: p},
			{Key: Key{"plant-1", ""}, Profile: newProfile(), Refused: 100}, {Key: Key{"other", "telemetry/2"}, Profile: p}},
			time.Time{}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	keep(hour, 50)
	keep(hour.Add(-week), 0)
	h := (&apikey.Authenticator{Keys: fixed("plant-1")}).Require(apikey.Route{Scope: apikey.Query},
		Handler(store, func() time.Time { return hour.Add(90 * time.Minute) }))
	ask := func(query string) (int, answer) {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/v1/quality"+query, nil))
		var a answer
		if w.Code == http.StatusOK {
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
				t.Fatal(err)
			}
		}
		return w.Code, a
	}
	status, a := ask("")
	if status != http.StatusOK || a.Events != 100 || a.Refused != 100 || len(a.Schemas) != 1 || len(a.Hours) != 1 {
		t.Fatalf("%d %+v", status, a)
	}
	if s := a.Score; *s.Valid != 0.5 || *s.Timely != 0.5 || *s.Complete != 1 || *s.Consistent != 1 || s.Unique != nil ||
		*s.Score != 0.75 {
		t.Errorf("the score is %+v", s)
	}
	if v := a.Schemas[0]; v.Schema != "telemetry/2" || v.Score.Valid != nil || len(v.Fields) != 1 ||
		v.Fields[0].Drift == nil || v.Fields[0].Present != 1 {
		t.Errorf("the schema: %+v", v)
	}
	if _, a := ask("?schema=telemetry/3"); len(a.Schemas) != 0 {
		t.Errorf("another schema: %+v", a.Schemas)
	}
	for _, bad := range []string{"?from=2020-01-01T00:00:00Z", "?x=1", "?from=x"} {
		if status, _ := ask(bad); status != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, status)
		}
	}
}
