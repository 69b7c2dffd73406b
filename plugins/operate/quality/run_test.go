package quality

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

func object(key string, first, last time.Time) lake.Object {
	return lake.Object{Blob: lake.Blob{Key: key}, Name: lake.Name{Min: first, Max: last}}
}

// Hours are looked at, the newest first, when they are over and have other objects than
// before, once more when all duplicates are there, and when all of them are gone but not
// what is older.
func TestPlan_HoursWhoseObjectsAreOthers(t *testing.T) {
	day := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	at := func(h, m int) time.Time { return day.Add(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute) }
	one := func(h int, key string) lake.Object { return object(key, at(h, 1), at(h, 59)) }
	names := func(keys ...string) string {
		c := content{}
		for _, key := range keys {
			c.events = append(c.events, one(0, key))
		}
		return c.names(false)
	}
	wide := object("wide", at(1, 0), at(9, 0))
	for name, c := range map[string]struct {
		now             time.Time
		events, letters []lake.Object
		marks           map[int]mark
		want            []int
	}{
		"none":          {now: at(12, 0)},
		"over":          {now: at(12, 9), events: []lake.Object{one(11, "a"), one(10, "b"), one(9, "c")}, want: []int{10, 9}},
		"two hours":     {now: at(12, 10), events: []lake.Object{object("a", at(10, 59), at(11, 0))}, want: []int{11, 10}},
		"all refused":   {now: at(12, 10), letters: []lake.Object{one(9, "l")}, want: []int{9}},
		"hours of wide": {now: at(12, 10), events: []lake.Object{wide}, want: []int{7, 2}},
		"known": {now: at(12, 10), events: []lake.Object{one(11, "a"), one(9, "b")},
			marks: map[int]mark{11: {Names: names("a")}, 9: {Names: names("b"), Final: true}}},
		"all duplicates are there": {now: at(13, 30), events: []lake.Object{one(11, "a")},
			marks: map[int]mark{11: {Names: names("a")}}, want: []int{11}},
		"other objects": {now: at(13, 30), events: []lake.Object{one(11, "a")},
			marks: map[int]mark{11: {Names: names("b"), Final: true}}, want: []int{11}},
		"erased": {now: at(13, 30), events: []lake.Object{one(8, "a")},
			marks: map[int]mark{11: {Names: names("b")}, 8: {Names: names("a"), Final: true}, 9: {Names: names()}},
			want:  []int{11}},
		"deleted on time": {now: at(13, 30), events: []lake.Object{one(11, "a")},
			marks: map[int]mark{8: {Names: names("b")}, 11: {Names: names("a"), Final: true}}},
	} {
		found, err := contents(c.events, c.letters, func(lake.Object) (spread, error) {
			return spread{at(2, 0): 7, at(7, 0): 9}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		marks := map[time.Time]mark{}
		for h, m := range c.marks {
			marks[at(h, 0)] = m
		}
		var got []int
		for _, w := range plan(found, marks, c.now) {
			got = append(got, w.hour.Hour())
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// put stores events of a fleet.
func put(t *testing.T, url, fleet string, at time.Time, first, n int, repeated ...int) {
	t.Helper()
	var batch service.MessageBatch
	for i, of := range repeated { // what is known to repeat a record
		msg := record("raw-events", 10_000+100*of+i, []byte("{}"))
		msg.MetaSetMut("weir_fleet", fleet)
		msg.MetaSetMut("weir_received_at", at.Format(time.RFC3339Nano))
		msg.MetaSetMut(event.MetaDuplicateOf, fmt.Sprint("raw-events/0/", of))
		batch = append(batch, msg)
	}
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

// world is a job over stores of its own.
type world struct {
	*testing.T
	job
	db         *sqldb.DB
	raw, dead  string
	start, now time.Time // of the hour that is computed; of the clock
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{T: t, raw: lake.FileURL(dir + "/raw"), dead: lake.FileURL(dir + "/dead")}
	w.start = time.Now().UTC().Truncate(time.Hour) // in which objects are written
	w.now = w.at(3, 0)
	var err error
	if w.db, err = sqldb.Open(t.Context(), "sqlite://"+filepath.Join(dir, "control.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	w.job = job{Source: "telemetry", Owner: "a", Now: time.Now, At: func() time.Time { return w.now }}
	if w.Store, err = Open(t.Context(), w.db); err != nil {
		t.Fatal(err)
	}
	if w.Events, err = lake.Open(t.Context(), w.raw); err != nil {
		t.Fatal(err)
	}
	if w.Letters, err = lake.Open(t.Context(), w.dead); err != nil {
		t.Fatal(err)
	}
	return w
}

// at is a time of the hour, or of one beside it.
func (w *world) at(hours, minutes int) time.Time {
	return w.start.Add(time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute)
}

// run does a run, which must compute so many hours and find so many as they were.
func (w *world) run(hours, same int) {
	w.Helper()
	if r, err := w.job.Run(w.Context()); err != nil || r.Hours != hours || r.Same != same {
		w.Fatalf("%+v %v, want %d hours, and %d as they were", r, err, hours, same)
	}
}

// of is what is known of a fleet: events, refused and repeats.
func (w *world) of(fleet string) (n [3]int64) {
	w.Helper()
	if err := w.Store.Hours(w.Context(), "telemetry", fleet, w.at(-60, 0), w.at(30, 0), func(h Hour) error {
		n[0], n[1], n[2] = n[0]+h.Profile.Events, n[1]+h.Refused, n[2]+h.Repeats
		return nil
	}); err != nil {
		w.Fatal(err)
	}
	return n
}

func (w *world) is(fleet string, events, refused, repeats int64) {
	w.Helper()
	if got := w.of(fleet); got != [3]int64{events, refused, repeats} {
		w.Errorf("of %s there are %v, want %d, %d and %d", fleet, got, events, refused, repeats)
	}
}

// An hour counts each event once, whatever was delivered again; a late event makes it
// computed again; of two processes one computes; an erasure takes it away.
func TestJob_CountsEachEventOnce(t *testing.T) {
	w := newWorld(t)
	put(t, w.raw, "plant-1", w.at(0, 20), 0, 50)
	put(t, w.raw, "plant-1", w.at(0, 20), 30, 40) // of which 20 came before
	put(t, w.raw, "other", w.at(0, 20), 100, 5)
	w.run(1, 0)
	w.is("plant-1", 70, 0, 0)
	w.is("other", 5, 0, 0)
	w.run(0, 0)
	put(t, w.raw, "plant-1", w.at(0, 20), 200, 1) // late
	w.run(1, 0)
	w.is("plant-1", 71, 0, 0)

	if took, err := w.Store.take(t.Context(), "telemetry", "b", time.Now()); !took || err != nil {
		t.Fatal(took, err)
	}
	put(t, w.raw, "plant-1", w.at(0, 20), 201, 1)
	w.run(0, 0) // b has it
	if err := w.Store.replace(t.Context(), "telemetry", "a", w.start, nil, mark{}, time.Now()); !errors.Is(err,
		jobs.ErrLost) {
		t.Errorf("who lost the lease writes: %v", err)
	}
	w.is("plant-1", 71, 0, 0)
	if err := tombstone.Migrate(t.Context(), w.db); err != nil {
		t.Fatal(err)
	}
	if err := eraseHours(t.Context(), w.db, tombstone.Target{Job: "1", Fleet: "plant-1"}); err != nil {
		t.Fatal(err)
	}
	w.is("plant-1", 0, 0, 0)
	w.is("other", 5, 0, 0)
}

// An hour of which all was refused is known, too, though nothing of it is stored.
func TestJob_KnowsHoursOfWhichAllWasRefused(t *testing.T) {
	w := newWorld(t)
	put(t, w.raw, "plant-1", w.at(0, 20), 0, 3)
	refuse(t, w.dead, "plant-1", w.at(0, 20), 0, 1)
	refuse(t, w.dead, "plant-2", w.at(-1, 20), 1, 4)
	w.run(2, 0)
	w.is("plant-1", 3, 1, 0)
	w.is("plant-2", 0, 4, 0)
}

// Duplicates count for the event that they repeat, each record once, whatever object
// says so; those that come after an hour's first look make it computed once more.
func TestJob_CountsDuplicatesByWhatTheyRepeat(t *testing.T) {
	w := newWorld(t)
	w.now = w.at(1, 15)
	put(t, w.raw, "plant-1", w.at(0, 20), 0, 10, 3, 3, 4)
	put(t, w.raw, "other", w.at(0, 20), 20, 10)
	put(t, w.raw, "other", w.at(1, 5), 40, 1, 21) // the hour after that
	put(t, w.raw, "plant-1", w.at(0, 20), 50, 0, 3, 3, 5)
	w.run(1, 0)
	w.is("plant-1", 10, 0, 4) // two came again
	w.is("other", 10, 0, 1)
	put(t, w.raw, "plant-1", w.at(0, 20), 60, 0, 7)
	w.run(0, 0) // not yet: they come for a while
	w.now = w.at(2, 30)
	w.run(2, 0)
	w.is("plant-1", 10, 0, 5)
	w.is("other", 11, 0, 1)
	w.now = w.at(4, 0)
	w.run(0, 1) // the second hour, which had none
	w.run(0, 0)
}

// Objects that are merged hold what they held: nothing is computed again. What is erased
// from them is.
func TestJob_AnHourWhoseObjectsAreMergedIsAsItWas(t *testing.T) {
	w := newWorld(t)
	for i := range 12 {
		put(t, w.raw, "plant-1", w.at(0, 20+i), 10*i, 10)
	}
	yesterday := func(hour int) time.Time {
		return w.start.Truncate(24 * time.Hour).Add(time.Duration(hour-24) * time.Hour)
	}
	put(t, w.raw, "plant-1", yesterday(0), 500, 1)
	for i := range 10 { // stragglers of many hours, each in an object
		straggle(t, w.raw, yesterday(2), yesterday(6+i/5), 1000+2*i)
	}
	w.run(5, 0)
	w.is("plant-1", 141, 0, 0)
	merged, err := w.Events.Compact(t.Context(), raw.Table(), lake.Compaction{MinGain: 2, SmallSize: 48 << 20,
		WideSize: 4 << 20, MaxInputs: 128}, time.Now().Add(time.Hour))
	if err != nil || merged.Inputs != 22 {
		t.Fatalf("%+v %v", merged, err)
	}
	w.run(0, 4)
	w.run(0, 0)
	erase := func(device string) {
		t.Helper()
		if _, err := w.Events.Erase(t.Context(), raw.Table(), lake.Erasure{Fleet: "plant-1", Device: device,
			Until: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	erase("pump-1")
	w.run(1, 0)
	w.is("plant-1", 101, 0, 0)
	erase("late") // of whose hours nothing is left
	w.run(3, 1)   // what is left to say of them was written in this hour
	w.is("plant-1", 81, 0, 0)
}

// straggle stores two events of hours far apart in one object.
func straggle(t *testing.T, url string, first, last time.Time, offset int) {
	t.Helper()
	var batch service.MessageBatch
	for i, at := range []time.Time{first, last} {
		msg := record("raw-events", offset+i, fmt.Appendf(nil, `{"event_id":"00000000-0000-4000-8000-%012d",`+
			`"device_id":"late","device_firmware_version":"2.1.0","timestamp":%q,"metrics":{"t":1}}`, offset+i,
			at.Format(time.RFC3339)))
		msg.MetaSetMut("weir_fleet", "plant-1")
		msg.MetaSetMut("weir_received_at", last.Format(time.RFC3339Nano))
		msg.MetaSetMut("weir_schema", "telemetry/2")
		batch = append(batch, msg)
	}
	send(t, "raw_store: { url: "+url+" }", batch)
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
	keep := func(source string, hour time.Time, late, repeats int64) {
		t.Helper()
		if took, err := store.take(t.Context(), source, "a", time.Now()); err != nil || !took {
			t.Fatal(took, err)
		}
		p := &Profile{Events: 100, Late: late, Fields: map[string]*Field{"/metrics/t": {Numbers: 100}}}
		if err := store.replace(t.Context(), source, "a", hour, []Hour{{Key: Key{"plant-1", source + "/2"}, Profile: p,
			Repeats: repeats}, {Key: Key{"plant-1", ""}, Profile: newProfile(), Refused: 100},
			{Key: Key{"other", source + "/2"}, Profile: p}}, mark{}, time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := store.release(t.Context(), source, "a"); err != nil {
			t.Fatal(err)
		}
	}
	keep("telemetry", hour, 50, 300)
	keep("telemetry", hour, 50, 0) // what was known to repeat still does
	keep("telemetry", hour.Add(-week), 0, 0)
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
	if s := a.Score; *s.Valid != 0.5 || *s.Timely != 0.5 || *s.Complete != 1 || *s.Consistent != 1 || *s.Unique != 0.25 ||
		*s.Score != 0.65 || *a.Repeats != 300 {
		t.Errorf("the score is %+v", s)
	}
	if v := a.Schemas[0]; v.Schema != "telemetry/2" || v.Score.Valid != nil || len(v.Fields) != 1 ||
		v.Fields[0].Drift == nil || v.Fields[0].Present != 1 {
		t.Errorf("the schema: %+v", v)
	}
	if _, a := ask("?schema=telemetry/3"); len(a.Schemas) != 0 {
		t.Errorf("another schema: %+v", a.Schemas)
	}
	keep("user_event", hour, 0, notKnown)
	if _, a := ask("?source=telemetry"); a.Events != 100 || a.Refused != 100 || len(a.Schemas) != 1 {
		t.Errorf("one source: %+v", a)
	}
	if _, a := ask(""); a.Events != 200 || a.Refused != 200 || len(a.Schemas) != 2 || a.Score.Unique != nil ||
		a.Repeats != nil || *a.Schemas[0].Score.Unique != 0.25 {
		t.Errorf("both sources: %+v", a)
	}
	for _, bad := range []string{"?from=2020-01-01T00:00:00Z", "?x=1", "?from=x"} {
		if status, _ := ask(bad); status != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, status)
		}
	}
}
