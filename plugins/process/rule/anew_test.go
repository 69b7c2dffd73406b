package rule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// sumsOfAll are rules of all devices, of windows of all kinds, with sketches that are lists
// and sketches that are not.
const sumsOfAll = `
rules:
  - name: minutes
    across_devices: true
    window: { type: tumbling, size: 1m, allowed_lateness: 30s }
    key: [this.metrics.w]
    select: { n: count(), nv: count(this.metrics.v), total: sum(this.metrics.v), low: min(this.metrics.v),
      high: max(this.metrics.v), who: sketch(this.device_id), ids: sketch(this.event_id) }
  - name: slides
    across_devices: true
    window: { type: sliding, size: 20m, every: 5m, allowed_lateness: 10m }
    where: this.metrics.v.or(0) > 20
    select: { n: count(), ids: sketch(this.event_id), who: sketch(this.device_id) }
  - name: days
    across_devices: true
    window: { type: tumbling, size: day, timezone: Europe/Berlin, allowed_lateness: 2h }
    select: { n: count(), ids: sketch(this.event_id), total: sum(this.metrics.v) }
  - name: visits
    key: [device_id]
    window: { type: session, gap: 10s, allowed_lateness: 0s }
    select: { n: count() }
`

// ages is a log of two partitions of seven devices each, over so many minutes, in the order of
// time but for what is late by far. One of the devices may be left out.
func ages(r *rand.Rand, minutes int, but string) (all []*service.Message) {
	n := [2]int64{}
	for m := range minutes {
		for i := range 12 {
			p, device := i%2, fmt.Sprintf("pump-%d-%d", i%2, r.IntN(7))
			if m == 0 { // a rule begins with the first of a partition
				device = fmt.Sprintf("pump-%d-1", i%2)
			}
			after := time.Duration(m)*time.Minute + time.Duration(i)*5*time.Second
			if m > 125 && r.IntN(5) == 0 {
				after -= 2 * time.Hour // late for all but its day
			}
			raw := at(after, float64(r.IntN(100)))
			raw = strings.Replace(raw, `"pump-1"`, fmt.Sprintf("%q", device), 1)
			raw = strings.Replace(raw, `"v":`, fmt.Sprintf(`"w":%d,"v":`, r.IntN(2)), 1)
			raw = unique(raw, p, n[p])
			if device != but {
				all = append(all, message(p, n[p], raw))
			}
			n[p]++
		}
	}
	for p := range n { // time passes
		raw := strings.Replace(at(72*time.Hour, 1), `"pump-1"`, `"pump-9"`, 1)
		all = append(all, message(p, n[p], unique(raw, p, n[p])))
	}
	for _, msg := range all[:len(all)-2] {
		msg.MetaSetMut(event.HeaderReceivedAt, erasedAt().Add(-time.Hour).Format(event.TimeFormat))
	}
	return all
}

// erasedAt is when a device is erased: its events were received before.
func erasedAt() time.Time { return noon().Add(30 * time.Hour) }

// unique gives an event an id of its own.
func unique(raw string, p int, n int64) string {
	from := strings.Index(raw, `"event_id":"`) + len(`"event_id":"`)
	return raw[:from] + fmt.Sprintf("%08x-0000-4000-8000-%012x", p+1, n) + raw[from+36:]
}

// lose takes a device out of a raw store, as an erasure does, and tells when it had events.
func (l *storedLog) lose(device string) func(*Minutes) error {
	l.erased = map[int64]bool{}
	var seen []storedEvent
	for _, e := range l.log {
		if e.device == device {
			l.lost[e.First.Offset], l.erased[e.First.Offset] = true, true
			seen = append(seen, e)
		}
	}
	return func(m *Minutes) error {
		for _, e := range seen {
			m.Add(e.First, e.at)
		}
		return nil
	}
}

// anew is a round of making sums anew, by a process that reads events so. It fails as soon
// as between has an error.
func (b *bench) anew(db *sqldb.DB, of *storedLog, events Events, between func() error) (Sums, error) {
	return Anew{Job: "job", Fleet: "plant-1", By: time.Now().Add(time.Minute), Held: between,
		Of: func(context.Context, string, int32, time.Time) (Sample, error) {
			return Sample{Events: events, Erased: of.among,
				Stored: func(string, int32) int64 { return int64(len(of.log)) }}, nil
		}}.Make(b.Context(), db)
}

// newestSums are the newest revisions of sums of all devices, by id, without what differs
// when one is made anew; and the revisions. Those that are retracted tell nothing.
func (b *bench) newestSums() (told map[string]string, revisions map[string]int64) {
	b.Helper()
	told, revisions = map[string]string{}, map[string]int64{}
	for _, raw := range b.results() {
		var t telling
		if err := json.Unmarshal([]byte(raw), &t); err != nil {
			b.Fatal(err)
		}
		if have, is := revisions[t.ID]; t.Rule == "visits" || is && have > t.Revision {
			continue
		}
		revisions[t.ID] = t.Revision
		told[t.ID] = fmt.Sprint(t.Rule, t.Key, t.Start, t.End, t.Count, t.First, t.Last, t.Values)
		if t.Status == statusRetracted {
			delete(told, t.ID)
		}
	}
	return told, revisions
}

// killed reads events of a process that is killed when it has read so many.
type killed struct {
	*storedLog
	left int
}

var errKilled = errors.New("killed")

func (k *killed) Of(ctx context.Context, w Wanted, by func(event.Coordinates) *Reading, each func(Stored) error) error {
	return k.storedLog.Of(ctx, w, by, func(e Stored) error {
		if k.left--; k.left < 0 {
			return errKilled
		}
		return each(e)
	})
}

// forgetting does what an erasure of a device does before its sums are made anew.
func (b *bench) forgetting(db *sqldb.DB, l *storedLog, device string, until time.Time) {
	b.Helper()
	find := l.lose(device)
	for range 2 { // a step may be done again
		if err := Touch(b.Context(), db, "job", "plant-1", until, find); err != nil {
			b.Fatal(err)
		}
	}
	target := tombstone.Target{Job: "job", Fleet: "plant-1", Device: device, Until: until.UnixMicro()}
	if err := errors.Join(tombstone.Bury(b.Context(), db, target.Stone()), erase(b.Context(), db, target),
		eraseListed(b.Context(), db, target)); err != nil {
		b.Fatal(err)
	}
}

// untouched is what the same rules tell of a log in which the device never was.
func untouched(t testing.TB, log []*service.Message) map[string]string {
	b := newBench(t, "rules: []")
	b.apply(b.counting(), log...)
	told, _ := b.newestSums()
	return told
}

// counting is a place in which the rules count a log.
func (b *bench) counting() *output {
	b.Helper()
	v := b.versions()
	v.activate(b.TB, v.put(b.TB, sumsOfAll).Number)
	return b.operator()
}

// Made anew after an erasure, sums of all devices are to the last byte what the same rules
// tell of the events without the device: also sketches of more values than a list has, least
// and greatest values. That holds wherever a process is killed; consumers are told of each
// that changed, once, and of no other; the proof finds all of them right.
func TestAnew_SumsAreThoseOfEventsWithoutTheDevice(t *testing.T) {
	onBothOf(t, "rules: []", func(b *bench) {
		ctx, seed := b.Context(), uint64(1)
		log := ages(rand.New(rand.NewPCG(17, seed)), 150, "")
		want := untouched(t, ages(rand.New(rand.NewPCG(17, seed)), 150, "pump-0-3"))
		b.apply(b.counting(), log...)
		before, was := b.newestSums()
		l, db := stored(b.TB, log), b.open()
		if _, err := db.ExecContext(ctx, `UPDATE rule_result SET sent = 1`); err != nil {
			b.Fatal(err)
		}
		b.forgetting(db, l, "pump-0-3", erasedAt())
		r := rand.New(rand.NewPCG(17, 9))
		var done Sums
		kills := 0
		for {
			var events Events = &killed{l, r.IntN(400)}
			pieces := 1 + r.IntN(4)
			between := func() error {
				if pieces--; pieces < 0 {
					return errKilled
				}
				return nil
			}
			if kills > 60 {
				events, between = l, func() error { return nil }
			}
			var err error
			if done, err = b.anew(db, l, events, between); err == nil {
				break
			} else if !errors.Is(err, errKilled) {
				b.Fatal(err)
			}
			kills++
		}
		if kills < 20 || !done.Over() || len(done.Kept) > 0 || done.Parts != 6 {
			b.Fatalf("after %d kills: %+v", kills, done)
		}
		told, revisions := b.newestSums()
		if !maps.Equal(told, want) {
			for id := range told {
				if told[id] != want[id] {
					b.Errorf("%s\n%.300s\nwithout the device\n%.300s", id, told[id], want[id])
				}
			}
			b.Fatalf("%d sums, and %d without the device", len(told), len(want))
		}
		changed := int64(0)
		large := false
		for id, text := range before {
			if told[id] == text && revisions[id] != was[id] {
				b.Errorf("%s is told again, and is as it was", id)
			}
			if told[id] == text {
				continue
			}
			changed++
			if large = large || strings.Contains(text, "ids:r"); revisions[id] != was[id]+1 {
				b.Errorf("%s has revision %d, and had %d", id, revisions[id], was[id])
			}
		}
		batch, keys, err := unsent(ctx, db, 10_000)
		if err != nil || int64(len(keys)) != changed || len(batch) != len(keys) || done.Made != changed || changed < 100 ||
			!large {
			b.Errorf("%d sums changed, %d are told of, %d are said to be made anew (large: %t): %v", changed, len(keys),
				done.Made, large, err)
		}
		var left int
		if err := db.QueryRow(`SELECT count(*) FROM rule_result r WHERE device_id = '' AND EXISTS (SELECT 1 FROM rule_result n
			WHERE n.id = r.id AND n.revision > r.revision)`).Scan(&left); err != nil || left > 0 {
			b.Errorf("%d revisions are left that counted the device: %v", left, err)
		}
		if got := b.recomputed(l); got.Erased > 0 || len(got.Differing) > 0 || got.Right < 50 {
			b.Errorf("the proof says: %+v", got)
		}
		if err := ForgetSums(ctx, db, "job"); err != nil {
			b.Fatal(err)
		}
		if again, err := b.anew(db, l, l, func() error { return nil }); err != nil || again.Parts != 0 || !again.Over() {
			b.Errorf("of nothing: %+v %v", again, err)
		}
	})
}

// A window that an event may still correct waits: the event is counted first, and then the
// sum is made anew with it and without the device.
func TestAnew_OpenWindowsWaitForLateEvents(t *testing.T) {
	b := newBench(t, "rules: []")
	log := ages(rand.New(rand.NewPCG(17, 3)), 40, "")
	log, closing := log[:len(log)-2], log[len(log)-2:]
	l, db, o := stored(t, append(slices.Clone(log), closing...)), b.open(), b.counting()
	half := len(log) - 100 // what comes in order, and is late by some minutes then
	b.apply(o, log[:half]...)
	b.forgetting(db, l, "pump-0-3", erasedAt())
	round := func() Sums {
		t.Helper()
		s, err := b.anew(db, l, l, func() error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := round()
	if first.Over() || !first.Idle() || first.Waiting == 0 {
		t.Fatalf("%+v", first)
	}
	b.apply(o, log[half:]...) // the device's are refused: it is buried
	if s := round(); s.Over() {
		t.Fatalf("%+v", s)
	}
	b.apply(o, closing...)
	if s := round(); !s.Over() || s.Made <= first.Made || len(s.Kept) > 0 {
		t.Fatalf("%+v, at first %+v", s, first)
	}
	told, _ := b.newestSums()
	if want := untouched(t, ages(rand.New(rand.NewPCG(17, 3)), 40, "pump-0-3")); !maps.Equal(told, want) {
		t.Errorf("%d sums are not those %d of a log without the device", len(told), len(want))
	}
}

// Processes that are killed while rows of checkpoints are written leave rows of different moments, and a journal that
// is counted again over them. Whatever they left, before, amid and after an erasure: nothing that was made anew is told
// once more, and nothing of the device comes back.
func TestAnew_JournalsCountedAgainBringNothingBack(t *testing.T) {
	onBothOf(t, "rules: []", func(b *bench) {
		r := rand.New(rand.NewPCG(17, 11))
		log := ages(rand.New(rand.NewPCG(17, 7)), 45, "")
		want := untouched(b.TB, ages(rand.New(rand.NewPCG(17, 7)), 45, "pump-0-3"))
		log, closing := log[:len(log)-2], log[len(log)-2:]
		l, db, o := stored(b.TB, append(slices.Clone(log), closing...)), b.open(), b.counting()
		round := func() (s Sums) {
			b.Helper()
			s, err := b.anew(db, l, l, func() error { return nil })
			if err != nil {
				b.Fatal(err)
			}
			return s
		}
		kills, amid, replayed, forgot := 0, 0, 0, false
		for n := 0; n < len(log); n += 12 {
			if r.IntN(3) == 0 { // killed
				for _, h := range o.places {
					amid += int(bit(h.until > 0))
				}
				replayed += int(bit(len(b.journal()) > 0))
				kills++
				o = b.operator()
			}
			o.journalMost, o.rowsEach = []int{0, 3000, 9000}[r.IntN(3)], 1
			b.apply(o, log[n:min(n+12, len(log))]...)
			if n >= 2*len(log)/3 && !forgot {
				b.forgetting(db, l, "pump-0-3", erasedAt())
				forgot = true
			}
			if forgot && r.IntN(2) == 0 {
				round()
			}
		}
		b.apply(o, closing...)
		if s := round(); !s.Over() || s.Made < 20 || len(s.Kept) > 0 {
			b.Fatalf("%+v", s)
		}
		told, _ := b.newestSums()
		if !maps.Equal(told, want) {
			b.Errorf("%d sums are not those %d of a log without the device", len(told), len(want))
		}
		if kills < 10 || amid < 5 || replayed < 10 {
			b.Errorf("%d kills, %d amid a checkpoint, %d with a journal", kills, amid, replayed)
		}
		before := b.results()
		b.apply(b.operator(), closing...) // who reads it anew
		if !maps.Equal(b.results(), before) {
			b.Errorf("%d results, and then %d: some are told again", len(before), len(b.results()))
		}
		if got := b.recomputed(l); got.Erased > 0 || len(got.Differing) > 0 || got.Right < 50 {
			b.Errorf("the proof says: %+v", got)
		}
	})
}

// What cannot be made anew stays as it was told, is counted by why, and made no worse.
func TestAnew_WhatCannotBeStays(t *testing.T) {
	for why, spoil := range map[string]func(*bench, *storedLog){
		SkippedRaw:   func(_ *bench, l *storedLog) { l.noDays = true },
		keptDiffers:  func(_ *bench, l *storedLog) { l.erased = nil },
		SkippedRules: func(b *bench, _ *storedLog) { b.exec(`UPDATE rule_version SET version = 'other'`) },
	} {
		b := newBench(t, "rules: []")
		log := ages(rand.New(rand.NewPCG(17, 5)), 30, "")
		b.apply(b.counting(), log...)
		before, _ := b.newestSums()
		l, db := stored(t, log), b.open()
		b.forgetting(db, l, "pump-0-3", erasedAt())
		spoil(b, l)
		s, err := b.anew(db, l, l, func() error { return nil })
		if err != nil || !s.Over() || s.Made != 0 || s.Kept[why] < 20 || len(s.Kept) != 1 {
			t.Errorf("%s: %+v %v", why, s, err)
		}
		told, revisions := b.newestSums()
		if len(told) != len(before) || slices.Max(slices.Collect(maps.Values(revisions))) > 1 {
			t.Errorf("%s: %d sums, before %d", why, len(told), len(before))
		}
		if err := erase(t.Context(), db, b.target(db, "fleet", "")); err != nil {
			t.Fatal(err)
		}
		if s, err := b.anew(db, l, l, func() error { return nil }); err != nil || s.Parts != 0 {
			t.Errorf("of a fleet that is erased: %+v %v", s, err)
		}
	}
}

func (b *bench) exec(query string) {
	b.Helper()
	if _, err := b.open().Exec(query); err != nil {
		b.Fatal(err)
	}
}
