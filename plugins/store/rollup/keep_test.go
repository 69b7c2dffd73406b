package rollup

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"weir/internal/lifecycle/expire"
)

const day = 24 * time.Hour

// lineCount queries a view, as people and dashboards do.
func lineCount(t *testing.T, s *Store, view string) (n, readings int) {
	t.Helper()
	var err error
	query := `SELECT count(*), coalesce(sum(count), 0) FROM ` + view
	switch b := s.backend.(type) {
	case *sqlite:
		err = b.db.QueryRow(query).Scan(&n, &readings)
	case *postgres:
		err = b.db.QueryRow(query).Scan(&n, &readings)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n, readings
}

func retain(t *testing.T, s *Store, now time.Time) retained {
	t.Helper()
	r, err := s.retain(context.Background(), expire.Pass{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// rowsOf returns how many windows were deleted.
func rowsOf(r retained) int64 { return r.Minutes.Rows + r.Hours.Rows + r.Days.Rows }

func TestRollup_RetentionReallyDeletes(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		s := openStore(t, fresh())
		event := windowsOf(t, "acme", testEvent(1, "a", noon, `{"x":1}`))
		add(t, s, noon, event)
		finish(t, s)
		if r := retain(t, s, noon.Add(6*day)); r != (retained{}) {
			t.Errorf("after 6 days: %+v", r)
		}
		if r := add(t, s, noon.Add(6*day), event); r.Events[outcomeDuplicate] != 1 {
			t.Errorf("delivered again after 6 days: %+v", r)
		}
		if r := retain(t, s, noon.Add(8*day)); r.Ledgers.Rows != 1 || rowsOf(r) != 0 {
			t.Errorf("after 8 days: %+v", r)
		}
		if row := dump(t, s)["1m acme a "+fmt.Sprint(noon.Unix())]; len(row.Ledger) != 0 || row.State != ledgerDropped ||
			row.Metrics[0].Count != 1 {
			t.Errorf("after 8 days: %+v", row)
		}
		if r := retain(t, s, noon.Add(729*day)); rowsOf(r) != 0 {
			t.Errorf("after 729 days: %+v", r)
		}
		for _, view := range []string{"rollup_1m", "rollup_1h", "rollup_1d"} {
			if n, readings := lineCount(t, s, view); n != 1 || readings != 1 {
				t.Errorf("%s: %d lines, %d readings", view, n, readings)
			}
		}
		if r := retain(t, s, noon.Add(731*day)); rowsOf(r) != 3 {
			t.Errorf("after 731 days: %+v", r)
		}
		for _, view := range []string{"rollup_1m", "rollup_1h", "rollup_1d"} {
			if n, _ := lineCount(t, s, view); n != 0 {
				t.Errorf("%s: %d lines", view, n)
			}
		}
		if r := add(t, s, noon.Add(731*day), event); r.Events[outcomeExpired] != 1 {
			t.Errorf("an event older than the retention: %+v", r)
		}
	})
}

func TestRollup_NothingOfAHeldFleetIsDeleted(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		s := openStore(t, fresh())
		old := noon.Add(-60 * day) // so that whole partitions are too old
		for i, at := range []time.Time{old, noon} {
			for n, fleet := range []string{"acme", "other", "third"} {
				add(t, s, noon, windowsOf(t, fleet, testEvent(10*i+n, "a", at, `{"x":1}`)))
			}
		}
		finish(t, s)
		held := []string{"other"}
		p := expire.Pass{Now: noon.Add(731 * day), DryRun: true, Held: func(context.Context) ([]string, error) {
			return held, nil
		}}
		plan, err := s.retain(t.Context(), p)
		if err != nil || plan.Minutes.Rows != 4 || plan.Minutes.Kept != 2 || plan.Days.Kept != 2 || len(dump(t, s)) != 12 {
			t.Fatalf("a dry run: %+v, %v, %d rows", plan, err, len(dump(t, s)))
		}
		p.DryRun = false
		done, err := s.retain(t.Context(), p)
		if err != nil || rowsOf(done) != 12 || done.Hours.Kept != 2 || done.Ledgers.Kept != 2 || done.Ledgers.Rows != 0 {
			t.Fatalf("%+v, %v", done, err)
		}
		for key, row := range dump(t, s) {
			if row.Fleet != "other" || strings.HasPrefix(key, "1m") && row.State != ledgerComplete {
				t.Errorf("left: %s %+v", key, row)
			}
		}
		if left := len(dump(t, s)); left != 6 {
			t.Fatalf("%d rows are left, want the 6 of the held fleet", left)
		}
		asked := 0
		p.Held = func(context.Context) ([]string, error) { asked++; return nil, errors.New("the control store is away") }
		if done, err := s.retain(t.Context(), p); err == nil || rowsOf(done) != 0 || len(dump(t, s)) != 6 {
			t.Fatalf("without knowing the holds: %+v, %v", done, err)
		}
		p.Held = nil
		if done, err = s.retain(t.Context(), p); err != nil || rowsOf(done) != 6 {
			t.Fatalf("after the hold: %+v, %v", done, err)
		}
		if pg, is := s.backend.(*postgres); is && pg.native && done.Minutes.Partitions == 0 {
			t.Errorf("no partition was dropped: %+v", done)
		}
	})
}

// A late event of a window without a ledger counts, once; a replayed event that the window may
// have counted does not.
func TestRollup_LateEventCountsWithoutItsLedger(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		s := openStore(t, fresh())
		first := windowsOf(t, "acme", testEvent(1, "a", noon, `{"x":1}`))
		add(t, s, noon, first)
		now := noon.Add(8 * day)
		retain(t, s, now)
		late := windowsOf(t, "acme", testEvent(2, "a", noon, `{"x":2}`))
		if r := add(t, s, now, late); r.Events[outcomeCounted] != 1 {
			t.Errorf("late: %+v", r)
		}
		if r := add(t, s, now, late); r.Events[outcomeDuplicate] != 1 {
			t.Errorf("late, delivered again: %+v", r)
		}
		first[0].events[0].replayed = true
		if r := add(t, s, now, first); r.Events[outcomeSealed] != 1 {
			t.Errorf("replayed: %+v", r)
		}
		if r := retain(t, s, now.Add(day)); r.Ledgers.Rows != 0 {
			t.Errorf("the ledger of a window that has just changed was dropped: %+v", r)
		}
		if r := retain(t, s, now.Add(8*day)); r.Ledgers.Rows != 1 {
			t.Errorf("the ledger stays: %+v", r)
		}
	})
}

func TestRollup_ReplaceCorrectsAWindowBesideItsWriters(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		url := fresh()
		s, other := openStore(t, url), openStore(t, url)
		a, b, c := testEvent(1, "a", noon, `{"x":1}`), testEvent(2, "a", noon, `{"x":2}`), testEvent(3, "a", noon, `{"x":4}`)
		add(t, s, noon, windowsOf(t, "acme", a))
		finish(t, s)
		ctx, now := context.Background(), noon.Add(8*day)
		retain(t, s, now)

		r, err := other.Replace(ctx, windowsOf(t, "acme", a, b), now)
		if err != nil || r.Windows != 1 || len(r.Behind) != 0 {
			t.Fatalf("%+v %v", r, err)
		}
		// The writer has the old row in its cache.
		if res := add(t, s, now, windowsOf(t, "acme", a, b, c)); res.Events[outcomeDuplicate] != 2 ||
			res.Events[outcomeCounted] != 1 {
			t.Errorf("%+v", res)
		}
		// c is counted, but the raw store of this rebuild does not have it.
		r, err = other.Replace(ctx, windowsOf(t, "acme", a, b), now)
		if err != nil || r.Windows != 0 || len(r.Behind) != 1 {
			t.Errorf("%+v %v", r, err)
		}
		finish(t, s)
		for _, view := range []string{"rollup_1m", "rollup_1h", "rollup_1d"} {
			if n, readings := lineCount(t, s, view); n != 1 || readings != 3 {
				t.Errorf("%s: %d lines, %d readings", view, n, readings)
			}
		}
	})
}

// Every metric name that JSON allows is either stored or left out, and none makes its batch fail.
func TestRollup_OddNamesStallNobody(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		s := openStore(t, fresh())
		odd := `{"":1,"a\u0000b":2,"\"{},\\":3,"ü\u2028😀":4,"` + strings.Repeat("x", 5000) + `":5,"%":6}`
		add(t, s, noon, windowsOf(t, "acme", testEvent(1, "a:b.c_d-E", noon, odd), testEvent(2, "a", noon, `{"x":1}`)))
		finish(t, s)
		for _, view := range []string{"rollup_1m", "rollup_1h", "rollup_1d"} {
			if n, _ := lineCount(t, s, view); n != 6 {
				t.Errorf("%s: %d lines, expected 5 odd ones and a plain one", view, n)
			}
		}
	})
}

// A rebuild may find that none of a window's metrics is known any more.
func TestRollup_AWindowMayLoseAllItsMetrics(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		s := openStore(t, fresh())
		add(t, s, noon, windowsOf(t, "acme", testEvent(1, "a", noon, `{"x":1,"y":2}`)))
		if r, err := s.Replace(t.Context(), windowsOf(t, "acme", testEvent(1, "a", noon, `{}`)), noon); err != nil ||
			r.Windows != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		add(t, s, noon, windowsOf(t, "acme", testEvent(2, "a", noon, `{}`)))
		row := dump(t, s)["1m acme a "+fmt.Sprint(noon.Unix())]
		if row == nil || len(row.Metrics) != 0 || len(row.Ledger) != 2 {
			t.Fatalf("%+v", row)
		}
		add(t, s, noon, windowsOf(t, "acme", testEvent(3, "a", noon, `{"y":5}`)))
		if row := dump(t, s)["1m acme a "+fmt.Sprint(noon.Unix())]; len(row.Metrics) != 1 || row.Metrics[0].Name != "y" ||
			row.Metrics[0].Last != 5 {
			t.Errorf("%+v", row)
		}
	})
}

// Written rows leave memory even if no batch comes any more.
func TestRollup_MemoryIsGivenBackWhenNothingComes(t *testing.T) {
	s := openStore(t, "sqlite://"+t.TempDir()+"/r.db")
	add(t, s, noon, gather(history(rand.New(rand.NewPCG(1, 2)), 50)))
	if err := s.WriteOut(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, e := range s.cache.rows { // as if they were old
		e.used = 0
	}
	s.cache.swept = 0
	if err := s.writeDue(context.Background()); err != nil {
		t.Fatal(err)
	}
	if held := s.Use().Held; held > 0 {
		t.Errorf("%d rows are held", held)
	}
}
