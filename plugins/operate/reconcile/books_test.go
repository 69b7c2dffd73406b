package reconcile

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
)

// history is a log whose records come to their ends at random.
type history struct {
	*world
	random *rand.Rand
	next   [2]int64 // the first that was not processed
	ends   [2]int64
	starts [2]int64
	lost   []event.Coordinates
	copies map[event.Coordinates]event.Coordinates // of records, by where they lie
}

// step lets one thing happen.
func (h *history) step() string {
	p := h.random.Int32N(2)
	if len(h.lost) > 0 && h.random.IntN(2) == 0 { // a look that finds a loss looks again
		c := h.lost[0]
		h.lost = h.lost[1:]
		h.store("raw-events", c.Partition, c.Offset, c.Offset+1)
		return fmt.Sprint("find ", c)
	}
	switch h.random.IntN(9) {
	case 0, 1:
		for range 1 + h.random.IntN(20) {
			of := h.random.Int32N(2)
			if h.random.IntN(6) > 0 || h.ends[of] == 0 {
				h.produce("raw-events", p, 1)
			} else {
				first := h.at(of, h.random.Int64N(h.ends[of]))
				h.copies[h.at(p, h.copy("raw-events", p, first))] = first
			}
			h.ends[p]++
		}
		return "produce"
	case 2, 3, 4:
		return h.process(p)
	case 5, 6: // it is stored again, or dead-lettered by another stage
		if h.next[p] == h.starts[p] {
			return ""
		}
		at := h.starts[p] + h.random.Int64N(h.next[p]-h.starts[p])
		if h.random.IntN(2) == 0 {
			h.store("raw-events", p, at, at+1)
			return fmt.Sprint("store ", at)
		}
		c := h.at(p, at)
		h.deadLetter(&c, true)
		return fmt.Sprint("dead letter of ", at)
	case 7:
		if h.random.IntN(3) > 0 || h.next[p] == 0 {
			return ""
		}
		h.starts[p] += h.random.Int64N(h.next[p] - h.starts[p] + 1)
		h.remove("raw-events", p, h.starts[p])
		return "expire"
	default:
		if h.random.IntN(4) > 0 {
			return ""
		}
		now := time.Now()
		s, err := lake.Open(context.Background(), h.rawURL)
		if err != nil {
			h.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		erased := lake.Erasure{Fleet: "f", Device: "d-1", Until: now}
		if _, err := s.Erase(context.Background(), raw.Table(), erased); err != nil {
			h.Fatal(err)
		}
		if err := s.Bury(context.Background(), tombstone.Of("f", "other", now)); err != nil {
			h.Fatal(err)
		}
		return "erase"
	}
}

// process lets the raw group come further: it stores, finds duplicates of records
// of any fate, dead-letters, and now and then loses.
func (h *history) process(p int32) string {
	end := min(h.ends[p], h.next[p]+1+h.random.Int64N(20))
	var batch service.MessageBatch
	for o := h.next[p]; o < end; o++ {
		msg := h.message("raw-events", p, o)
		switch first, again := h.copies[h.at(p, o)]; {
		case again:
			msg.MetaSetMut(event.MetaDuplicateOf, first.String())
		case h.random.IntN(12) == 0:
			c := h.at(p, o)
			h.deadLetter(&c, true)
			continue
		case h.random.IntN(300) == 0:
			h.lost = append(h.lost, h.at(p, o))
			continue
		}
		batch = append(batch, msg)
	}
	if len(batch) > 0 {
		h.push(h.toRaw, batch)
	}
	if h.random.IntN(4) == 0 {
		return "process without commit" // and again, later
	}
	h.next[p] = end
	h.commit("weir-raw", "raw-events", p, end)
	return "process"
}

// What a glance keeps from one look to the next changes nothing that it tells.
func TestReconcile_AGlanceTellsWhatAFirstLookDoes(t *testing.T) {
	for seed := range uint64(5) {
		h := &history{world: newWorld(t), random: rand.New(rand.NewPCG(seed, 9)),
			copies: map[event.Coordinates]event.Coordinates{}}
		kept := h.reconciler(false)
		before, closed := "", int64(0)
		for range 50 {
			before = h.step() + ", " + before
			first, err := New(kept.conf)
			if err != nil {
				t.Fatal(err)
			}
			// Like the one that is kept, it knows how far the log was reconciled, and what
			// was found there.
			first.verified, first.differing = maps.Clone(kept.verified), maps.Clone(kept.differing)
			first.compared = maps.Clone(kept.compared)
			opt := Options{Glance: h.random.IntN(5) > 0}
			want, got := h.run(first, opt), h.run(kept, opt)
			first.Close()
			if got.Total != want.Total || !reflect.DeepEqual(got.Partitions, want.Partitions) ||
				!reflect.DeepEqual(got.Problems, want.Problems) || got.Objects != want.Objects {
				t.Fatalf("seed %d, after %s:\n%+v\n%q\nat first\n%+v\n%q", seed, before, got, named(got), want, named(want))
			}
			for _, c := range kept.books.closed {
				closed += c.counts.Accepted
			}
		}
		if closed == 0 {
			t.Errorf("seed %d: nothing was ever closed", seed)
		}
	}
}

// A glance takes as long as what is new.
func BenchmarkReconcile_Glance(b *testing.B) {
	for _, records := range []int64{1e4, 1e6} {
		b.Run(fmt.Sprint(records), func(b *testing.B) {
			all := &books{evidence: newEvidence(), closed: map[lake.Partition]closed{}}
			r := &round{glance: true, whole: true}
			grow := func(from, to int64) {
				more := newEvidence()
				p := part(0)
				for o := from; o < to; o++ {
					if o%20 == 19 {
						more.duplicates[p] = append(more.duplicates[p], lake.Duplicate{Offset: o, Of: at(0, o-9)})
					} else {
						more.stored[p] = with(more.stored[p], o)
					}
				}
				all.open(more)
				all.evidence.add(more)
			}
			look := func(end int64) {
				r.reaches = map[lake.Partition]reach{part(0): {end: end, committed: end}}
				r.evidence = all.evidence.with(newEvidence())
				r.judge(all)
			}
			grow(0, records)
			look(records)
			for end := records; b.Loop(); end += 1000 {
				grow(end, end+1000)
				look(end + 1000)
			}
			if r.counts[part(0)].Unexplained > 0 {
				b.Error(r.counts)
			}
		})
	}
}
