package lake

import (
	"context"
	"errors"
	"time"

	"weir/internal/lifecycle/expire"
)

// Duty is the upkeep of one store: compaction, retention, the bucket's rules.
type Duty struct {
	Table     *Table
	Keep      time.Duration // by the day of the rows; 0 keeps them for good
	Compact   bool
	Lifecycle bool // keep the bucket's lifecycle rules right
}

// Report tells what a duty did, or, in a dry run, what its retention would do.
type Report struct {
	Merged    int       `json:"objects_merged,omitempty"`
	Into      int       `json:"objects_written,omitempty"`
	Repeats   int64     `json:"repeated_rows_removed,omitempty"` // rows of a delivery that was stored twice
	Retention Removed   `json:"retention"`
	Lifecycle Lifecycle `json:"lifecycle,omitempty"` // of the bucket's own rules
}

// Do does the duty. What fails does not keep the rest from being done, but
// where holds cannot be read nothing is deleted and no rule is changed. What was
// done stays done, and the next run goes on.
func (d Duty) Do(ctx context.Context, s *Store, p expire.Pass) (r Report, err error) {
	if d.Lifecycle { // first: where someone is held, the bucket's own rule must go whatever else fails
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
