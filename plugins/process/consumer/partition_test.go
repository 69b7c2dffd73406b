package consumer

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
)

func records(from, to int64, size int) (out []*kgo.Record) {
	for n := from; n < to; n++ {
		out = append(out, &kgo.Record{Offset: n, LeaderEpoch: 3, Value: make([]byte, size)})
	}
	return out
}

// Random reads, batches and acknowledgements, in any order: what would be committed
// is always just before the first record that is not acknowledged, and what is read
// ahead is counted exactly.
func TestPartition_SettlesNothingBeyondWhatIsNotAcknowledged(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		l := limits{batchRecords: 1 + rnd.IntN(7), batchBytes: 50 + rnd.IntN(300), aheadRecords: 40, aheadBytes: 4000}
		p := newPartition("t", 0, &texts{})
		open := map[*span]int64{} // by its first offset
		read, cut := int64(0), int64(0)
		acknowledged := map[int64]bool{}
		for range 400 {
			switch now := time.Now(); rnd.IntN(4) {
			case 0:
				if !p.full(l) {
					to := read + rnd.Int64N(12)
					p.push(records(read, to, rnd.IntN(80)), now)
					read = to
				}
			case 1, 2:
				if _, ever := p.due(l); !ever {
					continue
				}
				batch, s := p.cut(l, bound{none: true}, time.Now())
				bytes := 0
				for i, r := range batch {
					bytes += len(r.Value)
					if r.Offset != cut+int64(i) {
						t.Fatalf("seed %d: offset %d after %d", seed, r.Offset, cut)
					}
				}
				if len(batch) == 0 || len(batch) > l.batchRecords || len(batch) > 1 && bytes > l.batchBytes {
					t.Fatalf("seed %d: a batch of %d records and %d bytes; limits %+v", seed, len(batch), bytes, l)
				}
				open[s] = cut
				cut += int64(len(batch))
			default:
				for s, first := range open { // any
					p.settle(s)
					p.settle(s) // a second time changes nothing
					for n := range int64(s.records) {
						acknowledged[first+n] = true
					}
					delete(open, s)
					break
				}
			}
			want := int64(0)
			for acknowledged[want] {
				want++
			}
			if p.settled.Offset != want || want > 0 && p.settled.Epoch != 3 {
				t.Fatalf("seed %d: settled is %v, the first that is not acknowledged %d", seed, p.settled, want)
			}
			if p.inFlight != len(open) || p.records != int(read-want) || p.records == 0 && p.bytes != 0 {
				t.Fatalf("seed %d: %d in flight of %d, %d records ahead of %d", seed, p.inFlight, len(open), p.records, read-want)
			}
		}
	}
}

func TestPartition_ALogMadeAnewIsCommittedFromItsStart(t *testing.T) {
	p := newPartition("t", 0, &texts{})
	now := time.Now()
	p.push(records(1000, 1002, 1), now)
	_, old := p.cut(limits{}, bound{none: true}, now)
	p.push(records(0, 3, 1), now)
	_, anew := p.cut(limits{}, bound{none: true}, now)
	if p.settle(anew); p.dirty() {
		t.Errorf("settled %v before the older batch is", p.settled)
	}
	if p.settle(old); p.settled.Offset != 3 {
		t.Errorf("settled %v, want 3", p.settled)
	}
}

func TestPartition_InOrderHasOneBatchUnderWay(t *testing.T) {
	l := limits{ordered: true, batchBytes: 10}
	p := newPartition("t", 0, &texts{})
	p.push(records(0, 9, 4), time.Now())
	for want := int64(0); want < 8; want += 2 {
		batch, s := p.cut(l, bound{none: true}, time.Now())
		if len(batch) != 2 || batch[0].Offset != want {
			t.Fatalf("%d records from %d, want 2 from %d", len(batch), batch[0].Offset, want)
		}
		if _, ever := p.due(l); ever {
			t.Fatal("a second batch is due while one is under way")
		}
		p.settle(s)
	}
	if _, ever := p.due(l); !ever {
		t.Error("the last one is not due")
	}
	p.leave()
	if _, ever := p.due(l); ever {
		t.Error("a partition that leaves hands out more")
	}
}

// While much waits, several batches are under way, each with its turn; a small one waits
// for those before it, and so does any behind one that knows of no other.
func TestPartition_InOrderHasBatchesUnderWayThatWait(t *testing.T) {
	l := limits{ordered: true, batchBytes: 10, atOnce: 3}
	p := newPartition("t", 0, &texts{})
	due := func() bool {
		_, ever := p.due(l)
		return ever
	}
	cut := func() *span {
		t.Helper()
		if !due() {
			t.Fatal("no batch is due")
		}
		_, s := p.cut(l, bound{none: true}, time.Now())
		return s
	}
	p.push(records(0, 2, 4), time.Now())
	alone := cut()
	p.push(records(2, 11, 4), time.Now())
	if alone.turn != nil || due() {
		t.Fatal("a batch is due behind one that knows of no other")
	}
	p.settle(alone)
	first, second, third := cut(), cut(), cut()
	if first.turn == nil || second.turn == nil || third.turn == nil || due() {
		t.Fatal("not three batches are under way, each with its turn")
	}
	batch := service.MessageBatch{service.NewMessage(nil)}
	third.turn.Give(batch[0])
	over := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		return event.TurnsOf(batch).Wait(ctx) == nil
	}
	if p.settle(second); over() || p.settled.Offset != 2 {
		t.Errorf("the third goes on before the first, or %d is settled", p.settled.Offset)
	}
	if p.settle(first); !over() || p.settled.Offset != 6 {
		t.Errorf("the third waits for nobody, or %d is settled", p.settled.Offset)
	}
	if p.queued != 3*4 || !due() {
		t.Error("a full batch waits for one that is under way")
	}
	if cut(); due() {
		t.Error("what is no full batch does not wait")
	}
}

// A batch waits for more records, as long as it may; a full one does not, nor one
// for which no more is read.
func TestPartition_ABatchWaitsForMore(t *testing.T) {
	now := time.Now()
	l := limits{batchRecords: 5, aheadRecords: 100, aheadBytes: 1000, wait: time.Second}
	for name, c := range map[string]struct {
		records []*kgo.Record
		wait    time.Duration
	}{
		"few":               {records(0, 4, 1), time.Second},
		"full":              {records(0, 5, 1), 0},
		"all that is ahead": {records(0, 1, 1000), 0},
	} {
		p := newPartition("t", 0, &texts{})
		p.push(c.records, now)
		if at, ever := p.due(l); !ever || at.Sub(now) > c.wait || c.wait > 0 && at.Sub(now) < c.wait {
			t.Errorf("%s: due in %s (%v), want %s", name, at.Sub(now), ever, c.wait)
		}
	}
}

func TestPartition_FetchingIsPausedUntilHalfIsSettled(t *testing.T) {
	l := limits{batchRecords: 1, aheadRecords: 10, aheadBytes: 1 << 20}
	p := newPartition("t", 0, &texts{})
	p.push(records(0, 10, 1), time.Now())
	var spans []*span
	for range 10 {
		_, s := p.cut(l, bound{none: true}, time.Now())
		spans = append(spans, s)
	}
	for i, s := range spans {
		if paused := p.pausing(l); paused != (i < 6) {
			t.Errorf("%d settled: paused is %v", i, paused)
		}
		p.paused = p.pausing(l)
		p.settle(s)
	}
}
