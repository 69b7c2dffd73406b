// Package expire holds what all retention shares: the clock and holds of a pass, and the report of what was deleted.
// It imports no room of plugins.
package expire

import (
	"context"
	"slices"
	"time"
)

// Pass is one retention run over a store.
type Pass struct {
	Now    time.Time
	DryRun bool // count, delete nothing
	// Log is the event log whose rows are expired, where rows of several logs share a table and are kept for
	// different times; "" is telemetry.
	Log string
	// Held returns the fleets of which nothing may be deleted. It is asked before every deletion, so a new hold
	// applies from the next object or chunk of rows on. After an error nothing more is deleted. nil: no fleet is
	// held.
	Held func(context.Context) ([]string, error)
}

// Fleets returns the held fleets, sorted.
func (p Pass) Fleets(ctx context.Context) ([]string, error) {
	if p.Held == nil {
		return nil, nil
	}
	fleets, err := p.Held(ctx)
	if err != nil {
		return nil, err
	}
	fleets = slices.Clone(fleets)
	slices.Sort(fleets)
	return slices.Compact(fleets), nil
}

// Removed counts what was deleted or, in a dry run, would be.
type Removed struct {
	Objects    int   `json:"objects,omitempty"`    // deleted as a whole
	Changed    int   `json:"changed,omitempty"`    // objects rewritten without some of their rows
	Partitions int   `json:"partitions,omitempty"` // of a table, dropped as a whole
	Rows       int64 `json:"rows"`
	Bytes      int64 `json:"bytes,omitempty"` // of the objects deleted whole
	Kept       int64 `json:"kept"`            // old rows kept only because of a hold
}

// Add adds the counts of another pass.
func (r *Removed) Add(o Removed) {
	r.Objects += o.Objects
	r.Changed += o.Changed
	r.Partitions += o.Partitions
	r.Rows += o.Rows
	r.Bytes += o.Bytes
	r.Kept += o.Kept
}
