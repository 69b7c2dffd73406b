package rollup

import (
	"context"
	"fmt"
	"time"
)

// Retained says what a retention pass removed.
type Retained struct {
	Ledgers int64 // ledgers dropped
	Rows    int64 // windows deleted
}

// sealChunk bounds how many ledgers one transaction drops.
const sealChunk = 2000

// Retain deletes what the limits no longer keep at the given time: ledgers of
// windows that have not changed for long, and windows that are too old. It may
// be stopped anywhere and run again.
func (s *Store) Retain(ctx context.Context, now time.Time) (out Retained, err error) {
	oldest := s.oldest(now)
	for _, res := range []Resolution{Minute, Hour, Day} {
		n, err := s.dropBefore(ctx, res, oldest)
		if out.Rows += n; err != nil {
			return out, fmt.Errorf("deleting %s windows: %w", res.Name, err)
		}
	}
	cutoff := now.Add(-s.limits.Ledger).Unix()
	for {
		n := int64(0)
		err := s.update(ctx, func(t tx) (err error) {
			n, err = t.seal(ctx, cutoff, sealChunk)
			return err
		})
		if err != nil {
			return out, fmt.Errorf("dropping ledgers: %w", err)
		}
		if out.Ledgers += n; n < sealChunk {
			break
		}
	}
	err = s.update(ctx, func(t tx) error { return t.forgetHours(ctx, oldest) })
	if err != nil {
		return out, fmt.Errorf("forgetting old hours: %w", err)
	}
	return out, nil
}
