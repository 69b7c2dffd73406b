package lake

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// absent is a store that lists an object which it cannot open, the first times.
type absent struct {
	backend
	key   string
	times int
}

func (a *absent) open(ctx context.Context, key string, size int64) (Reader, error) {
	if key == a.key && a.times > 0 {
		a.times--
		return nil, ErrNotFound
	}
	return a.backend.open(ctx, key, size)
}

// The proof takes what it reads for all that there is.
func TestLake_AnObjectThatIsListedAndCannotBeReadIsNoPartOfAWholeAnswer(t *testing.T) {
	ctx := t.Context()
	s := opened(t, FileURL(t.TempDir()))
	m := NewMemory(s, time.Hour)
	now := time.Now()
	for first := int64(1); first < 30; first += 10 {
		batch, c := spansAt(first, first+4)
		prepared(t, m, now, batch)
		if err := put(t, m, now, c); err != nil {
			t.Fatal(err)
		}
	}
	objects, err := s.Objects(ctx, Select{})
	if err != nil || len(objects) != 3 {
		t.Fatalf("%d objects, %v", len(objects), err)
	}
	a := &absent{backend: s.backend, key: objects[1].Key}
	s.backend = a
	for name, read := range map[string]func(each func(Footer) error) error{
		"footers of objects":  func(each func(Footer) error) error { return s.Footers(ctx, objects, each) },
		"footers of a folder": func(each func(Footer) error) error { return s.Footers(ctx, objects[1:2], each) },
		"coverage":            func(each func(Footer) error) error { return s.Coverage(ctx, time.Time{}, each) },
	} {
		seen := map[string]int{}
		each := func(f Footer) error { seen[f.Key]++; return nil }
		a.times = relists
		if err := read(each); err != nil || len(seen) != 3 && name != "footers of a folder" || seen[a.key] != 1 {
			t.Errorf("%s: there at last: read %v, %v", name, seen, err)
		}
		clear(seen)
		a.times = relists + 1
		if err := read(each); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), a.key) {
			t.Errorf("%s: never there: %v", name, err)
		}
	}
	if err := s.Remove(ctx, a.key); err != nil {
		t.Fatal(err)
	}
	count := 0
	if err := s.Footers(ctx, objects, func(Footer) error { count++; return nil }); err != nil || count != 2 {
		t.Errorf("deleted: read %d of 2, %v", count, err)
	}
}
