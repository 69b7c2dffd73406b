package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/plugins/ingest/privacy"
	"weir/plugins/process/enrich"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
	"weir/tests/integration/testbed"
)

// besides is a raw store on disk with the jobs of a world.
type besides struct {
	*world
	dir    string // of the raw store
	writes atomic.Int64
	fail   atomic.Int64 // writes that are kept, and fail all the same
}

// kept stores events of which look-ups failed.
func (b *besides) kept(batch service.MessageBatch) {
	b.t.Helper()
	env := service.GlobalEnvironment().Clone()
	if err := raw.Register(env); err != nil {
		b.t.Fatal(err)
	}
	builder := env.NewStreamBuilder()
	if err := errors.Join(builder.SetLoggerYAML("level: off"),
		builder.AddOutputYAML(fmt.Sprintf("raw_store: { url: %q }", lake.FileURL(b.dir)))); err != nil {
		b.t.Fatal(err)
	}
	send, err := builder.AddBatchProducerFunc()
	if err != nil {
		b.t.Fatal(err)
	}
	stop := testbed.Run(b.t, builder)
	if err := send(b.t.Context(), batch); err != nil {
		b.t.Fatal(err)
	}
	stop()
}

// unsure keeps what is written, and now and then says that it did not: as it looks to
// who is killed behind a write.
type unsure struct {
	laterStore
	b *besides
}

func (u unsure) Write(ctx context.Context, rows []raw.Later) ([]raw.Later, error) {
	erased, err := u.laterStore.Write(ctx, rows)
	if u.b.writes.Add(1); err == nil && u.b.fail.Add(-1) >= 0 {
		return nil, errDown
	}
	return erased, err
}

// stream runs the shipped shape of a stream of replays.
func (b *besides) stream(processors string) (stop func()) {
	b.t.Helper()
	return b.streamOf(`
switch:
  - check: '@local_enrich.or("") != ""'
    processors:
` + processors + `
      - replay_enriched: {}
`)
}

// streamOf runs a stream of replays with a pipeline of a test's own.
func (b *besides) streamOf(pipeline string) (stop func()) {
	b.t.Helper()
	env := service.GlobalEnvironment().Clone()
	from := stores()
	later := from.later
	from.later = func(events *lake.Store) laterStore { return unsure{later(events), b} }
	if err := errors.Join(register(env, from), enrich.Register(env), privacy.Register(env)); err != nil {
		b.t.Fatal(err)
	}
	builder := env.NewStreamBuilder()
	if err := errors.Join(builder.SetLoggerYAML("level: off"), builder.AddInputYAML(fmt.Sprintf(
		"replay_jobs:\n  log: user-events\n  control: %s\n  raw: %q\n  dead_letter: mem://\n  batch_size: 50\n  "+
			"enriches: true\n", b.control, lake.FileURL(b.dir))), builder.AddProcessorYAML(pipeline),
		builder.AddOutputYAML("reject: nothing goes to the log")); err != nil {
		b.t.Fatal(err)
	}
	return testbed.Run(b.t, builder)
}

// found is what was found out about the stored events, by event and look-up.
func (b *besides) found() map[string]*raw.Later {
	b.t.Helper()
	store, err := lake.OpenReading(b.t.Context(), lake.FileURL(b.dir))
	if err != nil {
		b.t.Fatal(err)
	}
	defer store.Close()
	laters := raw.NewLaters(b.t.Context(), store, time.Time{})
	defer laters.Close()
	all := map[string]*raw.Later{}
	_, err = raw.NewReader(store).Scan(b.t.Context(), raw.Query{}, func(r *raw.Row) error {
		found, err := laters.Of(r)
		for _, l := range found {
			key := uuid.UUID(r.ID).String() + " " + l.Lookup
			if all[key] != nil {
				b.t.Errorf("twice: %s", key)
			}
			all[key] = l
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

// files are those of what was found out.
func (b *besides) files() (names []string) {
	b.t.Helper()
	err := filepath.WalkDir(filepath.Join(b.dir, raw.LaterFolder), func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.t.Fatal(err)
	}
	return names
}

func newBesides(t *testing.T) *besides {
	t.Helper()
	return &besides{world: newWorld(t), dir: filepath.Join(t.TempDir(), "raw")}
}

// aPerson is an event about a person, and what of it failed.
func aPerson(n int, at time.Time, user, failed string) *service.Message {
	m := service.NewMessage(fmt.Appendf(nil, `{"event_id":%q,"device_id":"browser-%d","device_firmware_version":"1.0.0",`+
		`"timestamp":%q,"metrics":{},"user":{"id":%q},"context":{"page":"/a","n":1.50}}`, uuid.NewString(), n%7,
		at.Add(time.Duration(n)*time.Second).Format(time.RFC3339), user))
	m.MetaSetMut(event.HeaderFleet, "shop")
	m.MetaSetMut(event.HeaderReceivedAt, at.Add(time.Hour).Format(event.TimeFormat))
	m.MetaSetMut(event.HeaderEnrichFailed, failed)
	m.MetaSetMut("kafka_topic", "user-events")
	m.MetaSetMut("kafka_partition", 0)
	m.MetaSetMut("kafka_offset", n)
	return m
}

const profiles = `
      - enrich:
          deadline: 1ms
          lookups:
            - name: profile
              key: ${! this.user.id }
              result_map: 'root.context.profile = this'
              failures: 100000 # others are not left alone with the key that fails
              processors:
                - mapping: |
                    root = if content() == "absent" { null } else if content() == "bad" { throw("away") } else {
                      {"plan": "gold", "contact": content().string() + "@example.com", "page": "/<b>&"} }
            - name: region
              key: ${! this.context.ip }
              result_map: root.context.country = this.country
              processors: [ { mapping: 'root.country = "DE"' } ]
      - privacy: { actions: { email: mask } }
`

func (b *besides) spec(at time.Time) Spec {
	from, to := at, at.Add(3*time.Hour)
	return Spec{Mode: Enrich, Log: event.LogUsers, From: &from, To: &to}
}

// A job asks the look-ups that failed, keeps what they say beside the events, without
// what is personal in it, and accounts for each; run again it changes nothing. That of
// an address says that its key is not stored.
func TestEnrich_WhatFailedIsAskedAgainOnceAndAccountedFor(t *testing.T) {
	t.Parallel()
	b := newBesides(t)
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	const events = 1000 // over more than an hour
	var batch service.MessageBatch
	users := []string{"u-1", "u-2", "absent", "bad", "u-3"}
	for n := range events {
		batch = append(batch, aPerson(4*n, at, users[n%5], []string{"", "profile", "region,profile", "gone"}[n%4]))
	}
	want := map[string]Account{}
	for n := range events {
		for _, name := range event.Items(event.Meta(batch[n], event.HeaderEnrichFailed)) {
			a := want[name]
			a.Lookup = name
			a.LookedAt++
			switch {
			case name == "gone":
				a.NotConfigured++
			case name == "region":
				a.KeyNotStored++
			case users[n%5] == "absent":
				a.NotFound++
			case users[n%5] == "bad":
				a.FailedAgain++
			default:
				a.Enriched++
			}
			want[name] = a
		}
	}
	b.kept(batch)
	before := len(batch)
	b.fail.Store(1)
	stop := b.stream(profiles)
	j := b.until(b.create(b.spec(at)).ID, ended)
	if j.State != Done || j.Progress.Read != events || j.Progress.Published != 0 || len(j.Progress.Lookups) != len(want) {
		t.Fatalf("%s %q %+v", j.State, j.Error, j.Progress)
	}
	for _, got := range j.Progress.Lookups {
		if got != want[got.Lookup] {
			t.Errorf("%+v, expected %+v", got, want[got.Lookup])
		}
	}
	found := b.found()
	if int64(len(found)) != want["profile"].Enriched || before != events {
		t.Errorf("%d are enriched of %d", len(found), want["profile"].Enriched)
	}
	for key, l := range found {
		if string(l.Facts) != `{"context":{"profile":{"contact":"u***@e***.com","page":"/<b>&","plan":"gold"}}}` &&
			(strings.Contains(string(l.Facts), "example.com") || !json.Valid(l.Facts) ||
				!strings.Contains(string(l.Facts), `"plan":"gold"`)) || l.Job != j.ID || len(l.Version) != 8 {
			t.Fatalf("%s: %s by %s of %s", key, l.Facts, l.Version, l.Job)
		}
	}
	files := b.files()

	again := b.until(b.create(b.spec(at)).ID, ended)
	for _, got := range again.Progress.Lookups {
		expected := want[got.Lookup]
		expected.Already, expected.Enriched = expected.Enriched, 0
		if got != expected {
			t.Errorf("run again: %+v, expected %+v", got, expected)
		}
	}
	if after := b.files(); again.State != Done || !slices.Equal(files, after) || !maps.EqualFunc(found, b.found(),
		func(a, b *raw.Later) bool { return a.Job == b.Job && a.EnrichedAt == b.EnrichedAt }) {
		t.Errorf("run again: %s %q, %d files of %d", again.State, again.Error, len(after), len(files))
	}
	only := b.spec(at)
	only.Lookups = []string{"region"}
	if j := b.until(b.create(only).ID, ended); len(j.Progress.Lookups) != 1 ||
		j.Progress.Lookups[0].KeyNotStored != want["region"].LookedAt ||
		!strings.Contains(j.Line(), "cannot be enriched later: their key is not stored") {
		t.Errorf("of one look-up: %s", j.Line())
	}
	stop()
}

// An event that its stream refuses or drops on the way is counted, and one whose look-up
// the stream has not, too; what gets through goes to no topic. A weir without the way does no job at all, and says so.
func TestEnrich_WhatTheStreamRefusesIsCounted(t *testing.T) {
	t.Parallel()
	b := newBesides(t)
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	b.kept(service.MessageBatch{aPerson(0, at, "u-1", "profile"), aPerson(1, at, "u-2", "profile"),
		aPerson(2, at, "u-3", "profile,gone")})
	stop := b.stream(`      - mapping: |
          root = if @local_topic != "/enrich" { throw("it has a topic") }
          root = if this.user.id == "u-2" { throw("has withdrawn") }
          root = if this.user.id == "u-3" && @local_enrich == "profile" { deleted() }
` + profiles)
	j := b.until(b.create(b.spec(at)).ID, ended)
	if want := []Account{{Lookup: "gone", LookedAt: 1, NotConfigured: 1},
		{Lookup: "profile", LookedAt: 3, Enriched: 1, Refused: 2}}; j.State != Done ||
		!slices.Equal(j.Progress.Lookups, want) {
		t.Errorf("%s %q %+v", j.State, j.Error, j.Progress)
	}
	stop()
	w := newWorld(t)
	w.fill(80)
	w.stream("", nil)
	spec := w.hours()
	spec.Mode = Enrich
	if j := w.until(w.create(spec).ID, ended); j.State != Failed || !strings.Contains(j.Error, "docs/enrich.md") {
		t.Errorf("%s %q", j.State, j.Error)
	}
}

// A stream that says that it enriches, and lets look-ups through to its output, makes a job
// say so at once and fail soon, with what to add; when that is there, the job goes on.
func TestEnrich_AStreamWithoutTheCaseIsSaidByTheJob(t *testing.T) {
	t.Parallel()
	b := newBesides(t)
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	b.kept(service.MessageBatch{aPerson(0, at, "u-1", "profile"), aPerson(1, at, "u-2", "profile")})
	stop := b.streamOf("switch: [ { check: '@local_validate == \"1\"', processors: [ { mapping: root = this } ] } ]")
	id := b.create(b.spec(at)).ID
	says := func(text string) bool {
		return strings.Contains(text, "local_enrich") && strings.Contains(text, "replay_enriched") &&
			strings.Contains(text, "nothing goes to the log")
	}
	held := false
	j := b.until(id, func(j *Job) bool {
		held = held || j.State == Running && strings.HasPrefix(j.Progress.Held, "asks in vain") && says(j.Progress.Held)
		return ended(j)
	})
	if j.State != Failed || !says(j.Error) || !held || j.Progress.Read != 0 || j.Progress.Held != "" {
		t.Fatalf("%s %q, held before: %t, %+v", j.State, j.Error, held, j.Progress)
	}
	stop()
	if _, err := b.jobs.resume(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	defer b.stream(profiles)()
	if j = b.until(id, ended); j.State != Done || j.Progress.Read != 2 || len(b.found()) != 2 {
		t.Errorf("%s %q %+v", j.State, j.Error, j.Progress)
	}
}

// What an event has more than another is told as it stands there, and nothing else is.
func TestEnrich_FactsAreWhatALookUpWrote(t *testing.T) {
	for _, c := range [][3]string{
		{`{"a":1}`, `{"a":1}`, `{}`},
		{`{"a":1.50,"b":{"c":1,"d":[1]}}`, `{"b":{"c":1,"d":[1],"e":1e400},"a":1.50}`, `{"b":{"e":1e400}}`},
		{`{"a":[1],"gone":1}`, `{"a":[1,2]}`, `{"a":[1,2]}`},
		{`{"a":null}`, `{"a":{}}`, `{"a":{}}`},
		{`{}`, `{"a":null}`, `{"a":null}`},
		{`{"a":{"b":1}}`, `{"a":"<é>"}`, `{"a":"<é>"}`},
	} {
		if got, err := difference([]byte(c[0]), []byte(c[1])); err != nil || string(got) != c[2] {
			t.Errorf("%s of %s: %s %v", c[1], c[0], got, err)
		}
	}
	if _, err := difference([]byte(`{}`), []byte(`[1]`)); err == nil || strings.Contains(err.Error(), "[1]") {
		t.Error(err)
	}
}

// Accounts add up whatever is added, and never change what was read.
func TestEnrich_AccountsAddUp(t *testing.T) {
	var p Progress
	p.account(map[string]*Account{"b": {LookedAt: 2, Enriched: 1, Already: 1}, "a": {LookedAt: 1, Refused: 1}})
	read := p.Lookups
	p.account(map[string]*Account{"b": {LookedAt: 1, NotFound: 1}, "c": {LookedAt: 1, Erased: 1}})
	if len(read) != 2 || read[1].LookedAt != 2 || len(p.Lookups) != 3 || p.Lookups[1].LookedAt != 3 ||
		p.Lookups[1].Lookup != "b" {
		t.Errorf("%+v, %+v", read, p.Lookups)
	}
	for _, a := range append(p.Lookups, p.sum()) {
		if sum := a.Enriched + a.Already + a.NotFound + a.KeyNotStored + a.FailedAgain + a.Refused + a.NotConfigured +
			a.Erased; sum != a.LookedAt {
			t.Errorf("%+v: %d", a, sum)
		}
	}
}
