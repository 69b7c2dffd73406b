// Package lifecycle is the contract of whatever keeps rows of a fleet: how they
// are deleted on time, counted, and erased for good. A room that keeps rows
// declares a Kind; plugins.go lists all kinds once. Retention, erasure,
// scrubbing and `weir retention` go through that list.
package lifecycle

import (
	"context"
	"time"

	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
)

// Place is where a store lies: one URL of a weir's configuration.
type Place string

// The places.
const (
	Raw         Place = "raw"          // objects: events
	DeadLetters Place = "dead_letters" // objects: what failed
	Rollups     Place = "rollups"      // SQL
	Control     Place = "control"      // SQL: administration, and the holds
)

// SQL tells whether the place is a database.
func (p Place) SQL() bool { return p == Rollups || p == Control }

// Kind declares a store.
type Kind struct {
	Name   string   // as reports, errors and metrics have it: "audit_log"
	Place  Place    // where its rows are
	Below  string   // of objects: in which folder of the place, "" for the place itself
	Tables []string // all that have rows of a fleet, or name its devices; none of objects
	// Numbers are columns of tables and objects that hold numbers and hashes alone:
	// nobody needs to look for text there.
	Numbers []string
	Keep    []Keep // for how long retention keeps things; none: for good
	// Shares are what its parts are called in reports and metrics, where it has any:
	// the names of what Expire returns.
	Shares []string
	Open   func(context.Context, *Places) (Store, error)
}

// Keep is a time that things are kept for: a duration field of the processor
// `retention`, in the object of its place.
type Keep struct {
	Place Place
	Field string
	// Default and Description declare the field. Without them, another store of
	// the list does, and this one goes by the same field.
	Default, Description string
	Longer               time.Duration // than the field says
}

// Store is an opened store. All of it may be called from several processes at
// once, stop anywhere, and be called again: what was done stays done, and
// nothing is counted twice.
//
// It does not tell which records of the log it covers: only what keeps an event
// or a dead letter whole can prove one, by the coordinates in its objects
// (plugins/store/lake, Coverage), and the proof reads those two as they lie.
// Rollups, alerts and jobs are made from events, and can prove none.
type Store interface {
	// Expire deletes what is old, but nothing of a held fleet. What it returns
	// is deleted for good, also when there is an error. A crash leaves the rest
	// for the next run.
	Expire(context.Context, Upkeep) ([]Share, error)
	// Count tells how much there is of some of a fleet, by what it is: as many as
	// Erase would delete.
	Count(ctx context.Context, fleet string, of ...tombstone.Who) (map[string]int64, error)
	// Bury keeps a tombstone beside the data; it is durable when Bury returns
	// nil. From then on - of objects, two minutes later - no writer stores what
	// it holds, whatever is still on its way.
	Bury(context.Context, tombstone.Stone) error
	// Erase deletes what the target names, with a note of how much, in one
	// transaction or the note first: a crash neither forgets a number nor counts
	// it twice. It is called once the tombstone is buried, and again when
	// writers that did not know of it have finished.
	Erase(context.Context, Erasure) error
	// Bytes tells how much an erasure may have to write anew.
	Bytes(context.Context) (int64, error)
}

// Remainder is a store in which something stays that counted what was erased.
type Remainder interface {
	// Remains says what that is of a fleet, and why it names nobody: a sentence for a
	// receipt, "" when there is nothing.
	Remains(ctx context.Context, fleet string) (string, error)
}

// Erasure is one pass of an erasure over a store.
type Erasure struct {
	tombstone.Target
	Again bool // the second pass: only what came after the first is there
	// Held is asked between pieces of work: after an error nothing more is
	// deleted.
	Held func() error
}

// Upkeep is one run of retention over a store.
type Upkeep struct {
	expire.Pass
	Keep    []time.Duration // in the order of the kind's; 0 keeps for good
	Compact bool            // merge small objects, which changes no answer
	Rules   bool            // keep the bucket's own rules right
}

// Before is the time before which things go by one of the keeps; nil when they
// are kept for good.
func (u Upkeep) Before(keep int) *time.Time {
	if u.Keep[keep] <= 0 {
		return nil
	}
	t := u.Now.Add(-u.Keep[keep]).UTC().Truncate(time.Microsecond)
	return &t
}

// Share is what retention did to a store, or to a part of it; in a dry run, what
// it would have deleted.
type Share struct {
	Store     string     `json:"store"`
	Place     string     `json:"place,omitempty"`      // of objects: the URL without its query
	OlderThan *time.Time `json:"older_than,omitempty"` // what goes; nil: nothing, whatever its age
	expire.Removed
	Merged  int    `json:"objects_merged,omitempty"`
	Into    int    `json:"objects_written,omitempty"`
	Repeats int64  `json:"repeated_rows_removed,omitempty"` // rows of a delivery that was stored twice
	Rules   string `json:"lifecycle,omitempty"`             // of the bucket: what became of its own rules
	Error   string `json:"error,omitempty"`                 // what was done before it stays done
}
