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

// addable are all that add up.
const addable = `select: { n: count(), nv: count(this.metrics.v), total: sum(this.metrics.v), low: min(this.metrics.v),
      high: max(this.metrics.v), devices: sketch(this.device_id) }
`

// acrossSums are rules of all devices.
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

// summedUp is a place in which rules of all devices counted a log far out of order.
func summedUp(t *testing.T, seed uint64) (*bench, *storedLog) {
	b := newBench(t, "rules: []")
	v := b.versions()
	v.activate(t, v.put(t, acrossSums).Number)
	log := records(rand.New(rand.NewPCG(seed, 3)), 100)
	for p := range 2 { // time passes
		late := strings.NewReplacer("pump-1", "pump-9", "4000", []string{"4000", "4001"}[p]).Replace(at(9_000_000*s, 1))
		log = append(log, message(p, 100, late))
	}
	b.apply(b.operator(), log...)
	return b, stored(t, log)
}

// Parts of sums of all devices are what the events of all come to. What they count
// beyond what is stored is explained where it was erased, and named where it was not.
func TestRecompute_PartsOfAllDevicesAreWhatEventsComeTo(t *testing.T) {
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
		t.Errorf("a device was erased: %+v, before %+v", after, whole)
	}
	erased := l.erased
	l.erased = nil
	if got := b.recomputed(l); got.Erased > 0 || len(got.Differing) < after.Erased {
		t.Errorf("its events are gone, and nobody erased them: %+v", got)
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
		t.Errorf("of more events than are read: %+v", got)
	}
}

// A probe tells of each event what one that takes in it alone tells.
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
	t.Errorf("too few to tell: %v", is)
}

// What is read for parts of sums is bounded, with what is of other partitions.
func TestRecompute_PartsAreReadUpToABound(t *testing.T) {
	b, l := summedUp(t, 5)
	whole, left := b.recomputed(l), new(atomic.Int64)
	left.Store(1 << 40)
	b.recomputedOf(l, left)
	read := 1<<40 - left.Load()
	for _, e := range l.log { // of a partition of which no rule knows
		e.First.Partition = 7
		l.log = append(l.log, e, e, e)
	}
	left.Store(2 * read)
	if got := b.recomputedOf(l, left); got.Skipped[SkippedMany] < 5 || got.Right < 5 || len(got.Differing) > 0 ||
		got.Right+got.Skipped[SkippedMany] < whole.Right {
		t.Errorf("where %d rows of %d may be read: %+v, before %+v", 2*read, 4*read, got, whole)
	}
}

// A value can be that of events which are in part stored no more, or it cannot.
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
		{"sketch", sketch("a"), "", true}, {"sketch", "", sketch("a"), false},
		{"sketch", sketch("a", "b", "c", "d"), sketch("a"), false}, {"sketch", sketch(many...), sketch("x"), false},
		{"sketch", sketch(many...), sketch(many[:398]...), true},
		{"sketch", sketch(many[:257]...), sketch(many[:256]...), true},
		{"sketch", sketch(many[:256]...), sketch(many[:257]...), false},
		{"sketch", sketch(many...), sketch(many[:300]...), false}, {"sketch", sketch(many[:300]...), sketch(many...), false},
		{"sketch", "no sketch", sketch("a"), false}, {"avg", 1.0, 1.0, false},
	} {
		if v := (&value{kind: c.kind}); v.has(c.told, c.now, 2, 0) != c.can {
			t.Errorf("%s: %.40v of which %.40v is stored", c.kind, c.told, c.now)
		}
	}
}

// A part of a sum of all devices is led to no events: its lineage would be of all.
func TestTrace_PartsOfAllDevicesLeadNowhere(t *testing.T) {
	b, l := summedUp(t, 5)
	for _, raw := range b.results() {
		told := parseTold(t, []byte(raw))
		_, err := Trace(t.Context(), b.versions().db, Traced{Fleet: "plant-1", Rule: told.Rule, ID: told.ID}, l)
		if !errors.Is(err, ErrNoLineage) {
			t.Fatalf("%s leads somewhere: %v", told.ID, err)
		}
		break
	}
}

// Tombstones from since a window began explain as many registers or hashes of its sketches, and nothing else.
func TestAcross_WhatSketchesForgotIsExplained(t *testing.T) {
	set, err := Parse([]byte(acrossSums))
	if err != nil {
		t.Fatal(err)
	}
	db := newBench(t, "rules: []").operator().db
	start := time.UnixMicro(600_000_000).UTC()
	r := rand.New(rand.NewPCG(3, 3))
	few, many := setOf(r, 100), setOf(r, 1000)
	forgot := func(d *distinct, names int) string {
		d = d.clone()
		for i := range names {
			if d.regs == nil {
				d.forget(d.few[0])
				continue
			}
			d.regs[i*9] ^= 1 // higher or lower
		}
		return string(d.appendText(nil))
	}
	for _, c := range []struct {
		fleet string
		after time.Duration
		of    *distinct
		names int
		want  string
	}{
		{"f", 0, few, 1, "[count]"}, {"f", 0, few, 2, "[count]"}, {"f", 0, few, 3, "[count devices]"},
		{"f", 0, many, 1, "[count]"}, {"f", 0, many, 2, "[count]"}, {"f", 0, many, 3, "[count devices]"},
		{"f", time.Hour, many, 2, "[count]"},  // it was told before
		{"f", -aheadMost, many, 1, "[count]"}, // it can have events from before
		{"f", -aheadMost - time.Microsecond, many, 1, "[count devices]"}, {"other", 0, few, 1, "[count devices]"},
	} {
		if _, err := db.ExecContext(t.Context(), `DELETE FROM erased`); err != nil {
			t.Fatal(err)
		}
		for _, stone := range []tombstone.Stone{tombstone.Of(c.fleet, "d", start.Add(c.after)),
			tombstone.OfName(c.fleet, "d", start.Add(c.after)), tombstone.Of(c.fleet, "", start.Add(c.after)),
			tombstone.Of(c.fleet, "e", start.Add(-time.Hour))} {
			if err := tombstone.Bury(t.Context(), db, stone); err != nil {
				t.Fatal(err)
			}
		}
		o := &origin{operator: newOperator(set.Rules[0], set.Version)}
		told := &telling{Fleet: "f", Start: start, End: start.Add(time.Minute), Values: map[string]any{
			"devices": forgot(c.of, c.names)}}
		now := &telling{Values: map[string]any{"devices": string(c.of.appendText(nil))}}
		got := checked{what: []string{"count", "devices"}}
		if err := o.explain(t.Context(), db, told, now, &got); err != nil || fmt.Sprint(got.what) != c.want {
			t.Errorf("%s, erased %s after the start, %d forgotten: %v differ, expected %s (%v)", c.fleet, c.after, c.names,
				got.what, c.want, err)
		}
	}
}
