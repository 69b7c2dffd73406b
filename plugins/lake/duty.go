package lake

import (
	"context"
	"time"
)

// Duty is the upkeep of one store: compaction, retention, the bucket's rules.
type Duty struct {
	Table     *Table
	Compact   bool
	Lifecycle bool // keep the bucket's lifecycle rules right
	Retention Retention
}

// Report tells what a duty did, or, in a dry run, what its retention would do.
type Report struct {
	Store     string    `json:"store"`
	At        time.Time `json:"at"`
	DryRun    bool      `json:"dry_run"`
	Merged    int       `json:"objects_merged"`
	Into      int       `json:"objects_written"`
	Repeats   int64     `json:"repeated_rows_removed"` // rows of a delivery that was stored twice
	Retention Removed   `json:"retention"`
	Lifecycle Lifecycle `json:"lifecycle,omitempty"` // of the bucket's own rules
}

// Do does the duty as of now. After an error, what was done stays done and the
// next run goes on.
func (d Duty) Do(ctx context.Context, s *Store, now time.Time) (Report, error) {
	r := Report{Store: s.Name(), At: now.UTC(), DryRun: d.Retention.DryRun}
	if d.Compact && !d.Retention.DryRun {
		done, err := s.Compact(ctx, d.Table, DefaultCompaction(), now)
		r.Merged, r.Into, r.Repeats = done.Inputs, done.Outputs, done.Repeats
		if err != nil {
			return r, err
		}
	}
	var err error
	if d.Retention.Keep > 0 {
		if r.Retention, err = s.Retain(ctx, d.Table, d.Retention, now); err != nil {
			return r, err
		}
	}
	if d.Lifecycle && !d.Retention.DryRun { // last: without the right to it, the rest is done
		r.Lifecycle, err = s.SetLifecycle(ctx, d.Retention.Keep, len(d.Retention.Held) > 0)
	}
	return r, err
}
