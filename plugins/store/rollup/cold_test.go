package rollup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/lifecycle/expire"
	"weir/internal/platform/sqldb"
	"weir/plugins/store/lake"
)

// later is a time at which the ledgers of noon have been dropped.
var later = noon.Add(9 * day)

// overDays returns a history that has minutes on both sides of the border between hot and old.
func overDays(r *rand.Rand, n int) []Window {
	events := history(r, n)
	for i := range events {
		back := int64(r.IntN(3)) * 86400
		events[i].Bucket -= back
		events[i].events[0].at -= back * 1e6
	}
	return events
}

// seal drops the ledgers, as retention does.
func seal(t *testing.T, s *Store, now time.Time) {
	t.Helper()
	if _, err := s.retain(context.Background(), expire.Pass{Now: now}); err != nil {
		t.Fatal(err)
	}
}

// moveOld moves the minutes that are older than the border, which is between the days of overDays.
func moveOld(t *testing.T, s *Store, dir string) int64 {
	t.Helper()
	n, more, err := s.move(context.Background(), oldMover(dir), later)
	if err != nil || more {
		t.Fatal(more, err)
	}
	return n
}

func oldMover(dir string) *mover {
	return &mover{url: lake.FileURL(dir), hot: 9 * 24 * time.Hour, rest: -time.Duration(1 << 60), most: time.Hour}
}

// published returns the published objects, and the number of minutes that are rows.
func published(t *testing.T, s *Store) (objects []coldObject, rows int) {
	t.Helper()
	err := s.view(context.Background(), all, func(tx tx) (err error) {
		if objects, err = tx.old().objects(context.Background(), all.From, all.To, owners{}); err != nil {
			return err
		}
		return tx.old().query(context.Background(), func(row sqldb.Row) error { return row.Scan(&rows) },
			`SELECT count(*) FROM rollup_window_1m`)
	})
	if err != nil {
		t.Fatal(err)
	}
	return objects, rows
}

// files counts the objects in a directory.
func files(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if strings.HasSuffix(name, ".parquet") {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// twins returns two stores with the same history; the second has moved its old minutes.
func twins(t *testing.T, seed uint64, fresh func() string) (events []Window, hot, tiered *Store, dir string) {
	t.Helper()
	events = overDays(rand.New(rand.NewPCG(seed, 9)), 300)
	dir = t.TempDir()
	stores := []*Store{openStore(t, fresh()), openStore(t, fresh())}
	for _, s := range stores {
		add(t, s, noon, gather(events))
		finish(t, s)
		seal(t, s, later)
	}
	if moveOld(t, stores[1], dir) == 0 {
		t.Fatal("nothing was moved")
	}
	return events, stores[0], stores[1], dir
}

// Late events, replays, rebuilds, rolling and repeated moves of old windows have the same result
// as without moving.
func TestCold_AnyHistoryAcrossTheBorderEndsInTheSameWindows(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, fresh func() string) {
		for seed := range uint64(2) {
			events, hot, tiered, dir := twins(t, seed, fresh)
			objects, rows := published(t, tiered)
			if len(objects) != 2 || rows == 0 {
				t.Fatalf("%d objects, %d rows", len(objects), rows)
			}
			compareStores(t, dump(t, hot), dump(t, tiered))
			r := rand.New(rand.NewPCG(seed, 10))
			for round := range 3 {
				more := overDays(r, 60)
				replays := gather(events[r.IntN(100):][:50])
				for _, w := range replays {
					for i := range w.events {
						w.events[i].replayed = true
					}
				}
				rebuilt := gather(slices.Concat(events, more))[:20]
				for _, s := range []*Store{hot, tiered} {
					add(t, s, later, gather(more))
					add(t, s, later, gather(more[:30])) // again
					add(t, s, later, replays)
					if round == 1 {
						if _, err := s.Replace(context.Background(), rebuilt, later); err != nil {
							t.Fatal(err)
						}
					}
					finish(t, s)
				}
				compareStores(t, dump(t, hot), dump(t, tiered))
				for _, s := range []*Store{hot, tiered} {
					seal(t, s, later.Add(9*day))
				}
				if moveOld(t, tiered, dir) == 0 {
					t.Error("late events were not moved")
				}
				compareStores(t, dump(t, hot), dump(t, tiered))
				events = append(events, more...)
			}
			if objects, _ := published(t, tiered); files(t, dir) != len(objects) {
				t.Errorf("%d objects lie there, %d are published", files(t, dir), len(objects))
			}
		}
	})
}

// stopping is a backend whose client stops at one of its updates, before or after the commit.
type stopping struct {
	backend
	at    int
	after bool
	n     int
}

func (c *stopping) update(ctx context.Context, fn func(tx) error) error {
	if c.n++; c.n-1 != c.at {
		return c.backend.update(ctx, fn)
	}
	if c.after {
		return errors.Join(c.backend.update(ctx, fn), errCrash)
	}
	return c.backend.update(ctx, func(t tx) error { return errors.Join(fn(t), errCrash) })
}

// A crash at any step of a move loses nothing and counts nothing twice, and the next pass
// completes it.
func TestCold_ACrashAtAnyStepOfMovingChangesNoAnswer(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, fresh func() string) {
		events := overDays(rand.New(rand.NewPCG(5, 9)), 120)
		steps := 0
		for step := 0; step <= steps; step++ {
			for _, after := range []bool{false, true} {
				s, dir := openStore(t, fresh()), t.TempDir()
				add(t, s, noon, gather(events))
				finish(t, s)
				seal(t, s, later)
				want := dump(t, s)
				real := s.backend
				c := &stopping{backend: real, at: step, after: after}
				s.backend = c
				_, _, err := s.move(context.Background(), oldMover(dir), later)
				s.backend = real
				if steps = max(steps, c.n); c.n > step && !errors.Is(err, errCrash) {
					t.Fatalf("step %d: %v", step, err)
				}
				compareStores(t, want, dump(t, s))
				m := oldMover(dir)
				if step%2 == 0 {
					m.rest = 24 * time.Hour // what was left is moved, however new its object is
				}
				if _, more, err := s.move(context.Background(), m, later); err != nil || more {
					t.Fatal(more, err)
				}
				compareStores(t, want, dump(t, s))
				objects, rows := published(t, s)
				windows := 0
				for key := range want {
					if strings.HasPrefix(key, "1m") {
						windows++
					}
				}
				for _, o := range objects {
					rows += int(o.Windows)
				}
				if rows != windows || files(t, dir) != len(objects) {
					t.Errorf("step %d: %d of %d windows, %d of %d files", step, rows, windows, len(objects), files(t, dir))
				}
			}
		}
		if steps < 5 {
			t.Errorf("saw %d steps", steps)
		}
	})
}

// A late event that is added while its day is moved stays a row, and counts.
func TestCold_ALateEventWhileItsDayIsMovedCounts(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		ctx, dir := t.Context(), t.TempDir()
		s := openStore(t, fresh())
		old := noon.Add(-48 * time.Hour)
		add(t, s, noon, windowsOf(t, "acme", testEvent(1, "a", old, `{"x":1}`), testEvent(2, "b", old, `{"x":1}`)))
		finish(t, s)
		seal(t, s, later)
		if err := s.place(ctx, lake.FileURL(dir)); err != nil {
			t.Fatal(err)
		}
		mine, err := s.takeTier(ctx, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		start := byDay.floor(old.Unix())
		list, err := mine.devices(ctx, start)
		if err != nil {
			t.Fatal(err)
		}
		var rows []versioned
		next := mine.again(ctx, coldObject{}, list, func(some []owner) (out []*windowRow, err error) {
			err = s.backend.view(ctx, func(tx tx) error {
				return tx.sealed(ctx, []Key{{"acme", "a", start}, {"acme", "b", start}}, func(r *windowRow) error {
					out, rows = append(out, r), append(rows, versioned{r.Key, r.Version})
					return nil
				})
			})
			return out, err
		})
		made, err := mine.write(ctx, start, next)
		if err != nil {
			t.Fatal(err)
		}
		add(t, s, later, windowsOf(t, "acme", testEvent(3, "a", old, `{"x":5}`)))
		if err := mine.swap(ctx, nil, []coldObject{made}, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.removeMoved(ctx, start, rows); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(counts(t, s, byMinute)); got != "map[a:2 b:1]" {
			t.Error(got)
		}
		if _, rows := published(t, s); rows != 1 {
			t.Errorf("%d rows", rows)
		}
		add(t, s, later, windowsOf(t, "acme", testEvent(4, "b", old, `{"x":5}`))) // from its object
		if got := fmt.Sprint(counts(t, s, byMinute)); got != "map[a:2 b:2]" {
			t.Error(got)
		}
	})
}

// The newest windows of a device that was silent are found in objects, also if an older window has
// a row.
func TestCold_TheLatestOfASilentDeviceIsFound(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		_, hot, tiered, _ := twins(t, 6, fresh)
		for _, device := range []string{"dev-0", "dev-1", "dev-2"} {
			for _, n := range []int{1, 5, 60, 1000} {
				got := make([]string, 2)
				for i, s := range []*Store{hot, tiered} {
					var rows []*windowRow
					if err := s.view(t.Context(), all, func(t2 tx) (err error) {
						rows, err = t2.newest(context.Background(), "acme", device, n)
						return err
					}); err != nil {
						t.Fatal(err)
					}
					for _, r := range rows {
						got[i] += fmt.Sprint(r.Bucket, len(r.Metrics), " ")
					}
				}
				if got[0] != got[1] {
					t.Errorf("%s, %d: %s, expected %s", device, n, got[1], got[0])
				}
			}
		}
	})
}

// No object is read for a device that is new or does not exist: there may be objects of two years.
func TestCold_TheLatestOfANewDeviceReadsNoObject(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		_, _, tiered, dir := twins(t, 6, fresh)
		add(t, tiered, later, windowsOf(t, "acme", testEvent(9000, "dev-00", later, `{"x":1}`)))
		if err := os.RemoveAll(dir); err != nil { // reading an object fails from now on
			t.Fatal(err)
		}
		if got, err := tiered.latest(t.Context(), "acme", "dev-00", 0); err != nil || len(got.Recent) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := tiered.latest(t.Context(), "acme", "dev-01", 0); !errors.Is(err, errUnknownDevice) {
			t.Error(err)
		}
		if _, err := tiered.latest(t.Context(), "acme", "dev-1", 0); err == nil {
			t.Error("the objects are still there")
		}
	})
}

// Queries of one device, of many and of a whole fleet have the same results, page by page, on both
// sides of the border.
func TestCold_QueriesAnswerTheSameAcrossTheBorder(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		_, hot, tiered, _ := twins(t, 7, fresh)
		from := noon.Add(-72 * time.Hour).Unix()
		for _, q := range []query{
			{Devices: []string{"dev-1"}},
			{Devices: []string{"dev-0", "dev-1", "dev-2", "nobody"}, Metrics: []string{"cpu_temp", "humidity"}},
			{Merge: true},
			{Merge: true, Devices: []string{"dev-0", "dev-2"}},
		} {
			for _, res := range []resolution{byMinute, byHour, byDay} {
				q.Fleet, q.From, q.To, q.Resolution = "acme", from, noon.Add(time.Hour).Unix(), res
				want, got := pages(t, hot, q, 1000), pages(t, tiered, q, 7)
				if len(want) == 0 || !slices.Equal(want, got) {
					t.Errorf("%+v: %d lines, expected %d", q, len(got), len(want))
				}
			}
		}
	})
}

// pages returns all lines of a query, read in pages.
func pages(t *testing.T, s *Store, q query, limit int) (lines []string) {
	t.Helper()
	q.Limit = limit
	for {
		some, next, err := s.run(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range some {
			lines = append(lines, fmt.Sprint(l.position, l.metric.Name, l.metric.Count, l.metric.Sum.Hi, l.metric.Last,
				l.metric.quantile(0.5), l.devices))
		}
		if next == nil {
			return lines
		}
		q.After = *next
	}
}

// Old minutes may be copied to another place; a place that lacks some is rejected.
func TestCold_OldMinutesMayBeCopiedElsewhere(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		ctx := t.Context()
		_, hot, tiered, dir := twins(t, 2, fresh)
		elsewhere := filepath.Join(t.TempDir(), "elsewhere")
		if err := tiered.place(ctx, lake.FileURL(elsewhere)); err == nil {
			t.Fatal("a place without the objects was taken")
		}
		compareStores(t, dump(t, hot), dump(t, tiered))
		if err := os.CopyFS(elsewhere, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := tiered.place(ctx, lake.FileURL(elsewhere)); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		compareStores(t, dump(t, hot), dump(t, tiered))
	})
}

// The objects in a data directory that was moved are found there, even if there is nothing more to
// move.
func TestCold_OldMinutesMoveWithTheirDirectory(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		_, hot, tiered, dir := twins(t, 2, fresh)
		elsewhere := filepath.Join(t.TempDir(), "elsewhere")
		if err := os.Rename(dir, elsewhere); err != nil {
			t.Fatal(err)
		}
		if n := moveOld(t, tiered, elsewhere); n != 0 {
			t.Fatalf("moved %d", n)
		}
		compareStores(t, dump(t, hot), dump(t, tiered))
		if n := moveOld(t, hot, filepath.Join(t.TempDir(), "first")); n == 0 {
			t.Error("nothing was moved")
		}
	})
}

// A database that is new, or older than the objects, deletes none of them.
func TestCold_ADatabaseOfAnotherTimeDeletesNoObjects(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		ctx := t.Context()
		_, hot, tiered, dir := twins(t, 3, fresh)
		there := files(t, dir)
		if _, _, err := hot.move(ctx, oldMover(dir), later); err == nil || !strings.Contains(err.Error(), "not this one") {
			t.Errorf("a new database moves there: %v", err)
		}
		objects, _ := published(t, tiered)
		was := filepath.Join(dir, filepath.FromSlash(objects[0].Key))
		if err := os.Rename(was, strings.TrimSuffix(was, ".parquet")+"-of-later.parquet"); err != nil {
			t.Fatal(err)
		}
		err := tiered.tiered(ctx, func(t *tier) error { return t.sweep(ctx) })
		if err == nil || !strings.Contains(err.Error(), objects[0].Key) {
			t.Errorf("objects are deleted by a database that is older: %v", err)
		}
		if n := files(t, dir); n != there {
			t.Errorf("%d objects of %d are left", n, there)
		}
	})
}
