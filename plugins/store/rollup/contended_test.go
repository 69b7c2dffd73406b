package rollup

import (
	"context"
	"errors"
	"testing"

	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
)

// contended is a backend in which other writers are in the way of the next transactions.
type contended struct {
	backend
	times int
}

func (c *contended) update(ctx context.Context, fn func(tx) error) error {
	if c.times == 0 {
		return c.backend.update(ctx, fn)
	}
	c.times--
	return c.backend.update(ctx, func(t tx) error { return errors.Join(fn(t), errConflict) })
}

// A pass of retention goes on when PostgreSQL has ended one of its transactions for another's
// sake, and so does an erasure.
func TestRollup_RetentionAndErasureGoOnAfterAConflict(t *testing.T) {
	s := openStore(t, "sqlite://"+t.TempDir()+"/rollup.db")
	add(t, s, noon, windowsOf(t, "acme", testEvent(1, "a", noon, `{"x":1}`)))
	add(t, s, noon, windowsOf(t, "acme", testEvent(2, "b", noon, `{"x":1}`)))
	finish(t, s)
	c := &contended{backend: s.backend}
	s.backend = c
	for _, pass := range []struct {
		days          int
		rows, ledgers int64
	}{{8, 0, 2}, {731, 6, 0}} {
		now := noon.AddDate(0, 0, pass.days)
		c.times = maxAttempts
		if _, err := s.retain(t.Context(), expire.Pass{Now: now}); !errors.Is(err, errConflict) || c.times != 0 {
			t.Errorf("after %d days, with others always in the way: %v, %d tries are left", pass.days, err, c.times)
		}
		if pass.days == 731 {
			c.times = maxAttempts - 1
			stone := tombstone.Target{Job: "j", Fleet: "acme", Device: "b", Until: noon.UnixMicro()}
			if err := s.erase(t.Context(), s.db, stone, func() error { return nil }); err != nil || c.times != 0 {
				t.Errorf("erasing: %v, %d tries are left", err, c.times)
			}
			pass.rows -= 3
		}
		c.times = maxAttempts - 1
		r, err := s.retain(t.Context(), expire.Pass{Now: now})
		if err != nil || rowsOf(r) != pass.rows || r.Ledgers.Rows != pass.ledgers || c.times != 0 {
			t.Errorf("after %d days: %+v, %v, %d tries are left", pass.days, r, err, c.times)
		}
	}
}
