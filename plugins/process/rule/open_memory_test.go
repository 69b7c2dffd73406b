package rule

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

const askedRules = `
rules:
  - name: kinds
    across_devices: true
    window: { type: tumbling, size: 1m, allowed_lateness: 1m }
    key: [this.metrics.v]
    select: { n: count(), devices: sketch(this.device_id) }
  - name: slides
    key: [device_id]
    window: { type: sliding, size: 1m, every: 20s, allowed_lateness: 30s }
    select: { n: count(), most: max(this.metrics.v) }
    having: this.n > 1
    emit: { every: 10s }
  - name: visits
    key: [device_id]
    window: { type: session, gap: 10s, allowed_lateness: 20s }
    select: { n: count(), last: last(this.metrics.v) }
  - name: stays
    key: [device_id]
    window: { type: session, gap: 15s, allowed_lateness: 20s }
    select: { n: count(), most: max(this.metrics.v) }
    having: this.n > 2
`

// askedOf are all that some rules have open of a fleet, and what is counted of each.
func askedOf(t *testing.T, open *Openings, fleet string) (all []string) {
	t.Helper()
	rules := []string{"kinds", "slides", "visits", "stays"}
	results, err := open.Of(t.Context(), fleet, rules...)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		all = append(all, fmt.Sprint(r.ID, r.Revision, r.Rule, r.Fleet, r.Device, r.End, string(r.JSON)))
	}
	for _, rule := range rules {
		ends := openEnds(t, open, fleet, rule)
		for id, end := range ends.ids() {
			all = append(all, fmt.Sprint(rule, id, end))
		}
		for _, r := range results {
			if r.Rule == rule {
				ends.finds(t, r)
			}
		}
		if n := ends.Len(); n > 0 {
			t.Errorf("%d windows of %s are open and have no result", n, rule)
		}
	}
	slices.Sort(all)
	return all
}

// openEnds are all windows that a rule has open.
func openEnds(t *testing.T, open *Openings, fleet, rule string) *Ends {
	t.Helper()
	ends, err := open.Ends(t.Context(), fleet, rule, time.Unix(0, 0), time.UnixMicro(never))
	if err != nil {
		t.Fatal(err)
	}
	return ends
}

// ids are all ids, with when their windows end.
func (e *Ends) ids() map[string]int64 {
	ids := map[string]int64{}
	for i := range e.of {
		for j := range e.of[i].all {
			ids[e.of[i].idOf(&e.of[i].all[j])] = e.of[i].all[j].end
		}
	}
	return ids
}

// finds fails unless the window is there that a result is of, and can be dropped once.
func (e *Ends) finds(t *testing.T, r Result) {
	t.Helper()
	if _, is := e.Find("of another epoch", r.JSON); is {
		t.Errorf("%s is found by its key and start alone", r.JSON)
	}
	before := e.Len()
	drop, is := e.Find(r.ID, r.JSON)
	if !is {
		t.Errorf("%s is open, and not found", r.JSON)
		return
	}
	drop()
	if _, is = e.Find(r.ID, r.JSON); is || e.Len() != before-1 {
		t.Errorf("%s is found after it was dropped; %d of %d are left", r.JSON, e.Len(), before)
	}
}

// inMemory fails unless memory has all that the store has.
func (o *output) inMemory(t *testing.T) {
	t.Helper()
	versions, err := versionsOf(t.Context(), o.db)
	o.tellOpen(t.Context(), versions, asking{do: func(Result) {}})
	if err != nil || len(versions) > 0 {
		t.Fatalf("%v are not in memory: %v", versions, err)
	}
}

// Whatever comes, and whatever rules are in force: memory tells of what is open what the
// store does, to the byte; and asking changes nothing of what is told in the end.
func TestOpen_MemoryTellsWhatTheStoreTells(t *testing.T) {
	for seed := range uint64(2) {
		r := rand.New(rand.NewPCG(seed, 23))
		asked, silent := newFleets(t, "rules: []", askedRules,
			strings.Replace(askedRules, "count(), most", "count(), least: min(this.metrics.v), most", 1)),
			newFleets(t, "rules: []", askedRules,
				strings.Replace(askedRules, "count(), most", "count(), least: min(this.metrics.v), most", 1))
		both := [...]*fleets{asked, silent}
		for _, f := range both {
			f.v.activate(t, f.known[0].Number)
			f.o.journalMost = 3000 // rows are written now and then
			f.o.rowsEach = 5       // of some keys
		}
		store, err := sqldb.Open(t.Context(), asked.url)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		memory, stored := NewOpenings(asked.o.db), NewOpenings(store)
		names := []string{"plant-1", "plant-2"}
		second, offsets, told := 0, [2]int64{}, 0
		for step := range 40 {
			switch n := r.IntN(3); {
			case step == 12+int(seed)%3:
				for _, f := range both {
					f.first(f.known[1].Number, "plant-2")
				}
			case step == 25:
				for _, f := range both {
					f.v.activate(t, f.known[1].Number)
				}
			case step == 33:
				for _, f := range both {
					f.v.activate(t, f.known[0].Number)
				}
			default:
				second += n * 3
			}
			part := r.IntN(2)
			var batches [2][]*service.Message
			for range 1 + r.IntN(5) {
				when := time.Duration(max(0, second-r.IntN(40)))*s + time.Duration(r.IntN(1_000_000))*time.Microsecond
				device := fmt.Sprint("pump-", 4*part+r.IntN(4)) // of one partition
				raw := strings.Replace(at(when, float64(r.IntN(3))), "pump-1", device, 1)
				for i := range both {
					batches[i] = append(batches[i], of(names[int(when)%2], message(part, offsets[part], raw)))
				}
				offsets[part]++
			}
			for i, f := range both {
				f.apply(f.o, batches[i]...)
			}
			asked.o.inMemory(t)
			for _, fleet := range append(names, "nobody") {
				got, want := askedOf(t, memory, fleet), askedOf(t, stored, fleet)
				if !slices.Equal(got, want) {
					t.Fatalf("seed %d, step %d, %s: memory tells\n%s\nand the store\n%s", seed, step, fleet,
						strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
				told += len(got)
			}
		}
		if told < 500 {
			t.Errorf("seed %d: only %d things were open", seed, told)
		}
		if got, want := asked.results(), silent.results(); !maps.Equal(got, want) {
			t.Errorf("seed %d: asking changed what was told: %d results, %d without", seed, len(got), len(want))
		}
	}
}

// What memory has is not told when the store has another: after an erasure, or where
// another process goes on with the partition.
func TestOpen_MemoryThatIsBehindTellsNothing(t *testing.T) {
	b := newBench(t, askedRules)
	o := b.operator()
	b.apply(o, message(0, 0, at(0, 1)), message(0, 1, strings.Replace(at(1*s, 1), "pump-1", "pump-2", 1)))
	visits := func() int {
		t.Helper()
		return openEnds(t, NewOpenings(o.db), "plant-1", "visits").Len()
	}
	if n := visits(); n != 2 {
		t.Fatalf("%d visits are open, expected 2", n)
	}
	until := time.Now()
	if err := tombstone.Bury(t.Context(), o.db, tombstone.Of("plant-1", "pump-2", until)); err != nil {
		t.Fatal(err)
	}
	if err := erase(t.Context(), o.db, tombstone.Target{Job: "j", Fleet: "plant-1", Device: "pump-2",
		Until: until.UnixMicro()}); err != nil {
		t.Fatal(err)
	}
	if n := visits(); n != 1 {
		t.Errorf("after an erasure %d visits are open, expected 1", n)
	}
	other := b.operator()
	b.apply(other, message(0, 2, strings.Replace(at(2*s, 1), "pump-1", "pump-3", 1)))
	if n := visits(); n != 2 {
		t.Errorf("after another process has gone on %d visits are open, expected 2", n)
	}
	b.apply(o, message(0, 3, strings.Replace(at(3*s, 1), "pump-1", "pump-4", 1)))
	o.inMemory(t)
	o.mu.Lock() // by a batch that takes long
	defer o.mu.Unlock()
	if n := visits(); n != 3 {
		t.Errorf("while a batch takes long %d visits are open, expected 3", n)
	}
	if versions, err := versionsOf(t.Context(), o.db); err != nil || len(versions) != 1 || o.turn(t.Context()) {
		t.Errorf("there was a turn beside a batch: %v %v", versions, err)
	}
}
