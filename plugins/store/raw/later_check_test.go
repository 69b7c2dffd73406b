package raw

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
	"weir/plugins/store/lake"
)

// checked runs a check, and holds its numbers against each other.
func checked(t *testing.T, c *LaterCheck, most int64) LaterSums {
	t.Helper()
	s, err := c.Run(t.Context(), most)
	if err != nil || s == nil {
		t.Fatal(s, err)
	}
	if s.Rows != s.Right+s.Repeated+s.Erased+s.Expired+s.Unknown+s.Differing ||
		int64(len(s.Differences)) != min(s.Differing, differencesMost) {
		t.Errorf("%+v does not add up", s)
	}
	return *s
}

// plant writes rows as an object, in the order given, named by times of its own.
func (w *laterWorld) plant(t *testing.T, day, first, last time.Time, rows ...Later) {
	t.Helper()
	writer := NewLaterWriter(w.Store)
	now := time.Now()
	if err := writer.memory.Prepare(t.Context(), now, nil); err != nil {
		t.Fatal(err)
	}
	var of []*Later
	for i := range rows {
		of = append(of, &rows[i])
	}
	if _, err := writer.memory.Put(t.Context(), writer.memory.Tombstones(), lake.NewName(lake.DateFolder(day), now, first,
		last), laterTable(), len(of), lake.Options{}, &lake.Coverage{}, lake.ColumnsOf(of, (*Later).value)); err != nil {
		t.Fatal(err)
	}
}

// missed are rows for events of which a look-up failed that nobody has asked again.
func (w *laterWorld) missed(t *testing.T, n int) (rows []Later) {
	t.Helper()
	laters := NewLaters(t.Context(), w.Store, time.Time{})
	defer laters.Close()
	_, err := NewReader(w.Store).Scan(t.Context(), Query{}, func(row *Row) error {
		found, err := laters.Of(row)
		if err == nil && row.EnrichFailed != "" && row.Delivery != noRecord && len(found) == 0 && len(rows) < n {
			l := LaterOf(row)
			l.Lookup, l.Version, l.Job, l.EnrichedAt, l.Facts = "profile", "0a1b2c3d", "job-3", 1, []byte(`{}`)
			rows = append(rows, l)
		}
		return err
	})
	if err != nil || len(rows) < n {
		t.Fatal(len(rows), err)
	}
	return rows
}

// Rows that are of stored events are right, the first of an event and a look-up as it
// counts, before and after objects were merged; what was read is not read again.
func TestLaterCheck_RowsOfStoredEventsAreRight(t *testing.T) {
	w := newLaterWorld(t, 1500)
	c := NewLaterCheck(w.Store)
	c.batch = 50
	part := checked(t, c, 1)
	if part.Unread == 0 || part.Right == 0 || part.Differing > 0 {
		t.Errorf("a bound: %+v", part)
	}
	var all LaterSums
	for runs := 0; ; runs++ {
		if all = checked(t, c, 1); all.Unread == 0 {
			break
		} else if runs == 100 {
			t.Fatalf("runs with a bound do not come to the end: %+v", all)
		}
	}
	whole := checked(t, NewLaterCheck(w.Store), 0)
	if whole.Right != int64(len(w.found)) || whole.Repeated == 0 || whole.Differing > 0 || whole.Rows != all.Rows ||
		all.Differing > 0 {
		t.Errorf("%+v, bit by bit %+v, %d found", whole, all, len(w.found))
	}
	below := w.Store.Below(LaterFolder)
	if _, err := below.Compact(t.Context(), laterTable(), eager(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	merged := checked(t, NewLaterCheck(w.Store), 0)
	if merged.Right != whole.Right || merged.Rows >= whole.Rows || merged.Differing > 0 {
		t.Errorf("merged: %+v, before %+v", merged, whole)
	}
	if known := checked(t, c, 0); known.Rows != merged.Rows || known.Differing > 0 {
		t.Errorf("merged, to who knew some of it: %+v, before %+v", known, all)
	}
	if _, err := w.Store.Compact(t.Context(), Table(), eager(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if again := checked(t, NewLaterCheck(w.Store), 0); again.Right != merged.Right || again.Rows != merged.Rows {
		t.Errorf("of merged events: %+v", again)
	}
	if none, err := NewLaterCheck(connected(t, lake.FileURL(t.TempDir()), "").Store).Run(t.Context(), 0); none != nil ||
		err != nil {
		t.Error(none, err)
	}
}

// Whatever is not as its event is, or lies where no reader comes, is counted and named,
// by each run until it is gone.
func TestLaterCheck_NamesRowsThatDiffer(t *testing.T) {
	w := newLaterWorld(t, 600)
	c := NewLaterCheck(w.Store)
	before := checked(t, c, 0)
	rows := w.missed(t, 9)
	at := func(l Later) time.Time { return time.UnixMicro(l.At).UTC() }
	changed := func(i int, change func(l *Later)) Later {
		l := rows[i]
		change(&l)
		return l
	}
	plain := func(l Later) { w.plant(t, at(l), at(l), at(l), l) }
	plain(changed(0, func(l *Later) { l.ID[3] ^= 1 }))
	plain(changed(1, func(l *Later) { l.ID[9] ^= 1 }))
	plain(changed(2, func(l *Later) { l.Lookup = "another" }))
	plain(changed(3, func(l *Later) { l.Delivery.Offset += 100_000 }))
	plain(changed(4, func(l *Later) {
		hour := at(*l).Truncate(time.Hour)
		l.At = hour.Add((at(*l).Sub(hour) + time.Minute) % time.Hour).UnixMicro()
	}))
	w.plant(t, at(rows[5]).AddDate(0, 0, 1), at(rows[5]), at(rows[5]), rows[5])
	w.plant(t, at(rows[6]), at(rows[6]).Add(time.Second), at(rows[6]).Add(time.Minute), rows[6])
	last := rows[7:]
	slices.SortFunc(last, func(a, b Later) int { return b.compare(&a) }) // and so against the order
	first, end := min(last[0].At, last[1].At), max(last[0].At, last[1].At)
	w.plant(t, at(last[0]), time.UnixMicro(first), time.UnixMicro(end), last...)

	want := map[string]int{"is of an event that is not stored": 2, "is of a look-up that had not failed for it": 1,
		"is not as that event: it was delivered otherwise": 1, "is not as that event: it counts at ": 1,
		"lies where nobody looks for it: its object is named by another time": 2,
		"lies where nobody looks for it: its object is not in order":          1}
	for run := range 2 {
		got := checked(t, c, 0)
		if got.Differing != 8 || got.Right != before.Right+1 || got.Repeated != before.Repeated {
			t.Fatalf("run %d: %+v, before %+v", run, got, before)
		}
		for what, n := range want {
			of := slices.DeleteFunc(slices.Clone(got.Differences), func(d LaterDifference) bool {
				return !strings.HasPrefix(d.What, what)
			})
			if len(of) != n || of[0].EventID == "" || of[0].Lookup == "" || !strings.Contains(of[0].Object, "date=") {
				t.Errorf("run %d: %q: %+v of %+v", run, what, of, got.Differences)
			}
		}
	}
	below := w.Store.Below(LaterFolder)
	for _, d := range checked(t, c, 0).Differences {
		if err := below.Remove(t.Context(), d.Object); err != nil {
			t.Fatal(err)
		}
	}
	if after := checked(t, c, 0); after.Differing > 0 || after.Right != before.Right {
		t.Errorf("gone: %+v, before %+v", after, before)
	}
}

// A row whose event was erased, or went with its day, is no difference: it goes, too. One
// whose event is lost is, as long as others show that the day's time is not over.
func TestLaterCheck_KnowsWhatWasErasedAndWhatIsOver(t *testing.T) {
	w := newLaterWorld(t, 900)
	before := checked(t, NewLaterCheck(w.Store), 0)
	until := noon.Add(24 * time.Hour)
	if err := w.Store.Bury(t.Context(), tombstone.Of("acme", "pump-2", until)); err != nil {
		t.Fatal(err)
	}
	if _, err := erase(w.Store, "acme", "pump-2", until); err != nil {
		t.Fatal(err)
	}
	erased := checked(t, NewLaterCheck(w.Store), 0)
	if erased.Erased == 0 || erased.Differing > 0 || erased.Rows != before.Rows {
		t.Fatalf("erased: %+v, before %+v", erased, before)
	}

	objects, err := w.Store.Objects(t.Context(), lake.Select{})
	if err != nil || len(objects) < 3 {
		t.Fatal(len(objects), err)
	}
	slices.SortFunc(objects, func(a, b lake.Object) int { return int(b.Size - a.Size) })
	if err := w.Store.Remove(t.Context(), objects[0].Key); err != nil {
		t.Fatal(err)
	}
	c := NewLaterCheck(w.Store)
	lost := checked(t, c, 0)
	if lost.Differing == 0 || lost.Expired > 0 || lost.Erased != erased.Erased ||
		!strings.HasSuffix(lost.Differences[0].String(), " is of an event that is not stored") {
		t.Fatalf("lost: %+v", lost)
	}

	pass := expire.Pass{Now: time.Now().AddDate(1, 0, 0),
		Held: func(context.Context) ([]string, error) { return nil, nil }}
	if _, err := w.Store.Retain(t.Context(), Table(), pass, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	over := checked(t, c, 0)
	if fresh := checked(t, NewLaterCheck(w.Store), 0); over.Differing > 0 || fresh.Differing > 0 ||
		fresh.Expired+fresh.Erased != before.Rows || fresh.Erased == 0 {
		t.Errorf("over: %+v, by another one: %+v", over, fresh)
	}
}

// A day of which only a part was read does not tell that the time of its events is over: the rows are unknown, until a
// run without a bound reads all of it.
func TestLaterCheck_SaysWhatItDoesNotKnow(t *testing.T) {
	w := newLaterWorld(t, 900)
	before := checked(t, NewLaterCheck(w.Store), 0)
	objects, err := w.Store.Objects(t.Context(), lake.Select{})
	if err != nil || len(objects) == 0 {
		t.Fatal(len(objects), err)
	}
	largest := slices.MaxFunc(objects, func(a, b lake.Object) int { return int(a.Size - b.Size) })
	if err := w.Store.Remove(t.Context(), largest.Key); err != nil {
		t.Fatal(err)
	}
	c := NewLaterCheck(w.Store)
	c.dayRows = 1
	cut := checked(t, c, 1<<40)
	if cut.Unknown == 0 || cut.Expired > 0 || cut.Differing > 0 || cut.Rows != before.Rows {
		t.Errorf("bounded: %+v, before %+v", cut, before)
	}
	if whole := checked(t, c, 0); whole.Unknown > 0 || whole.Expired > 0 || whole.Differing != cut.Unknown {
		t.Errorf("without a bound: %+v, bounded %+v", whole, cut)
	}
}
