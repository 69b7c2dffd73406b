package rollup

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// together is a database on which everything happens at the same time.
type together struct {
	t   *testing.T
	url string
	dir string
}

// open opens the database as a process that sometimes crashes, if dies is true.
func (w together) open(r *rand.Rand, dies bool) (*Store, func()) {
	w.t.Helper()
	db, err := sqldb.Open(context.Background(), w.url)
	if err != nil {
		w.t.Error(err)
		return nil, func() {}
	}
	limits := DefaultLimits()
	limits.Keep = 10 * day // the first day of overDays is too old
	limits.Cache = 1 + r.IntN(100)
	s, err := Open(context.Background(), db, limits)
	if err != nil {
		w.t.Error(err)
		_ = db.Close()
		return nil, func() {}
	}
	if dies {
		s.backend = &crashing{s.backend, func() int { return r.IntN(20) }}
	}
	return s, func() { _ = db.Close() }
}

func passes(err error) bool {
	return errors.Is(err, errCrash) || errors.Is(err, errConflict) || errors.Is(err, errMoved)
}

// write delivers late events until each batch is acknowledged, some of them twice, and rolls
// hours.
func (w together) write(seed uint64, events []Window) {
	ctx, r := context.Background(), rand.New(rand.NewPCG(seed, 3))
	s, stop := w.open(r, true)
	defer func() { stop() }()
	for len(events) > 0 && s != nil {
		n := min(1+r.IntN(20), len(events))
		_, err := s.Add(ctx, gather(events[:n]), later)
		if err == nil && r.IntN(3) == 0 {
			_, err = s.roll(ctx, rollPolicy{Settle: 1, Refresh: 1}, later.Add(day))
		}
		switch {
		case err != nil && !passes(err):
			w.t.Error(err)
			return
		case err != nil:
			stop()
			s, stop = w.open(r, true)
		case r.IntN(6) > 0:
			events = events[n:]
		}
	}
}

// keep moves minutes, applies retention, queries, and erases one device, until done is set.
func (w together) keep(done *atomic.Bool, erased string) {
	ctx, r := context.Background(), rand.New(rand.NewPCG(4, 4))
	s, stop := w.open(r, false)
	defer stop()
	m := oldMover(w.dir)
	m.most = 0
	for round := 0; s != nil && (round < 4 || !done.Load()); round++ {
		_, _, err := s.move(ctx, m, later)
		if err == nil && round == 1 {
			err = s.erase(ctx, s.db, w.target(erased), func() error { return nil })
		}
		if err == nil && round%2 == 0 {
			_, err = s.retain(ctx, expire.Pass{Now: later})
		}
		if err == nil {
			q := whole()[round%len(whole())]
			q.Limit = maxLimit
			_, _, err = s.run(ctx, q)
		}
		if err != nil && !passes(err) {
			w.t.Error(err)
			return
		}
	}
}

func (w together) target(device string) tombstone.Target {
	return tombstone.Target{Job: "j", Fleet: "acme", Device: device, Until: later.UnixMicro()}
}

// Crashing writers, late events, rolling, moving, retention and an erasure at the same time have
// the same result as one after the other without moving.
func TestCold_EverythingAtOnceEndsInTheSameWindows(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, fresh func() string) {
		ctx, r := context.Background(), rand.New(rand.NewPCG(21, 9))
		old, late := wideOverDays(r, 150), wideOverDays(r, 60)
		const erased = "dev-01"
		clean, dirty := together{t, fresh(), ""}, together{t, fresh(), t.TempDir()}
		twin, stop := clean.open(r, false)
		defer stop()
		tiered, stop := dirty.open(r, false)
		defer stop()
		for _, s := range []*Store{twin, tiered} {
			add(t, s, noon, gather(old))
			finish(t, s)
			seal(t, s, noon.Add(8*day)) // the first day is not too old yet
			if err := tombstone.Bury(ctx, s.db, tombstone.Of("acme", erased, later)); err != nil {
				t.Fatal(err)
			}
		}
		var writing, keeping sync.WaitGroup
		var done atomic.Bool
		half := len(late) / 2
		for n, part := range [][]Window{slices.Concat(late[:half], late[:10]), slices.Concat(late[half:], late[:10])} {
			writing.Go(func() { dirty.write(uint64(n), part) })
		}
		keeping.Go(func() { dirty.keep(&done, erased) })
		writing.Wait()
		done.Store(true)
		keeping.Wait()

		add(t, twin, later, gather(late))
		if err := twin.erase(ctx, twin.db, clean.target(erased), func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		for _, again := range []bool{false, true} {
			for _, s := range []*Store{twin, tiered} {
				finish(t, s)
				if _, err := s.retain(ctx, expire.Pass{Now: later}); err != nil {
					t.Fatal(err)
				}
				if again { // the ledgers of late events, too
					s.limits.Keep = 100 * day
					seal(t, s, later.Add(9*day))
				}
			}
			if again {
				moveOld(t, tiered, dirty.dir)
			}
			want := dump(t, twin)
			if len(want) == 0 {
				t.Fatal("nothing is left")
			}
			compareStores(t, want, dump(t, tiered))
			for _, q := range whole() {
				if want, got := exactLines(t, twin, q, 10_000), exactLines(t, tiered, q, 10_000); !slices.Equal(want, got) {
					t.Errorf("%d lines, expected %d", len(got), len(want))
				}
			}
		}
	})
}
