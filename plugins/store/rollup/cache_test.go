package rollup

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// looking is a backend that counts the windows that are searched for in stored rows.
type looking struct {
	backend
	n int
}

type lookingTx struct {
	tx
	of *looking
}

func (l *looking) update(ctx context.Context, fn func(tx) error) error {
	return l.backend.update(ctx, func(t tx) error { return fn(lookingTx{t, l}) })
}

func (t lookingTx) load(ctx context.Context, keys []Key) ([]*windowRow, error) {
	t.of.n += len(keys)
	return t.tx.load(ctx, keys)
}

// A minute that is newer than all stored rows is only searched for in the database if its row may
// have left memory. Other minutes are always searched for, and no event is counted again.
func TestRollup_AMinuteThatCannotBeStoredIsNotLookedUp(t *testing.T) {
	url := "sqlite://" + t.TempDir() + "/r.db"
	s := openLazy(t, url)
	l := &looking{backend: s.backend}
	s.backend = l
	id := 0
	count := func(what string, s *Store, at, now time.Time, looks int) {
		t.Helper()
		l.n, id = 0, id+1
		add(t, s, now, windowsOf(t, "acme", testEvent(id, "a", at, `{"x":1}`)))
		if l.n != looks {
			t.Errorf("%s: %d windows were looked up, expected %d", what, l.n, looks)
		}
	}
	minute := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
	count("into an empty database", s, minute(0), minute(0), 0)
	count("into a row in memory", s, minute(0), minute(0), 0)
	count("into the next minute", s, minute(1), minute(1), 0)
	if err := s.WriteOut(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.cache.trim(0, minute(9).Unix()) // both rows leave memory
	count("into a row that has left memory", s, minute(1), minute(9), 1)
	count("into an older minute without a row", s, minute(-1), minute(9), 1)
	count("into a newer minute", s, minute(9), minute(9), 0)

	other := openLazy(t, url) // another process
	add(t, other, minute(10), windowsOf(t, "acme", testEvent(100, "a", minute(10), `{"x":1}`)))
	add(t, other, minute(12), windowsOf(t, "acme", testEvent(101, "b", minute(12), `{"x":1}`)))
	count("into what another process wrote, of which two windows are in its journal", s, minute(10), minute(12), 2)
	count("into a minute of which another process has rows", s, minute(12), minute(12), 1)
	count("into a minute after those", s, minute(13), minute(13), 0)
	if _, err := s.db.Exec(`INSERT INTO rollup_cold (object, day, written_at, windows, bytes, low_fleet, low_device, high_fleet,
		high_device) VALUES ('o', $1, 0, 1, 1, 'z', 'z', 'z', 'z')`, byDay.floor(minute(0).Unix())); err != nil {
		t.Fatal(err)
	}
	if err := s.alter(t.Context(), func(tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	count("into a day that was moved", s, minute(14), minute(14), 1)
	count("into the day after", s, minute(24*60), minute(24*60), 0)
	if _, err := s.db.Exec(`DELETE FROM rollup_cold`); err != nil {
		t.Fatal(err)
	}
	rows := dump(t, s)
	for n, want := range map[int]int64{0: 2, 1: 2, -1: 1, 9: 1, 10: 2, 12: 1, 13: 1, 14: 1, 24 * 60: 1} {
		r := rows[fmt.Sprintf("1m acme a %d", minute(n).Unix())]
		if r == nil || r.Metrics[0].Count != want {
			t.Errorf("minute %d: %+v, expected %d events", n, r, want)
		}
	}
}
