// Package lifecycle is the contract of everything that keeps rows of a fleet: how rows are expired, counted and
// erased. A room that keeps rows declares a Kind; plugins.go lists all kinds once. Retention, erasure, scans for
// personal data and `weir retention` use that list.
package lifecycle

import (
	"context"
	"time"

	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
)

// Place is where a store lies: one URL of a deployment's configuration.
type Place string

// The places.
const (
	Raw         Place = "raw"          // objects: events
	DeadLetters Place = "dead_letters" // objects: dead letters
	Rollups     Place = "rollups"      // SQL
	Control     Place = "control"      // SQL: administration, including holds
)

// SQL tells whether the place is a SQL database.
func (p Place) SQL() bool { return p == Rollups || p == Control }

// Kind declares a store.
type Kind struct {
	Name   string   // name in reports, errors and metrics: "audit_log"
	Place  Place    // where its rows lie
	Below  string   // objects only: the folder within the place, "" for the place itself
	Tables []string // SQL only: all tables with rows of a fleet or names of its devices
	// Numbers are columns of tables and objects that contain only numbers and hashes, so that searches for text skip
	// them.
	Numbers []string
	Keep    []Keep // how long retention keeps its parts; none: forever
	// Shares are the names of its parts in reports and metrics, if it has any: the Share.Store values that Expire
	// returns.
	Shares []string
	Open   func(context.Context, *Places) (Store, error)
}

// Keep says how long something is kept: a duration field of the processor `retention`, in the object of its place.
type Keep struct {
	Place Place
	Field string
	// Default and Description declare the field. Where they are empty, another store of the list declares it and this
	// one only uses it.
	Default, Description string
	Longer               time.Duration // added to the field's value
}

// Store is an opened store. Its methods may be called from several processes concurrently, may be interrupted
// anywhere, and may be called again: what was done stays done, and nothing is counted twice.
//
// A Store does not say which records of the log it covers. Only stores that keep events or dead letters whole can
// prove that, by the coordinates in their objects (plugins/store/lake, Coverage), and reconcile reads those two
// directly. Rollups, alerts and jobs are derived from events and prove nothing.
type Store interface {
	// Expire deletes what is old, except of held fleets. What it returns is deleted durably, even when it also
	// returns an error. A crash leaves the rest for the next run.
	Expire(context.Context, Upkeep) ([]Share, error)
	// Count counts what is stored of some devices or people of a fleet, by kind: as much as Erase would delete.
	Count(ctx context.Context, fleet string, of ...tombstone.Who) (map[string]int64, error)
	// Bury stores a tombstone beside the data; it is durable when Bury returns nil. From then on (for objects, two
	// minutes later) no writer stores what the tombstone covers, even if it is already in flight.
	Bury(context.Context, tombstone.Stone) error
	// Erase deletes what the target names and records the counts, either in one transaction or before deleting, so
	// that a crash neither loses a count nor counts twice. It is called after Bury, and again when all writers that
	// may not know the tombstone have finished.
	Erase(context.Context, Erasure) error
	// Bytes returns how many bytes an erasure may have to rewrite.
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
	Again bool // second pass: only what arrived after the first is left
	// Held is called between pieces of work: after an error nothing more is deleted.
	Held func() error
}

// Upkeep is one retention run over a store.
type Upkeep struct {
	expire.Pass
	Keep    []time.Duration // in the order of Kind.Keep; 0 keeps forever
	Compact bool            // merge small objects, which changes no query result
	Rules   bool            // keep the bucket's lifecycle rules up to date
}

// Before returns the cutoff of one of the keeps, nil when it keeps forever.
func (u Upkeep) Before(keep int) *time.Time {
	if u.Keep[keep] <= 0 {
		return nil
	}
	t := u.Now.Add(-u.Keep[keep]).UTC().Truncate(time.Microsecond)
	return &t
}

// Share reports what retention did to a store or a part of it; in a dry run, what it would do.
type Share struct {
	Store     string     `json:"store"`
	Place     string     `json:"place,omitempty"`      // objects only: the URL without its query
	OlderThan *time.Time `json:"older_than,omitempty"` // the cutoff; nil: nothing expires
	expire.Removed
	Merged  int    `json:"objects_merged,omitempty"`
	Into    int    `json:"objects_written,omitempty"`
	Repeats int64  `json:"repeated_rows_removed,omitempty"` // rows of deliveries that were stored twice
	Rules   string `json:"lifecycle,omitempty"`             // what was done to the bucket's lifecycle rules
	Error   string `json:"error,omitempty"`                 // work done before the error stays done
}
