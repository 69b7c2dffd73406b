package rollup

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

var testPolicy = rollPolicy{Settle: 2 * time.Minute, Refresh: 15 * time.Minute}

func roll(t *testing.T, s *Store, now time.Time) int {
	t.Helper()
	n, err := s.roll(context.Background(), testPolicy, now)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func writeOut(t *testing.T, s *Store) {
	t.Helper()
	if err := s.WriteOut(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestRollup_HoursAreRolledWhenTheyAreOverAndWhenTheyChange(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		s := openStore(t, fresh())
		start := noon.Add(time.Minute)
		in := func(n int, at time.Time) []*Window { return windowsOf(t, "acme", testEvent(n, "a", at, `{"x":1}`)) }
		add(t, s, start, in(1, start))
		expect := func(when string, now time.Time, rolled, hourReadings, dayReadings int) {
			t.Helper()
			writeOut(t, s)
			if n := roll(t, s, now); n != rolled {
				t.Errorf("%s: rolled %d hours of devices, expected %d", when, n, rolled)
			}
			for view, want := range map[string]int{"rollup_1h": hourReadings, "rollup_1d": dayReadings} {
				if _, n := lineCount(t, s, view); n != want {
					t.Errorf("%s: %s has %d readings, expected %d", when, view, n, want)
				}
			}
		}
		expect("at once", start.Add(time.Minute), 0, 0, 0)
		expect("after refresh", start.Add(16*time.Minute), 1, 1, 1)
		add(t, s, start.Add(17*time.Minute), in(2, start.Add(17*time.Minute)))
		expect("before the next refresh", start.Add(20*time.Minute), 0, 1, 1)
		expect("when it is over", noon.Add(time.Hour+2*time.Minute), 1, 2, 2)
		expect("once it is closed", noon.Add(3*time.Hour), 0, 2, 2)
		add(t, s, noon.Add(3*time.Hour), in(3, start.Add(30*time.Minute))) // late
		expect("after a late event", noon.Add(3*time.Hour), 1, 3, 3)
		expect("and again", noon.Add(3*time.Hour), 0, 3, 3)
		add(t, s, noon.Add(3*time.Hour), in(4, noon.Add(-24*time.Hour))) // of a new hour: it opens, and settles
		expect("an old hour that is new", noon.Add(3*time.Hour+time.Minute), 0, 3, 3)
		expect("once that has settled", noon.Add(3*time.Hour+3*time.Minute), 1, 4, 4)
	})
}

// An event that is written while its hour closes is in the hour: rolled with it, or marked for
// later.
func TestRollup_EventsAreNotLostWhileTheirHourCloses(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		url := fresh()
		writer, roller := openStore(t, url), openStore(t, url)
		writer.limits.WriteEvery = time.Millisecond
		const n = 200
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range n {
				w := windowsOf(t, "acme", testEvent(i, fmt.Sprint("d", i%7), noon.Add(time.Duration(i)*time.Second), `{"x":1}`))
				for {
					if _, err := writer.Add(context.Background(), w, noon); err == nil {
						break
					}
				}
			}
		}()
		for running := true; running; {
			select {
			case <-done:
				running = false
			default:
			}
			roll(t, roller, noon.Add(2*time.Hour)) // every hour that it finds is due
		}
		writeOut(t, roller)
		roll(t, roller, noon.Add(2*time.Hour))
		for _, view := range []string{"rollup_1m", "rollup_1h", "rollup_1d"} {
			if _, readings := lineCount(t, roller, view); readings != n {
				t.Errorf("%s has %d of %d readings", view, readings, n)
			}
		}
	})
}

// What a pass has rolled is counted, even if it can't go on.
func TestRollup_HoursThatWereRolledBeforeAFailureCount(t *testing.T) {
	s := openStore(t, "sqlite://"+t.TempDir()+"/rollup.db")
	var windows []*Window
	for i := range 3*rollChunk/2 + 1 {
		windows = append(windows, windowsOf(t, "acme", testEvent(i, fmt.Sprint("dev-", i), noon, `{"x":1}`))...)
	}
	add(t, s, noon, windows)
	if err := s.WriteOut(t.Context()); err != nil {
		t.Fatal(err)
	}
	failing := &broken{backend: s.backend, after: 1} // the first chunk is rolled
	s.backend = failing
	p, now := rollPolicy{Settle: 24 * time.Hour}, noon.Add(2*time.Hour)
	if n, err := s.roll(t.Context(), p, now); !errors.Is(err, errCrash) || n != rollChunk {
		t.Errorf("before the failure: %d, %v", n, err)
	}
	failing.after = 100
	if n, err := s.roll(t.Context(), p, now); err != nil || n != len(windows) {
		t.Errorf("all of it: %d, %v", n, err)
	}
}

// broken is a backend that fails after some transactions.
type broken struct {
	backend
	after int
}

func (b *broken) update(ctx context.Context, fn func(tx) error) error {
	if b.after--; b.after < 0 {
		return errCrash
	}
	return b.backend.update(ctx, fn)
}
