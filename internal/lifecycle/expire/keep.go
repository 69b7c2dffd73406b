// Package expire is what every retention shares: the clock and the holds that a
// pass goes by, and the words in which it tells what went. It is a leaf: it
// imports no room.
package expire

import (
	"context"
	"slices"
	"time"
)

// Pass is one pass of retention over a store.
type Pass struct {
	Now    time.Time
	DryRun bool // count, delete nothing
	// Log names the log whose rows go, where rows of several lie in one table and are
	// kept by times of their own; "" is telemetry.
	Log string
	// Held returns the fleets of which nothing may go. It is asked before every
	// deletion: a hold counts from the next object, or chunk of rows, on. After
	// an error nothing more is deleted. nil: nobody is held.
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

// Removed tells what went, or, in a dry run, what would go.
type Removed struct {
	Objects    int   `json:"objects,omitempty"`    // deleted whole
	Changed    int   `json:"changed,omitempty"`    // objects written anew without some of their rows
	Partitions int   `json:"partitions,omitempty"` // of a table, dropped whole
	Rows       int64 `json:"rows"`
	Bytes      int64 `json:"bytes,omitempty"` // of the objects deleted whole
	Kept       int64 `json:"kept"`            // rows that only a hold keeps
}

// Add adds what another pass removed.
func (r *Removed) Add(o Removed) {
	r.Objects += o.Objects
	r.Changed += o.Changed
	r.Partitions += o.Partitions
	r.Rows += o.Rows
	r.Bytes += o.Bytes
	r.Kept += o.Kept
}
