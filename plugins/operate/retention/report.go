package retention

import (
	"time"

	"weir/internal/lifecycle"
	"weir/internal/lifecycle/expire"
)

// Report is what one run did, or, in a dry run, would have deleted.
type Report struct {
	At     time.Time         `json:"at"` // the clock of the run
	DryRun bool              `json:"dry_run"`
	Held   []string          `json:"held_fleets"`
	Stores []lifecycle.Share `json:"stores"`
	Freed  []Freed           `json:"freed,omitempty"`
}

// Freed is what a database gave back to the file system.
type Freed struct {
	Store string `json:"store"`
	Bytes int64  `json:"bytes"`
}

// Failed returns the number of stores that a run could not maintain.
func (r *Report) Failed() (n int) {
	for _, s := range r.Stores {
		if s.Error != "" {
			n++
		}
	}
	return n
}

// Removed returns the sum of what all stores removed.
func (r *Report) Removed() (total expire.Removed) {
	for _, s := range r.Stores {
		total.Add(s.Removed)
	}
	return total
}

// notable tells whether people will want to find the report again: something was deleted, or
// failed.
func (r *Report) notable() bool { return r.Failed() > 0 || r.Removed().Rows > 0 }
