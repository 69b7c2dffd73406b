package lake

import (
	"context"
	"errors"
	"time"

	"weir/internal/lifecycle/expire"
)

// Duty is the regular maintenance of a store: compaction, retention, and lifecycle rules of the
// bucket.
type Duty struct {
	Table     *Table
	Keep      time.Duration // counted from the day of the rows; 0: for ever
	Compact   bool
	Lifecycle bool // check and write the bucket's lifecycle rules
}

// Report says what a Duty did or, in a dry run, what its retention would do.
type Report struct {
	Merged    int       `json:"objects_merged,omitempty"`
	Into      int       `json:"objects_written,omitempty"`
	Repeats   int64     `json:"repeated_rows_removed,omitempty"` // rows of deliveries that were stored twice
	Retention Removed   `json:"retention"`
	Lifecycle Lifecycle `json:"lifecycle,omitempty"` // outcome for the bucket's rules
}

// Do runs the maintenance. A step that fails does not keep the others from running, but nothing is
// deleted and no rule is changed if the holds cannot be read. It can be run again after an error.
func (d Duty) Do(ctx context.Context, s *Store, p expire.Pass) (r Report, err error) {
	if d.Lifecycle { // first: with a hold, the bucket must not delete, whatever else fails
		r.Lifecycle, err = s.lifecycle(ctx, d.Keep, p)
	}
	if d.Compact && !p.DryRun {
		done, failed := s.Compact(ctx, d.Table, DefaultCompaction(), p.Now)
		r.Merged, r.Into, r.Repeats = done.Inputs, done.Outputs, done.Repeats
		err = errors.Join(err, failed)
	}
	removed, failed := s.Retain(ctx, d.Table, p, d.Keep)
	r.Retention = removed
	return r, errors.Join(err, failed)
}

func (s *Store) lifecycle(ctx context.Context, age time.Duration, p expire.Pass) (Lifecycle, error) {
	held, err := p.Fleets(ctx)
	if err != nil {
		return "", err
	}
	return s.setLifecycle(ctx, age, len(held) > 0, p.DryRun)
}
