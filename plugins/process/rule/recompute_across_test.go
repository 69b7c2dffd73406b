package rule

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/lifecycle/tombstone"
)

// addable has all aggregates that add up.
const addable = `select: { n: count(), nv: count(this.metrics.v), total: sum(this.metrics.v), low: min(this.metrics.v),
      high: max(this.metrics.v), devices: sketch(this.device_id) }
`

// acrossSums has rules across devices.
const acrossSums = `
rules:
  - name: minutes
    across_devices: true
    window: { type: tumbling, size: 1m, allowed_lateness: 30s }
    key: [device_firmware_version]
    ` + addable + `
  - name: hours
    across_devices: true
    window: { type: sliding, size: 1h, every: 20m, allowed_lateness: 0s }
    where: this.metrics.v.or(0) > 20
    key: [this.metrics.w]
    ` + addable

// summedUp returns a bench in which rules across devices have counted a log with events far out of
// order, and the log as a raw store.
func summedUp(t *testing.T, seed uint64) (*bench, *storedLog) {
	b := newBench(t, "rules: []")
	v := b.versions()
	v.activate(t, v.put(t, acrossSums).Number)
	log := records(rand.New(rand.NewPCG(seed, 3)), 100)
	for p := range 2 { // a much later event closes all windows
		late := strings.NewReplacer("pump-1", "pump-9", "4000", []string{"4000", "4001"}[p]).Replace(at(9_000_000*s, 1))
		log = append(log, message(p, 100, late))
	}
	b.apply(b.operator(), log...)
	return b, stored(t, log)
}

// Parts of sums of all devices have the values that the stored events yield. If they count more events
// than are stored, that is explained by erasures, and is a difference without them.
func TestRecompute_PartsOfAllDevicesAgreeWithEvents(t *testing.T) {
	b, l := summedUp(t, 5)
	whole := b.recomputed(l)
	if len(whole.Differing) > 0 || whole.Right < 50 || whole.Erased > 0 || whole.Skipped[SkippedLate] > whole.Right/4 {
		t.Fatalf("%+v", whole)
	}
	l.erased = map[int64]bool{}
	for _, e := range l.log {
		if e.First.Partition == 0 && e.device == "pump-0-1" {
			l.lost[e.First.Offset], l.erased[e.First.Offset] = true, true
		}
	}
	if len(l.erased) < 10 {
		t.Fatalf("%d events of the device", len(l.erased))
	}
	after := b.recomputed(l)
	if len(after.Differing) > 0 || after.Erased < 5 || after.ErasedEvents < int64(after.Erased) ||
		after.Right+after.Erased+after.Skipped[SkippedLate] != whole.Right+whole.Skipped[SkippedLate] {
		t.Errorf("after the erasure of a device: %+v, before it %+v", after, whole)
	}
	erased := l.erased
	l.erased = nil
	if got := b.recomputed(l); got.Erased > 0 || len(got.Differing) < after.Erased {
		t.Errorf("its events are missing, and were not erased: %+v", got)
	}
	l.erased = erased
	db := b.versions().db
	for _, value := range []string{`"n":`, `"nv":`} {
		if _, err := db.Exec(`UPDATE rule_result SET result = replace(result, $1, $2)`, value, value+"1"); err != nil {
			t.Fatal(err)
		}
		got := b.recomputed(l)
		if got.Right+got.Erased > 0 || len(got.Differing) < 50 {
			t.Errorf("with another %s in all parts: %+v", value, got)
		}
		if _, err := db.Exec(`UPDATE rule_result SET result = replace(result, $1, $2)`, value+"1", value); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(`UPDATE rule_result SET result = replace(result, '"count":', '"count":9999999')`); err != nil {
		t.Fatal(err)
	}
	if got := b.recomputed(l); got.Skipped[SkippedMany] < 50 || got.Right > 0 {
		t.Errorf("parts that count more events than may be read: %+v", got)
	}
}

// A probe, to which many events are added, answers of each event what a summing with that event alone
// answers.
func TestRecompute_AProbeTellsKeysApart(t *testing.T) {
	b, l := summedUp(t, 5)
	db, s := b.versions().db, Sample{Stored: func(string, int32) int64 { return 1 << 40 }}
	is := map[bool]int{}
	for _, raw := range b.results() {
		_, told, err := newest(t.Context(), db, parseTold(t, []byte(raw)).ID)
		if err != nil {
			t.Fatal(err)
		}
		o, why, err := s.origin(t.Context(), db, map[string]*Set{}, told)
		if err != nil || why != "" {
			t.Fatal(why, err)
		}
		p := probe{o: o}
		for _, e := range l.log {
			one, taken, err := o.takes(e.Stored)
			if err != nil || !taken {
				continue // of the other partition
			}
			alone := o.summing()
			got, err := p.has(one)
			if err2 := alone.add(one); err != nil || err2 != nil || got != alone.counts(o.name) {
				t.Fatalf("offset %d of %s: %t: %v %v", one.Offset, o.name, got, err, err2)
			}
			is[got]++
		}
		if len(is) == 2 && is[true] > 50 && is[false] > 500 {
			return
		}
	}
	t.Errorf("too few events were compared: %v", is)
}

// The number of rows that are read for parts of sums is bounded, rows of other partitions included.
func TestRecompute_PartsAreReadUpToABound(t *testing.T) {
	b, l := summedUp(t, 5)
	whole, left := b.recomputed(l), new(atomic.Int64)
	left.Store(1 << 40)
	b.recomputedOf(l, left)
	read := 1<<40 - left.Load()
	for _, e := range l.log { // rows of a partition that no rule has read
		e.First.Partition = 7
		l.log = append(l.log, e, e, e)
	}
	left.Store(2 * read)
	if got := b.recomputedOf(l, left); got.Skipped[SkippedMany] < 5 || got.Right < 5 || len(got.Differing) > 0 ||
		got.Right+got.Skipped[SkippedMany] < whole.Right {
		t.Errorf("if %d of %d rows may be read: %+v, without a bound %+v", 2*read, 4*read, got, whole)
	}
}

// has tells whether an emitted value can be that of the stored events and two erased ones.
func TestRecompute_ValuesOfErasedEvents(t *testing.T) {
	sketch := func(values ...string) string {
		var d distinct
		for _, v := range values {
			d.add([]byte(v))
		}
		return string(d.appendText(nil))
	}
	many := make([]string, 400)
	for i := range many {
		many[i] = strings.Repeat("x", i)
	}
	for _, c := range []struct {
		kind      string
		told, now any
		can       bool
	}{
		{"count", 5.0, 3.0, true}, {"count", 5.0, 2.0, false}, {"count", 3.0, 5.0, false}, {"count", 2.0, nil, true},
		{"sum", 5.0, -3.0, true}, {"sum", nil, nil, true}, {"sum", nil, 3.0, false},
		{"min", 1.0, 2.0, true}, {"min", 2.0, 1.0, false}, {"min", nil, nil, true}, {"min", nil, 1.0, false},
		{"max", 2.0, 1.0, true}, {"max", 1.0, 2.0, false}, {"max", 1.0, nil, true},
		{"sketch", sketch("a", "b"), sketch("a"), true}, {"sketch", sketch("a"), sketch("a", "b"), false},
		{"sketch", sketch("a"), "", true}, {"sketch", "", sketch("a"), false}, {"sketch", sketch(many...), sketch("x"), true},
		{"sketch", sketch(many...), sketch(many[:300]...), true}, {"sketch", sketch(many[:300]...), sketch(many...), false},
		{"sketch", "no sketch", sketch("a"), false}, {"avg", 1.0, 1.0, false},
	} {
		if v := (&value{kind: c.kind}); v.has(c.told, c.now, 2) != c.can {
			t.Errorf("%s: emitted %.40v, stored events yield %.40v: want %t", c.kind, c.told, c.now, c.can)
		}
	}
}

// Trace returns no events for a part of a sum of all devices, whose lineage would have all of them.
func TestTrace_PartsOfAllDevicesHaveNoLineage(t *testing.T) {
	b, l := summedUp(t, 5)
	for _, raw := range b.results() {
		told := parseTold(t, []byte(raw))
		_, err := Trace(t.Context(), b.versions().db, Traced{Fleet: "plant-1", Rule: told.Rule, ID: told.ID}, l)
		if !errors.Is(err, ErrNoLineage) {
			t.Fatalf("%s has a lineage, or another error: %v", told.ID, err)
		}
		break
	}
}

// Sketches of a window that was open during an erasure in its fleet are not compared: a device that
// comes again is stored, and may be missing from the sketch.
func TestAcross_SketchesOfAnErasureInTheirWindowAreNotJudged(t *testing.T) {
	set, err := Parse([]byte(acrossSums))
	if err != nil {
		t.Fatal(err)
	}
	db := newBench(t, "rules: []").operator().db
	start := time.UnixMicro(600_000_000).UTC()
	told := &telling{Fleet: "f", Start: start, End: start.Add(time.Minute)}
	for _, c := range []struct {
		fleet string
		after time.Duration
		want  string
	}{
		{"f", -time.Second, "[count devices]"}, // before the window
		{"f", 95 * time.Second, "[count devices]"},
		{"other", 30 * time.Second, "[count devices]"},
		{"f", 80 * time.Second, "[count]"}, // within the allowed lateness and the delay
		{"f", 0, "[count]"},
	} {
		if _, err := db.ExecContext(t.Context(), `DELETE FROM erased`); err != nil {
			t.Fatal(err)
		}
		if err := tombstone.Bury(t.Context(), db, tombstone.Of(c.fleet, "d", start.Add(c.after))); err != nil {
			t.Fatal(err)
		}
		o := &origin{operator: newOperator(set.Rules[0], set.Version), delay: 5_000_000}
		got := checked{what: []string{"count", "devices"}}
		if err := o.unlist(t.Context(), db, told, &got); err != nil || fmt.Sprint(got.what) != c.want {
			t.Errorf("erased %s after the start: %v differ, expected %s (%v)", c.after, got.what, c.want, err)
		}
	}
}
