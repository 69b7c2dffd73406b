package rollup

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"weir/internal/platform/sqldb"
)

var errCrash = errors.New("crash")

// crashing is a backend whose client sometimes crashes: before a commit, or after it without
// learning of it.
type crashing struct {
	backend
	roll func() int
}

func (c *crashing) update(ctx context.Context, fn func(tx) error) error {
	switch c.roll() {
	case 0:
		return c.backend.update(ctx, func(t tx) error {
			if err := fn(t); err != nil {
				return err
			}
			return errCrash
		})
	case 1:
		if err := c.backend.update(ctx, fn); err != nil {
			return err
		}
		return errCrash
	}
	return c.backend.update(ctx, fn)
}

// process is one process of a rollup stream.
type process struct {
	t   *testing.T
	r   *rand.Rand
	url string
	s   *Store
}

func newProcess(t *testing.T, seed uint64, url string) *process {
	w := &process{t: t, r: rand.New(rand.NewPCG(seed, 1)), url: url}
	w.restart()
	return w
}

// restart empties the memory, as a restart of the process does.
func (w *process) restart() {
	db, err := sqldb.Open(context.Background(), w.url)
	if err != nil {
		w.t.Error(err)
		return
	}
	w.t.Cleanup(func() { _ = db.Close() })
	limits := DefaultLimits()
	limits.Cache = 1 + w.r.IntN(200)
	limits.WriteEvery = []time.Duration{0, time.Millisecond, 20 * time.Millisecond, time.Hour}[w.r.IntN(4)]
	s, err := Open(context.Background(), db, limits)
	if err != nil {
		w.t.Error(err)
		return
	}
	s.backend = &crashing{s.backend, func() int { return w.r.IntN(20) }}
	w.s = s
}

// run delivers events in batches until each batch is acknowledged. Sometimes it rolls hours, and
// it restarts after a crash.
func (w *process) run(events []Window) {
	ctx := context.Background()
	policy := rollPolicy{Settle: time.Minute, Refresh: time.Minute}
	for len(events) > 0 {
		if err := w.writeSome(ctx); err != nil {
			w.restart()
		}
		n := min(1+w.r.IntN(40), len(events))
		_, err := w.s.Add(ctx, gather(events[:n]), noon)
		if w.r.IntN(4) == 0 && err == nil {
			_, err = w.s.roll(ctx, policy, noon.Add(time.Duration(w.r.IntN(7200))*time.Second))
			if err == nil {
				events = events[n:]
				continue
			}
		}
		switch {
		case errors.Is(err, errCrash) || errors.Is(err, errConflict):
			w.restart()
		case err != nil:
			w.t.Error(err)
			return
		case w.r.IntN(10) > 0:
			events = events[n:]
		default: // the acknowledgement was lost: deliver the whole batch again
		}
	}
}

// writeSome sometimes writes some of the unwritten rows.
func (w *process) writeSome(ctx context.Context) error {
	if w.r.IntN(3) > 0 {
		return nil
	}
	err := w.s.exclusive(ctx, func(t tx) error {
		return w.s.writeFirst(ctx, t, w.r.IntN(len(w.s.unwritten)+1))
	})
	if err != nil && !errors.Is(err, errCrash) && !errors.Is(err, errConflict) {
		w.t.Error(err)
	}
	return err
}

// Random histories that are duplicated, shuffled, split into batches and delivered to two crashing
// writers result in the same windows as one clean pass.
func TestRollup_AnyHistoryEndsInTheSameWindows(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, fresh func() string) {
		for seed := range uint64(4) {
			r := rand.New(rand.NewPCG(seed, 7))
			events := history(r, 400)
			clean := openStore(t, fresh())
			add(t, clean, noon, gather(events))
			finish(t, clean)

			url := fresh()
			story := slices.Concat(events, events[:200], events[100:300])
			r.Shuffle(len(story), func(i, j int) { story[i], story[j] = story[j], story[i] })
			half := len(story) / 2
			var wg sync.WaitGroup
			for n, part := range [][]Window{append(slices.Clone(story[:half]), events[:50]...), story[half:]} {
				w := newProcess(t, seed*10+uint64(n), url)
				wg.Go(func() { w.run(part) })
			}
			wg.Wait()
			dirty := openStore(t, url)
			finish(t, dirty)
			want := dump(t, clean)
			compareStores(t, want, dump(t, dirty))
			compareWithRecount(t, events, want)
		}
	})
}

func finish(t *testing.T, s *Store) {
	t.Helper()
	writeOut(t, s)
	if _, err := s.roll(context.Background(), rollPolicy{Settle: time.Minute, Refresh: time.Hour},
		noon.Add(24*time.Hour)); err != nil {
		t.Fatal(err)
	}
}

// compareWithRecount checks every window against a plain recount of its
// readings.
func compareWithRecount(t *testing.T, events []Window, got map[string]*windowRow) {
	t.Helper()
	for key, row := range got {
		res := map[byte]resolution{'m': byMinute, 'h': byHour, 'd': byDay}[key[1]]
		for _, m := range row.Metrics {
			var values []float64
			for i := range events {
				e := &events[i]
				if e.Fleet == row.Fleet && e.Device == row.Device && res.floor(e.Bucket) == row.Bucket {
					for _, r := range e.events[0].readings {
						if r.metric == m.Name {
							values = append(values, r.value)
						}
					}
				}
			}
			slices.Sort(values)
			n := len(values)
			sum, m2 := 0.0, 0.0
			for _, v := range values {
				sum += v
			}
			for _, v := range values {
				m2 += (v - sum/float64(n)) * (v - sum/float64(n))
			}
			if n == 0 || m.Count != int64(n) || m.Min != values[0] || m.Max != values[n-1] ||
				!near(m.Sum.Hi, sum, 1e-9) || !near(m.m2(), m2, 1e-9) ||
				!near(m.quantile(0.5), values[rank(0.5, n)], 0.01) || !near(m.quantile(0.95), values[rank(0.95, n)], 0.01) {
				t.Errorf("%s %s: %+v, recounted from %v", key, m.Name, *m, values)
			}
		}
	}
}

func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance*math.Abs(b)+1e-9 }

// rank returns the index of a quantile as SQL's percentile_disc defines it.
func rank(q float64, n int) int { return max(int(math.Ceil(q*float64(n)-1e-9))-1, 0) }
