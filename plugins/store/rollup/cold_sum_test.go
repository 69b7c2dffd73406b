package rollup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
	"weir/plugins/store/lake"
)

// wideOverDays is overDays with enough devices for sums, some of which send rarely.
func wideOverDays(r *rand.Rand, n int) []Window {
	events := overDays(r, n)
	for i := range events {
		events[i].Device = fmt.Sprintf("dev-%02d", min(r.IntN(12), r.IntN(20)))
	}
	return events
}

// wideTwins is twins with such a history.
func wideTwins(t *testing.T, seed uint64, fresh func() string) (events []Window, hot, tiered *Store, dir string) {
	t.Helper()
	events = wideOverDays(rand.New(rand.NewPCG(seed, 9)), 300)
	dir = t.TempDir()
	hot, tiered = openStore(t, fresh()), openStore(t, fresh())
	for _, s := range []*Store{hot, tiered} {
		add(t, s, noon, gather(events))
		finish(t, s)
		seal(t, s, later)
	}
	if moveOld(t, tiered, dir) == 0 {
		t.Fatal("nothing was moved")
	}
	return events, hot, tiered, dir
}

// whole returns queries that sum a whole fleet.
func whole() (list []query) {
	for _, q := range []query{
		{Fleet: "acme", Resolution: byMinute}, {Fleet: "acme", Resolution: byHour},
		{Fleet: "other", Resolution: byHour, Metrics: []string{"cpu_temp", "humidity"}},
	} {
		q.From, q.To, q.Merge = noon.Add(-72*time.Hour).Unix(), noon.Add(time.Hour).Unix(), true
		list = append(list, q)
	}
	return list
}

// sameSums compares the results of queries of whole fleets, page by page.
func sameSums(t *testing.T, when string, hot, tiered *Store) {
	t.Helper()
	sameSumsBy(t, when, hot, tiered, 10_000)
}

func sameSumsBy(t *testing.T, when string, hot, tiered *Store, page int) {
	t.Helper()
	for _, q := range whole() {
		want, got := exactLines(t, hot, q, 10_000), exactLines(t, tiered, q, page)
		if len(want) == 0 || !slices.Equal(want, got) {
			t.Errorf("%s: %s of %s, %v: %d lines, expected %d", when, q.Resolution.Name, q.Fleet, q.Metrics, len(got), len(want))
			for i := range min(len(want), len(got)) {
				if want[i] != got[i] {
					t.Fatalf("%s\nexpected %s", got[i], want[i])
				}
			}
		}
	}
}

// exactLines returns everything in the lines of a query; sums of squares to 12 digits.
func exactLines(t *testing.T, s *Store, q query, limit int) (lines []string) {
	t.Helper()
	q.Limit = limit
	q.After = position{Bucket: math.MinInt64}
	for {
		some, next, err := s.run(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range some {
			m := l.metric
			lines = append(lines, fmt.Sprint(l.Bucket, m.Name, m.Count, m.Sum.Hi, m.Min, m.Max, m.Last, m.LastAt,
				m.Sketch, l.devices, fmt.Sprintf("%.12g", m.Squares.Hi)))
		}
		if next == nil {
			return lines
		}
		q.After = *next
	}
}

// summedObjects counts the published objects with sums, and the files of sums.
func summedObjects(t *testing.T, s *Store, dir string) (summed, there int) {
	t.Helper()
	objects, _ := published(t, s)
	for _, o := range objects {
		if o.Summed > 0 {
			summed++
		}
	}
	err := filepath.WalkDir(filepath.Join(dir, sumFolder), func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if strings.HasSuffix(name, ".parquet") {
			there++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return summed, there
}

// After late events, rebuilds, erasures and repeated moves of old windows, in any order, the sums
// of a whole fleet are those of its windows.
func TestColdSum_AnyHistoryAddsUpToItsWindows(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, fresh func() string) {
		ctx := context.Background()
		events, hot, tiered, dir := wideTwins(t, 1, fresh)
		if summed, there := summedObjects(t, tiered, dir); summed != 2 || there != 2 {
			t.Fatalf("%d objects have sums, %d are there", summed, there)
		}
		sameSumsBy(t, "moved", hot, tiered, 311)
		r := rand.New(rand.NewPCG(2, 10))
		now, erased := later, 0
		for round := range 4 {
			what := ""
			switch both := []*Store{hot, tiered}; r.IntN(4) {
			case 0, 1:
				what = "late events"
				more := wideOverDays(r, 1+r.IntN(12))
				events = append(events, more...)
				for _, s := range both {
					add(t, s, now, gather(more))
				}
			case 2:
				what = "a rebuild"
				some := gather(events)[:15]
				for _, s := range both {
					if _, err := s.Replace(ctx, some, now); err != nil {
						t.Fatal(err)
					}
				}
			case 3:
				what = "an erasure"
				device := fmt.Sprintf("dev-%02d", erased)
				erased++
				target := tombstone.Target{Job: device, Fleet: "acme", Device: device, Until: now.UnixMicro()}
				for _, s := range both {
					if err := tombstone.Bury(ctx, s.db, tombstone.Of("acme", device, now)); err != nil {
						t.Fatal(err)
					}
					if err := s.erase(ctx, s.db, target, func() error { return nil }); err != nil {
						t.Fatal(err)
					}
				}
			}
			sameSums(t, fmt.Sprintf("round %d, %s", round, what), hot, tiered)
			finish(t, hot)
			finish(t, tiered)
			if r.IntN(2) == 0 {
				now = now.Add(9 * day)
				seal(t, hot, now)
				seal(t, tiered, now)
				moveOld(t, tiered, dir)
				sameSums(t, fmt.Sprintf("round %d, %s, moved", round, what), hot, tiered)
			}
		}
		if summed, there := summedObjects(t, tiered, dir); summed != there {
			t.Errorf("%d objects have sums, %d are there", summed, there)
		}
	})
}

// A crash at any step of the first or a later move leaves no wrong sum, and the next pass leaves
// no unpublished one.
func TestColdSum_ACrashAtAnyStepChangesNoSum(t *testing.T) {
	t.Parallel()
	events := wideOverDays(rand.New(rand.NewPCG(5, 9)), 60)
	late := wideOverDays(rand.New(rand.NewPCG(5, 10)), 10)
	n := 0
	files := t.TempDir()
	fresh := func() string { n++; return fmt.Sprintf("sqlite://%s/%d.db", files, n) }
	hot := openStore(t, fresh())
	for _, some := range [][]Window{events, late} {
		add(t, hot, later, gather(some))
		finish(t, hot)
	}
	seal(t, hot, later.Add(9*day))
	steps := 0
	for step := 0; step <= steps; step++ {
		for _, after := range []bool{false, true} {
			s, dir := openStore(t, fresh()), t.TempDir()
			add(t, s, noon, gather(events))
			finish(t, s)
			seal(t, s, later)
			moveOld(t, s, dir)
			add(t, s, later, gather(late))
			finish(t, s)
			seal(t, s, later.Add(9*day))
			real := s.backend
			c := &stopping{backend: real, at: step, after: after}
			s.backend = c
			_, _, err := s.move(context.Background(), oldMover(dir), later)
			s.backend = real
			if steps = max(steps, c.n); c.n > step && !errors.Is(err, errCrash) {
				t.Fatalf("step %d: %v", step, err)
			}
			sameSums(t, fmt.Sprintf("step %d", step), hot, s)
			if _, more, err := s.move(context.Background(), oldMover(dir), later); err != nil || more {
				t.Fatal(more, err)
			}
			sameSums(t, fmt.Sprintf("step %d, moved", step), hot, s)
			if summed, there := summedObjects(t, s, dir); summed == 0 || summed != there {
				t.Errorf("step %d: %d objects have sums, %d are there", step, summed, there)
			}
		}
	}
	if steps < 4 {
		t.Errorf("saw %d steps", steps)
	}
}

// Sums only save time: without them, and for objects that never had any, the result is the same.
// With them, no object is read.
func TestColdSum_AWholeFleetIsAnsweredWithoutItsObjects(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		_, hot, tiered, dir := wideTwins(t, 3, fresh)
		aside := filepath.Join(t.TempDir(), "aside")
		hide := func(folder string) {
			t.Helper()
			if err := os.Rename(filepath.Join(dir, folder), aside); err != nil {
				t.Fatal(err)
			}
		}
		hide(coldFolder)
		sameSums(t, "without objects", hot, tiered)
		if err := os.Rename(aside, filepath.Join(dir, coldFolder)); err != nil {
			t.Fatal(err)
		}
		hide(sumFolder)
		sameSums(t, "without sums", hot, tiered)
		if _, err := tiered.db.ExecContext(t.Context(), `UPDATE rollup_cold SET summed = 0`); err != nil {
			t.Fatal(err)
		}
		sameSums(t, "of a version that made no sums", hot, tiered)
	})
}

// Retention and holds apply to sums as to their objects.
func TestColdSum_RetentionTakesSumsWithTheirObjects(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		_, hot, tiered, dir := wideTwins(t, 4, fresh)
		for _, held := range [][]string{{"other"}, nil} {
			pass := expire.Pass{Now: noon.Add(24 * time.Hour),
				Held: func(context.Context) ([]string, error) { return held, nil }}
			for _, s := range []*Store{hot, tiered} {
				s.limits.Keep = 24 * time.Hour
				if _, err := s.retain(t.Context(), pass); err != nil {
					t.Fatal(err)
				}
			}
			for _, q := range whole() {
				if want, got := exactLines(t, hot, q, 10_000), exactLines(t, tiered, q, 10_000); !slices.Equal(want, got) {
					t.Errorf("%d lines, expected %d", len(got), len(want))
				}
			}
			if summed, there := summedObjects(t, tiered, dir); summed != there || (summed > 0) != (held != nil) {
				t.Errorf("%d objects have sums, %d are there", summed, there)
			}
		}
	})
}

// While a day is being moved, some of its devices are in objects and others in rows. Sums that a
// crash or an older version has left are deleted.
func TestColdSum_ADayThatIsBeingMovedAddsUp(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		ctx := t.Context()
		_, hot, tiered, dir := wideTwins(t, 6, fresh)
		more := wideOverDays(rand.New(rand.NewPCG(6, 6)), 100)
		for i := range more { // after the last device of every object
			more[i].Device = "z" + more[i].Device
		}
		add(t, hot, later, gather(more))
		add(t, tiered, later, gather(more))
		sameSums(t, "not rolled", hot, tiered)
		finish(t, hot)
		finish(t, tiered)
		sameSums(t, "rolled", hot, tiered)
		place, err := lake.Open(ctx, lake.FileURL(dir))
		if err != nil {
			t.Fatal(err)
		}
		orphan := lake.NewName(sumFolder+"/"+lake.DateFolder(noon), noon, noon, noon).Path()
		if err := place.PutBytes(ctx, orphan, []byte("of a crash")); err != nil {
			t.Fatal(err)
		}
		if err := tiered.tiered(ctx, func(t *tier) error { return t.sweep(ctx) }); err != nil {
			t.Fatal(err)
		}
		if summed, there := summedObjects(t, tiered, dir); summed != there {
			t.Errorf("%d objects have sums, %d are there", summed, there)
		}
	})
}
