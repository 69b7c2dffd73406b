package reconcile

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/lifecycle/expire"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/storeurl"
	"weir/plugins/process/rule"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
)

// twoFleets is a place in which rules told sums of ten minutes of two fleets, whose
// events lie between each other's: five of each fleet a minute, three of them of d-1.
func twoFleets(t *testing.T) (w *world, db *sqldb.DB, control string, run func() *Report) {
	w = newWorld(t)
	control = storeurl.New("sqlite", filepath.Join(t.TempDir(), "control.db"))
	db, err := sqldb.Open(t.Context(), control)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	begin := time.Now().Add(-2 * time.Hour).Truncate(time.Minute)
	for i := range 100 {
		device := "d-1"
		if i%10 >= 6 {
			device = "d-2"
		}
		w.readingIn([]string{"f", "g"}[i%2], device, begin.Add(time.Duration(i)*6*time.Second), "kind", 1)
	}
	end := w.readingIn("f", "d-9", begin.Add(time.Hour), "kind", 9) + 1 // time passes
	var batch service.MessageBatch
	for o := range end {
		batch = append(batch, w.message("raw-events", 0, o))
	}
	w.push(w.counting(control, summed), batch)
	w.store("raw-events", 0, 0, end)
	w.commit("weir-raw", "raw-events", 0, end)
	conf := w.config()
	conf.Control, conf.Sampling = db, Sampling{Most: 100, Seed: 9}
	a, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return w, db, control, func() *Report {
		t.Helper()
		return w.run(a, Options{})
	}
}

// What was erased of one fleet explains nothing that is missing of another in the same
// partition.
func TestReconcile_AnErasureExplainsSumsOfItsOwnFleet(t *testing.T) {
	w, db, control, run := twoFleets(t)
	if s := run().Sample; s == nil || s.Right != 20 || s.Sampled != 20 {
		t.Fatalf("%+v", s)
	}
	w.erase(control, "g", "d-1")
	if r := run(); r.Loss() || r.Sample.Right != 10 || r.Sample.Erased != 10 || r.Sample.ErasedEvents != 30 {
		t.Fatalf("a device of the one was erased: %+v %v", r.Sample, r.Problems)
	}
	if _, err := db.Exec(`UPDATE rule_result SET result = replace(replace(result, '"count":5', '"count":6'),
		'"n":5', '"n":6') WHERE fleet = 'f'`); err != nil {
		t.Fatal(err)
	}
	if r := run(); !r.Loss() || len(r.Sample.Differing) != 10 || r.Sample.Erased != 10 {
		t.Errorf("sums of the other count an event too many: %+v", r.Sample)
	}
	w.erase(control, "g", "d-2")
	if r := run(); len(r.Sample.Differing) != 10 || r.Sample.Skipped[rule.SkippedRaw] != 10 {
		t.Errorf("nothing is left of the one: %+v", r.Sample)
	}
	s, err := lake.Open(t.Context(), w.rawURL)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct {
		fleet string
		since time.Time
		is    bool
	}{{"g", time.Now().Add(-time.Hour), true}, {"g", time.Now().Add(time.Hour), false}, {"f", time.Time{}, false},
		{"", time.Time{}, false}} {
		if is, err := s.Buried(t.Context(), c.fleet, c.since); err != nil || is != c.is {
			t.Errorf("of %q since %s: %t %v", c.fleet, c.since, is, err)
		}
	}
}

// What retention takes of a day while another fleet is held was not erased: the day is
// gone, for the one fleet.
func TestReconcile_WhatRetentionTakesIsGoneAndWasNotErased(t *testing.T) {
	w, _, _, run := twoFleets(t)
	s, err := lake.Open(t.Context(), w.rawURL)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	removed, err := s.Retain(t.Context(), raw.Table(), expire.Pass{Now: time.Now().AddDate(0, 0, 4),
		Held: func(context.Context) ([]string, error) { return []string{"f"}, nil }}, 24*time.Hour)
	if err != nil || removed.Rows != 50 || removed.Kept != 51 {
		t.Fatalf("%+v %v", removed, err)
	}
	if r := run(); r.Loss() || r.Sample.Right != 10 || r.Sample.Erased != 0 || r.Sample.Skipped[rule.SkippedRaw] != 10 {
		t.Errorf("%+v %v", r.Sample, r.Problems)
	}
}

// What objects say was erased is read once, whatever is asked, and what is new with it.
func TestReconcile_WhatWasErasedIsReadOnce(t *testing.T) {
	w, _, control, _ := twoFleets(t)
	s, err := lake.Open(t.Context(), w.rawURL)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e := &erasedRecords{store: s}
	among := func(since time.Time) int64 {
		t.Helper()
		n, err := e.among(t.Context(), rule.Missing{Fleet: "g", Topic: "raw-events", Last: 1000, Since: since})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	since := time.Now().Add(-time.Hour)
	if n := among(since); n != 0 {
		t.Fatalf("%d were erased", n)
	}
	w.erase(control, "g", "d-1")
	if n := among(since); n != 30 {
		t.Fatalf("%d were erased", n)
	}
	e.of = map[lake.Partition]lake.Offsets{} // it would be in it again
	for range 2 {
		e.since = time.Time{} // another run
		if n := among(since.Add(-time.Hour)); n != 0 {
			t.Fatalf("the same objects were read again, which say of %d", n)
		}
	}
	w.erase(control, "g", "d-2")
	if e.since = (time.Time{}); among(since) != 20 {
		t.Errorf("%d were erased", among(since))
	}
	ended, end := context.WithCancel(t.Context())
	end()
	e.since = time.Time{}
	if _, err := e.among(ended, rule.Missing{Fleet: "g", Since: since}); err == nil {
		t.Error("a store that cannot be read says nothing was erased")
	}
	e.read = nil
	if e.since = (time.Time{}); among(since) != 50 {
		t.Errorf("anew: %d were erased", among(since))
	}
}
