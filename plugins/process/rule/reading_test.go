package rule

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	_ "github.com/redpanda-data/connect/v4/public/components/pure"

	"weir/internal/event"
)

// asSent is a raw store with events as they were sent. Of maps them as the rules stream did when it read
// them.
type asSent struct {
	*storedLog
	testing.TB
	others bool
}

func (l asSent) Of(ctx context.Context, w Wanted, by func(event.Coordinates) *Reading,
	each func(Stored) error) error {
	return l.storedLog.Of(ctx, w, by, func(s Stored) error {
		reading := by(s.First)
		if reading == nil {
			return each(s)
		}
		mappings, err := reading.Compile()
		if err != nil {
			l.Fatal(err)
		}
		msg := service.NewMessage(s.JSON)
		for _, m := range mappings {
			if msg, err = msg.BloblangQuery(m); err != nil {
				l.Fatal(err)
			}
		}
		if s.JSON, err = msg.AsBytes(); err != nil {
			l.Fatal(err)
		}
		return each(s)
	})
}

func (l asSent) Knows(by *Reading) bool { return by != nil && len(by.Others) == 0 }

// fileRules has a sum of values that the mappings change.
const fileRules = `rules: [{ name: minute, key: [device_id], select: { n: count(), v: sum(this.metrics.v) },
  window: { type: tumbling, size: 1m, allowed_lateness: 0s } }]`

// Each text of the file of rules is stored once, as a version, so that its results can be recomputed and
// traced. Mappings change in the middle of windows, and so do the files that they import: each event is
// mapped as it was when the rules read it.
func TestReading_ResultsOfAFileAreRecomputedAsEventsWereRead(t *testing.T) {
	b := newBench(t, fileRules)
	maps, entry := filepath.Join(t.TempDir(), "maps.blobl"), filepath.Join(t.TempDir(), "upcast.blobl")
	mapped := func(factor string) {
		t.Helper()
		for path, text := range map[string]string{
			maps:  "map scaled { root = this\n root.metrics.v = this.metrics.v * " + factor + " }",
			entry: "import \"" + maps + "\"\nroot = this.apply(\"scaled\")"} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.extra = "processors: [ { label: a, mapping: 'from \"" + entry + "\"' }, { log: { message: seen } } ]\n"
	var log []*service.Message
	for i := range 12 { // events of two minutes; the one at 1000 s closes them
		log = append(log, message(0, int64(i), at(10*s*time.Duration(i), float64(i))))
	}
	log = append(log, message(0, 12, at(1000*s, 1)))
	sent := asSent{stored(t, log), t, false}
	for i, factor := range []string{"2", "10", "1"} {
		mapped(factor)
		o := b.operator()
		b.apply(o, log[5*i:min(5*i+5, len(log))]...)
		b.apply(o, log[5*i:min(5*i+5, len(log))]...)
	}
	mapped("7") // no event was read with this mapping
	if got := b.count("minute"); !slices.Equal(got, []string{"pump-1 0s 6", "pump-1 1m0s 6"}) {
		t.Fatalf("%q", got)
	}
	sums := map[float64]bool{}
	for _, raw := range b.results() {
		sums[parseTold(t, []byte(raw)).Values["v"].(float64)] = true
	}
	if !sums[2*(0+1+2+3+4)+10*5] || !sums[10*(6+7+8+9)+10+11] {
		t.Fatalf("%v", sums)
	}
	v := b.versions()
	kept, err := v.List(t.Context())
	if err != nil || len(kept) != 1 || kept[0].Source != "file" || kept[0].CreatedBy != "file" {
		t.Fatalf("%+v %v", kept, err)
	}
	again := func(l Events) Recomputed {
		t.Helper()
		got, err := Recompute(t.Context(), v.db, Sample{Seed: 1, Most: 50, Events: l,
			Stored: func(string, int32) int64 { return 100 }})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := again(sent); got.Sampled != 2 || got.Right != 2 {
		t.Errorf("recomputed: %+v", got)
	}
	for _, raw := range b.results() {
		told := parseTold(t, []byte(raw))
		got, err := Trace(t.Context(), v.db, Traced{Fleet: "plant-1", Rule: "minute", ID: told.ID}, sent)
		if err != nil || !got.Whole || len(got.Events) != 6 {
			t.Fatalf("the lineage of %s is %+v: %v", raw, got, err)
		}
		if last := string(got.Events[5].Event); told.Start.Equal(noon()) && !strings.Contains(last, `"v":50`) {
			t.Errorf("the last event is mapped to %s", last)
		}
	}
	if put := v.put(t, fileRules); put.Number != kept[0].Number || put.Source != "put" || put.CreatedBy != "ann" {
		t.Errorf("the version of the file, put as well: %+v", put)
	}
	if _, err := v.db.Exec(`UPDATE rule_switch SET reading = ''`); err != nil {
		t.Fatal(err)
	}
	if got := again(sent); got.Skipped[SkippedMapping] != 2 || len(got.Differing) > 0 {
		t.Errorf("without a stored Reading: %+v", got)
	}
}

// A Reading names the processors that may change an event and cannot be repeated: all but mappings, and
// mappings that depend on more than the event.
func TestReading_NamesWhatCannotBeRepeated(t *testing.T) {
	for processors, want := range map[string][]string{
		"[]": nil,
		"[ { label: d, event_dedupe: { url: x } }, { mapping: root = this } ]":          nil,
		"[ { label: who, identity: { into: user.person } }, { mapping: root = this } ]": {"identity"},
		"[ { mapping: 'root.home = env(\"HOME\")' }, { bloblang: root = this }, 7 ]":    {"mapping", "processor"},
		"[ { mapping: 'from \"/no/such.blobl\"' } ]":                                    {"mapping"},
	} {
		spec := service.NewConfigSpec().Field(service.NewAnyField("processors"))
		parsed, err := spec.ParseYAML("processors: "+processors, nil)
		if err != nil {
			t.Fatal(err)
		}
		list, err := parsed.FieldAny("processors")
		if err != nil {
			t.Fatal(err)
		}
		r, err := readingOf(list, 5*s, 60*s)
		if err != nil || !slices.Equal(r.Others, want) || r.Ahead != 60_000_000 || r.Delay != 5_000_000 {
			t.Errorf("%s: %+v %v", processors, r, err)
		}
	}
	same, err := readingOf(nil, 5*s, 60*s)
	other, err2 := readingOf(nil, 5*s, 61*s)
	if err != nil || err2 != nil || same.ID == other.ID || same.ID == "" {
		t.Errorf("%+v and %+v: %v %v", same, other, err, err2)
	}
}

// An event that is stamped ahead by more than max_ahead of the stream counts at its receipt, also when
// its result is recomputed.
func TestReading_StampsAheadCountAsTheyDid(t *testing.T) {
	b := newBench(t, perMinute)
	b.extra = "max_ahead: 30s\n"
	ahead := message(0, 1, at(120*s, 1)) // within the default of max_ahead, beyond that of the stream
	received := noon().Add(20 * s).Format(event.TimeFormat)
	ahead.MetaSetMut(event.HeaderReceivedAt, received)
	log := []*service.Message{message(0, 0, at(0, 1)), ahead, message(0, 2, at(1000*s, 1))}
	b.apply(b.operator(), log...)
	if got := b.count("minute"); !slices.Equal(got, []string{"pump-1 0s 2"}) {
		t.Fatalf("%q", got)
	}
	l := stored(t, log)
	l.log[1].at = noon().Add(20 * s).UnixMicro() // the time at which the raw store has the event
	if got := b.recomputed(l); got.Right != 1 {
		t.Errorf("%+v", got)
	}
}
