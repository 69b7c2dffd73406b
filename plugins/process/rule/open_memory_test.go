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

// askedOf returns everything that Openings has of a fleet: the results of Of, and the windows of
// Ends. Both must have the same windows.
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
			t.Errorf("Ends has %d windows of %s that Of does not have", n, rule)
		}
	}
	slices.Sort(all)
	return all
}

// openEnds returns all open windows of a rule.
func openEnds(t *testing.T, open *Openings, fleet, rule string) *Ends {
	t.Helper()
	ends, err := open.Ends(t.Context(), fleet, rule, time.Unix(0, 0), time.UnixMicro(never))
	if err != nil {
		t.Fatal(err)
	}
	return ends
}

// ids returns the ends of all windows, by their ids.
func (e *Ends) ids() map[string]int64 {
	ids := map[string]int64{}
	for i := range e.of {
		for j := range e.of[i].all {
			ids[e.of[i].idOf(&e.of[i].all[j])] = e.of[i].all[j].end
		}
	}
	return ids
}

// finds fails unless Find finds the window of a result by its id, and does not after it was dropped.
func (e *Ends) finds(t *testing.T, r Result) {
	t.Helper()
	if _, is := e.Find("of another epoch", r.JSON); is {
		t.Errorf("%s is found by another id", r.JSON)
	}
	before := e.Len()
	drop, is := e.Find(r.ID, r.JSON)
	if !is {
		t.Errorf("%s is open, and Find does not find it", r.JSON)
		return
	}
	drop()
	if _, is = e.Find(r.ID, r.JSON); is || e.Len() != before-1 {
		t.Errorf("%s is found after it was dropped; %d of %d are left", r.JSON, e.Len(), before)
	}
}

// inMemory fails unless memory has the version of the store of each partition.
func (o *output) inMemory(t *testing.T) {
	t.Helper()
	versions, err := versionsOf(t.Context(), o.db)
	o.tellOpen(t.Context(), versions, asking{do: func(Result) {}})
	if err != nil || len(versions) > 0 {
		t.Fatalf("%v are not in memory: %v", versions, err)
	}
}

// Whatever events come, and whatever rules are in force, queries for open windows have the same
// answers from memory as from the store, byte for byte. They change no result.
func TestOpen_MemoryAnswersAsTheStoreDoes(t *testing.T) {
	for seed := range uint64(2) {
		r := rand.New(rand.NewPCG(seed, 23))
		asked, silent := newFleets(t, "rules: []", askedRules,
			strings.Replace(askedRules, "count(), most", "count(), least: min(this.metrics.v), most", 1)),
			newFleets(t, "rules: []", askedRules,
				strings.Replace(askedRules, "count(), most", "count(), least: min(this.metrics.v), most", 1))
		both := [...]*fleets{asked, silent}
		for _, f := range both {
			f.v.activate(t, f.known[0].Number)
			f.o.journalMost = 3000 // some batches begin a checkpoint
			f.o.rowsEach = 5       // which writes a few rows at a time
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
					t.Fatalf("seed %d, step %d, %s: memory answers\n%s\nand the store\n%s", seed, step, fleet,
						strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
				told += len(got)
			}
		}
		if told < 500 {
			t.Errorf("seed %d: the answers have only %d windows", seed, told)
		}
		if got, want := asked.results(), silent.results(); !maps.Equal(got, want) {
			t.Errorf("seed %d: queries changed the results: %d, and %d without queries", seed, len(got), len(want))
		}
	}
}

// Memory does not answer for a partition of which the store has a newer version: after an erasure, or
// when another process goes on with it. While a batch takes long, the store answers as well.
func TestOpen_MemoryThatIsBehindIsNotUsed(t *testing.T) {
	b := newBench(t, askedRules)
	o := b.operator()
	b.apply(o, message(0, 0, at(0, 1)), message(0, 1, strings.Replace(at(1*s, 1), "pump-1", "pump-2", 1)))
	visits := func() int {
		t.Helper()
		return openEnds(t, NewOpenings(o.db), "plant-1", "visits").Len()
	}
	if n := visits(); n != 2 {
		t.Fatalf("%d sessions are open, expected 2", n)
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
		t.Errorf("after an erasure %d sessions are open, expected 1", n)
	}
	other := b.operator()
	b.apply(other, message(0, 2, strings.Replace(at(2*s, 1), "pump-1", "pump-3", 1)))
	if n := visits(); n != 2 {
		t.Errorf("after a batch of another process %d sessions are open, expected 2", n)
	}
	b.apply(o, message(0, 3, strings.Replace(at(3*s, 1), "pump-1", "pump-4", 1)))
	o.inMemory(t)
	o.mu.Lock() // as a batch that takes long does
	defer o.mu.Unlock()
	if n := visits(); n != 3 {
		t.Errorf("while a batch takes long %d sessions are open, expected 3", n)
	}
	if versions, err := versionsOf(t.Context(), o.db); err != nil || len(versions) != 1 || o.turn(t.Context()) {
		t.Errorf("turn took the locks while a batch had them: %v %v", versions, err)
	}
}
