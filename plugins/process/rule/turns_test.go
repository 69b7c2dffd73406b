package rule

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/tests/integration/require"
)

// life is a process that has several batches of a partition under way, and dies at one of its steps:
// before or after a batch is prepared, while it is written, or when it is durable and not acknowledged.
type life struct {
	ctx  context.Context
	end  context.CancelFunc
	mu   sync.Mutex
	left int // steps until it dies
	dead bool

	overlaps int // how often a batch was prepared while others of its partition were under way
	under    map[int]int
}

func newLife(t testing.TB, steps int) *life {
	l := &life{left: steps, under: map[int]int{}}
	l.ctx, l.end = context.WithCancel(t.Context())
	return l
}

func (l *life) step() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left--; l.left == 0 {
		l.dead = true
		l.end()
	}
}

func (l *life) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

func (l *life) ProcessBatch(_ context.Context, batch service.MessageBatch) ([]service.MessageBatch, error) {
	l.step()
	at, _, _ := event.CoordinatesOf(batch[0])
	l.mu.Lock()
	if l.under[int(at.Partition)] > 1 {
		l.overlaps++
	}
	l.mu.Unlock()
	l.step()
	return []service.MessageBatch{batch}, nil
}

func (l *life) Close(context.Context) error { return nil }

// handed is a batch that was given to the output, and the outcome.
type handed struct {
	partition, to int // to is the offset after its last record
	turn          *event.Turn
	err           error
}

// live gives an output batches of two partitions, from the acknowledged offsets on: up to three batches of
// each at once, in any order, each with its turn. It returns the offsets that are acknowledged at the end
// of the logs, or when the process has died.
func (l *life) live(o *output, r *rand.Rand, logs [2][]*service.Message, acked [2]int) [2]int {
	const atOnce = 3
	next, settled := acked, map[[2]int]bool{} // the batches that succeeded, by partition and end
	ends, last := [2][]int{}, [2]*event.Turn{}
	done := make(chan handed)
	flying := 0
	for {
		var batches []func()
		for p := range logs {
			for !l.over() && len(ends[p]) < atOnce && next[p] < len(logs[p]) {
				n := min(len(logs[p])-next[p], 1+r.IntN(12))
				h := handed{partition: p, to: next[p] + n, turn: event.NewTurn(last[p], n)}
				batch := service.MessageBatch(logs[p][next[p]:h.to]).Copy()
				for _, msg := range batch {
					h.turn.Give(msg)
				}
				next[p], last[p], ends[p] = h.to, h.turn, append(ends[p], h.to)
				l.mu.Lock()
				l.under[p]++
				l.mu.Unlock()
				batches = append(batches, func() {
					h.err = o.WriteBatch(l.ctx, batch)
					done <- h
				})
			}
		}
		r.Shuffle(len(batches), func(i, j int) { batches[i], batches[j] = batches[j], batches[i] })
		for _, do := range batches {
			flying++
			go do()
		}
		if flying == 0 {
			return acked
		}
		h := <-done
		flying--
		l.mu.Lock()
		l.under[h.partition]--
		l.mu.Unlock()
		if h.err != nil {
			l.end() // the batches after it would wait
		}
		if h.err != nil || l.over() {
			continue // the batch is not acknowledged
		}
		h.turn.End()
		settled[[2]int{h.partition, h.to}] = true
		for p := range ends {
			for len(ends[p]) > 0 && settled[[2]int{p, ends[p][0]}] {
				acked[p], ends[p] = ends[p][0], ends[p][1:]
			}
		}
	}
}

// With several batches of a partition under way, and wherever between two steps the process is killed, the
// results have the same bytes under the same id and revision, and each record is counted once.
func TestEventRules_BatchesUnderWayTogetherSurviveAnyCrash(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { crashes(t, uint64(tortured(4)), newBench) })
	t.Run("postgres", func(t *testing.T) {
		require.Env(t, "WEIR_TEST_POSTGRES_URL")
		crashes(t, 1, func(t testing.TB, rules string) *bench {
			b := newBench(t, rules)
			b.postgres()
			return b
		})
	})
}

func crashes(t *testing.T, seeds uint64, place func(testing.TB, string) *bench) {
	overlaps := 0
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 17))
		log := records(r, 150)
		whole := newBench(t, everything)
		whole.apply(whole.operator(), log...)
		want := whole.results()
		var logs [2][]*service.Message
		for _, msg := range log {
			at, _, _ := event.CoordinatesOf(msg)
			logs[at.Partition] = append(logs[at.Partition], msg)
		}
		b := place(t, everything)
		var l *life
		b.env, b.extra = service.NewEnvironment(), "processors: [ { steps: {} } ]\n"
		if err := b.env.RegisterBatchProcessor("steps", service.NewConfigSpec(),
			func(*service.ParsedConfig, *service.Resources) (service.BatchProcessor, error) { return l, nil }); err != nil {
			t.Fatal(err)
		}
		for acked, lives := [2]int{}, 0; acked[0] < len(logs[0]) || acked[1] < len(logs[1]); lives++ {
			l = newLife(t, 1+(lives+int(seed))%23)
			o := b.operator()
			o.journalMost = []int{0, 3000, journalMost}[r.IntN(3)]
			o.rowsEach = []int{1, 5, rowsEach}[r.IntN(3)]
			o.now = func() time.Time {
				l.step()
				return time.Now()
			}
			acked = l.live(o, r, logs, acked)
			overlaps += l.overlaps
			l.end()
			if lives > 2000 {
				t.Fatal("the logs were not read to their ends in 2000 lives")
			}
		}
		if got := b.results(); !maps.Equal(got, want) {
			for id, result := range want {
				if got[id] != result {
					t.Fatalf("seed %d: want\n%s\ngot\n%s", seed, result, got[id])
				}
			}
			t.Fatalf("seed %d: want %d results, got %d", seed, len(want), len(got))
		}
		b.accounted(int64(len(log)))
	}
	if overlaps == 0 {
		t.Error("no batch was prepared while another of its partition was under way")
	}
}

// A batch that is prepared waits until the one before it is durable. It does not go on when that one
// fails, and stops waiting when its own context ends.
func TestEventRules_ABatchWaitsForItsTurn(t *testing.T) {
	b, p := preparing(t, perMinute)
	o := b.operator()
	b.apply(o, message(0, 0, at(0, 1)))
	turn := event.NewTurn(nil, 1)
	first := service.MessageBatch{message(0, 1, at(1*s, 1))}
	second := service.MessageBatch{message(0, 2, at(70*s, 1))}
	turn.Give(first[0])
	event.NewTurn(turn, 1).Give(second[0])
	prepared := make(chan struct{})
	p.then = func() { close(prepared) }
	stopped, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.WriteBatch(stopped, second) }()
	<-prepared
	dead, kill := context.WithCancel(t.Context())
	kill()
	if err := o.WriteBatch(dead, first); err == nil {
		t.Fatal("the first batch was written although its context had ended")
	}
	select {
	case err := <-ended:
		t.Fatalf("the second batch did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	again := make(chan struct{})
	p.then = func() { close(again) }
	go func() { ended <- o.WriteBatch(t.Context(), second) }()
	<-again
	b.apply(o, first...)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := b.count("minute"); !slices.Equal(got, []string{"pump-1 0s 2"}) {
		t.Errorf("%q", got)
	}
	accounts, err := Accounts(t.Context(), o.db)
	if err != nil || len(accounts) != 1 || accounts[0].Read != 3 || accounts[0].Missed != 0 {
		t.Errorf("%+v %v", accounts, err)
	}
}
