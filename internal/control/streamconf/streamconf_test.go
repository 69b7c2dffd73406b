package streamconf

import (
	"errors"
	"testing"

	"weir/tests/integration/testbed"
)

// Each rollback goes back one more, over what was rolled back before, to the file.
func TestStreamConfig_RollbacksGoBackOneAfterTheOther(t *testing.T) {
	ctx := t.Context()
	s, err := Open(ctx, testbed.SQLite(t))
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"a", "b", "c", "b"} {
		v, err := s.Put(ctx, Version{Stream: "raw", Text: text, Tests: []Test{{"raw.yaml", "x"}}})
		if err != nil || v.Number != int64([]int{1, 2, 3, 2}[i]) || v.Text != text || len(v.Tests) != 1 || v.RanAt != nil {
			t.Fatalf("put %q: %+v, %v", text, v, err)
		}
	}
	if v, err := s.Put(ctx, Version{Stream: "rollup", Text: "a"}); err != nil || v.Number != 1 {
		t.Fatalf("another stream: %+v, %v", v, err)
	}
	if _, err := s.Put(ctx, Version{Stream: "../raw", Text: "a"}); !errors.Is(err, errName) {
		t.Errorf("a path as a name: %v", err)
	}
	in := func(want int64, a Activation, err error) {
		t.Helper()
		if err != nil || a.Number != want {
			t.Fatalf("in force is %+v, %v; want %d", a, err, want)
		}
	}
	activate := func(n int64) { t.Helper(); a, err := s.Activate(ctx, "raw", n, "me"); in(n, a, err) }
	back := func(n int64) { t.Helper(); a, err := s.Rollback(ctx, "raw", "me"); in(n, a, err) }
	if _, err := s.Rollback(ctx, "raw", "me"); !errors.Is(err, ErrNoneBefore) {
		t.Errorf("before anything: %v", err)
	}
	activate(1)
	activate(2)
	activate(2)
	back(1)
	activate(3)
	back(1)
	back(0)
	if _, err := s.Rollback(ctx, "raw", "me"); !errors.Is(err, ErrNoneBefore) {
		t.Errorf("at the file: %v", err)
	}
	if _, err := s.Activate(ctx, "raw", 9, "me"); !errors.Is(err, ErrNoVersion) {
		t.Errorf("what is not there: %v", err)
	}
	if active, err := s.Active(ctx); err != nil || len(active) != 1 || active[0].By != "me" {
		t.Errorf("active: %+v, %v", active, err)
	}
}

// A process begins with what was in force last and ran: a version that none has
// run is tried beside a stream that runs.
func TestStreamConfig_AStartIsWithWhatRan(t *testing.T) {
	ctx := t.Context()
	s, err := Open(ctx, testbed.SQLite(t))
	if err != nil {
		t.Fatal(err)
	}
	begin := func(numbers ...int64) {
		t.Helper()
		all, err := s.Wanted(ctx)
		w := all["raw"]
		if err != nil || len(w.Begin) != len(numbers) {
			t.Fatalf("wanted %+v, %v; to begin with %v", w, err, numbers)
		}
		for i, v := range w.Begin {
			if v.Number != numbers[i] || v.Text == "" {
				t.Errorf("begin with %+v, want %v", w.Begin, numbers)
			}
		}
	}
	for _, text := range []string{"a", "b"} {
		if _, err := s.Put(ctx, Version{Stream: "raw", Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	for n := range int64(2) {
		if _, err := s.Activate(ctx, "raw", n+1, "me"); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	if err := s.Ran(ctx, "raw", 1); err != nil {
		t.Fatal(err)
	}
	begin(1)
	if err := s.Ran(ctx, "raw", 2); err != nil {
		t.Fatal(err)
	}
	begin(2, 1)
	if _, err := s.Activate(ctx, "raw", 0, "me"); err != nil {
		t.Fatal(err)
	}
	begin()
}
