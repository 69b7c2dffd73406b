package rule

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

// storedLog is a raw store with all events of a log, except those that are lost.
type storedLog struct {
	log    []storedEvent
	lost   map[int64]bool // offsets of partition 0
	erased map[int64]bool // those of the lost ones that an erasure has deleted
	noDays bool
}

type storedEvent struct {
	Stored
	fleet, device string
	at            int64
}

func stored(t testing.TB, log []*service.Message) *storedLog {
	t.Helper()
	l := &storedLog{lost: map[int64]bool{}}
	for _, msg := range log {
		at, _, _ := event.CoordinatesOf(msg)
		raw, err := msg.AsBytes()
		var e event.Event
		if err == nil {
			err = event.Parse(raw, &e)
		}
		if err != nil {
			t.Fatal(err)
		}
		received, _ := event.ReceivedAt(msg)
		l.log = append(l.log, storedEvent{Stored{First: at, Received: received, JSON: raw}, event.FleetOf(msg),
			strings.Clone(e.Device), countsAt(&e, received, "", aheadMost).UnixMicro()})
	}
	return l
}

func (l *storedLog) has(e storedEvent) bool { return e.First.Partition != 0 || !l.lost[e.First.Offset] }

func (l *storedLog) Of(_ context.Context, w Wanted, _ func(event.Coordinates) *Reading,
	each func(Stored) error) error {
	for _, e := range l.log {
		if e.at < w.From || e.at > w.To || !l.has(e) {
			continue
		}
		if w.Left != nil && w.Left.Add(-1) < 0 {
			return ErrTooMany
		}
		if e.fleet != w.Fleet || w.Device != "" && e.device != w.Device || e.First.Topic != w.Topic ||
			e.First.Partition != w.Partition {
			continue
		}
		if err := each(e.Stored); err != nil {
			return err
		}
	}
	return nil
}

func (l *storedLog) Passed(_ context.Context, before event.Coordinates, after int64) (is bool, _ error) {
	return slices.ContainsFunc(l.log, func(e storedEvent) bool {
		return e.First.Partition == before.Partition && e.First.Offset < before.Offset && e.at >= after && l.has(e)
	}), nil
}

func (l *storedLog) Days(context.Context, string, int64, int64) (bool, error) { return !l.noDays, nil }

func (l *storedLog) Knows(*Reading) bool { return true }

// among is Sample.Erased.
func (l *storedLog) among(_ context.Context, m Missing) (n int64, _ error) {
	for offset := range l.erased {
		if m.Partition == 0 && offset >= m.First && offset <= m.Last && m.Fleet != "" {
			n++
		}
	}
	return n, nil
}

// recomputed recomputes up to 200 results.
func (b *bench) recomputed(l *storedLog) Recomputed {
	b.Helper()
	return b.recomputedOf(l, nil)
}

// recomputedOf recomputes up to 200 results, and reads no more rows for sums than are left.
func (b *bench) recomputedOf(l *storedLog, left *atomic.Int64) Recomputed {
	b.Helper()
	got, err := Recompute(b.Context(), b.versions().db, Sample{Seed: 7, Most: 200, Events: l, Erased: l.among,
		Stored: func(string, int32) int64 { return int64(len(l.log)) }, left: left})
	if err != nil {
		b.Fatal(err)
	}
	sum := got.Right + got.Erased + len(got.Differing)
	for _, n := range got.Skipped {
		sum += n
	}
	if sum != got.Sampled || got.Sampled == 0 {
		b.Fatalf("the outcomes do not add up: %+v", got)
	}
	return got
}

// tortured returns the number of random histories of a test: n, or more in make torture.
func tortured(n int) int {
	if more, err := strconv.Atoi(os.Getenv("WEIR_TORTURE_HISTORIES")); err == nil {
		return more
	}
	return n
}

// recomputable returns a bench in which rules of every kind have counted a log of two partitions, with
// events far out of order, and the log as a raw store.
func recomputable(t *testing.T, seed uint64) (*bench, *storedLog) {
	b := newBench(t, "rules: []")
	v := b.versions()
	v.activate(t, v.put(t, everything).Number)
	log := records(rand.New(rand.NewPCG(seed, 3)), 100)
	for p := range 2 { // a much later event closes all windows
		late := strings.NewReplacer("pump-1", "pump-9", "4000", fmt.Sprintf("4%03d", p)).Replace(at(9_000_000*s, 1))
		log = append(log, message(p, 100, late))
	}
	b.apply(b.operator(), log...)
	return b, stored(t, log)
}

// The results of every kind of window, match and pair are those that the stored events yield. If events
// follow the last one that a result counts, they must be proven late, or the result is skipped.
func TestRecompute_WhatWasToldIsWhatEventsComeTo(t *testing.T) {
	for seed := range uint64(tortured(2)) {
		b, l := recomputable(t, seed)
		got := b.recomputed(l)
		if len(got.Differing) > 0 || got.Right < 80 || got.Skipped[SkippedLate] > got.Right/4 {
			t.Errorf("seed %d: %+v", seed, got)
		}
		for why := range got.Skipped {
			if !slices.Contains(Skips(), why) {
				t.Errorf("%s is not in Skips", why)
			}
		}
		again := b.recomputed(l)
		if again.Right != got.Right || !maps.Equal(again.Skipped, got.Skipped) {
			t.Errorf("the same seed gives another sample: %+v, then %+v", got, again)
		}
	}
}

// A result that was changed, or that counts events which are not stored, is reported with its id and the
// coordinates of its events. If the raw store does not have the days any more, it is skipped.
func TestRecompute_DifferencesAreNamed(t *testing.T) {
	b, l := recomputable(t, 3)
	db := b.versions().db
	if _, err := db.Exec(`UPDATE rule_result SET result = replace(result, '"count":', '"count":1') WHERE rule = 'minute'`); err != nil {
		t.Fatal(err)
	}
	changed := b.recomputed(l)
	if len(changed.Differing) == 0 {
		t.Fatalf("%+v", changed)
	}
	for _, d := range changed.Differing {
		if d.Rule != "minute" || !slices.Equal(d.What, []string{"count"}) || !strings.HasPrefix(d.First, "raw-events/") ||
			!strings.Contains(d.String(), d.ID) {
			t.Errorf("%+v", d)
		}
	}
	if _, err := db.Exec(`DELETE FROM rule_result WHERE rule = 'minute'`); err != nil {
		t.Fatal(err)
	}
	for offset := range int64(100) {
		l.lost[offset] = offset%10 == 3
	}
	if got := b.recomputed(l); len(got.Differing) < 5 {
		t.Errorf("with events that are not stored any more: %+v", got)
	}
	l.noDays = true
	if got := b.recomputed(l); len(got.Differing) > 0 && got.Skipped[SkippedRaw] == 0 {
		t.Errorf("with days that the raw store does not have any more: %+v", got)
	}
}

// A result that cannot be recomputed is counted under the reason, and never as right.
func TestRecompute_WhatCannotBeIsCountedUnderItsReason(t *testing.T) {
	b, l := recomputable(t, 3)
	db := b.versions().db
	ahead, err := Recompute(t.Context(), db, Sample{Seed: 1, Most: 10, Events: l,
		Stored: func(string, int32) int64 { return 0 }})
	if err != nil || ahead.Right > 0 || ahead.Skipped[SkippedAhead] == 0 {
		t.Errorf("before the raw store has the events: %+v %v", ahead, err)
	}
	for _, c := range [][2]string{{`UPDATE rule_position SET time = 0`, SkippedOpen},
		{`UPDATE rule_version SET version = 'other'`, SkippedRules}} {
		do, why := c[0], c[1]
		if _, err := db.Exec(do); err != nil {
			t.Fatal(err)
		}
		if got := b.recomputed(l); got.Skipped[why] == 0 || len(got.Differing) > 0 {
			t.Errorf("after %s: %+v", do, got)
		} else if why == SkippedRules && got.Right > 0 {
			t.Errorf("%d results are right by rules that are not stored", got.Right)
		}
	}
}

// An event after the last one that a result counts was late only if an earlier event had moved time far
// enough. An event that a rule has just not counted is not called late.
func TestRecompute_AnEventThatWasNotCountedIsNotCalledLate(t *testing.T) {
	b := newBench(t, "rules: []")
	v := b.versions()
	v.activate(t, v.put(t, perMinute).Number)
	o := b.operator()
	log := []*service.Message{message(0, 0, at(0, 1)), message(0, 1, at(2*s, 1)), message(0, 2, at(3*s, 1)),
		message(0, 3, at(200*s, 1)), message(0, 4, at(4*s, 1))}
	l := stored(t, log)
	b.apply(o, slices.Delete(log, 2, 3)...) // offset 2 is not given to the rules
	got := b.recomputed(l)
	if got.Right != 0 || got.Skipped[SkippedMissed]+got.Skipped[SkippedLate] != 1 {
		t.Errorf("%+v", got)
	}
	l.lost[2] = true
	if got := b.recomputed(l); got.Right != 1 { // offset 4 was late
		t.Errorf("if the raw store does not have offset 2 either: %+v", got)
	}
}

// Results of a join of two topics are skipped, because the raw store has the events of at most one.
func TestRecompute_JoinsOfTwoTopicsAreSkipped(t *testing.T) {
	b := newBench(t, "rules: []")
	v := b.versions()
	v.activate(t, v.put(t, joinedTopics(0, 10*s, 0, "inner")).Number)
	log := []*service.Message{ofTopic("orders", message(0, 0, at(0, 1))), ofTopic("payments", message(0, 0, at(1*s, 1)))}
	b.apply(b.operator(), log...)
	if got := b.recomputed(stored(t, log)); got.Sampled != 1 || got.Skipped[SkippedTopics] != 1 || len(got.Differing) > 0 {
		t.Errorf("%+v", got)
	}
}
