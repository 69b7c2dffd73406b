package overview

import (
	"time"

	"weir/plugins/operate/reconcile"
)

// View is an overview as answered. Unknown parts are nil, with the reason in Unknown; known parts say how old they
// are.
type View struct {
	At        time.Time         `json:"at"`
	Fleet     *string           `json:"fleet"` // nil: all fleets
	Equation  *Equation         `json:"equation"`
	Proof     *Proof            `json:"proof"`
	Rates     *Rates            `json:"rates"`
	Latency   *Latency          `json:"latency"`
	Groups    []Group           `json:"groups"`
	Freshness *Freshness        `json:"freshness"`
	Devices   *Devices          `json:"devices"`
	Alerts    *Alerts           `json:"alerts"`
	Stores    []Store           `json:"stores"`
	Processes []Process         `json:"processes"`
	Unknown   map[string]string `json:"unknown"`
}

// Stamp says when something was read, and how old that is.
type Stamp struct {
	At  time.Time `json:"at"`
	Age float64   `json:"age_seconds"`
}

func stamp(at, now time.Time) Stamp { return Stamp{at.UTC(), seconds(now.Sub(at))} }

// seconds converts an age to seconds, to the millisecond. It is never negative, although clocks of processes differ.
func seconds(d time.Duration) float64 { return float64(max(0, d).Milliseconds()) / 1000 }

// Equation says what became of every record of the log: accepted is the sum of the other counts.
type Equation struct {
	Stamp
	reconcile.Counts
	Balanced bool     `json:"balanced"` // no unexplained records, false duplicates or contradictions
	Problems []string `json:"problems"`
	Topics   []Topic  `json:"topics"`
}

// Topic is the equation of one topic.
type Topic struct {
	Topic string `json:"topic"`
	reconcile.Counts
}

// Proof is the verdict of the last proof.
type Proof struct {
	Stamp
	Verdict reconcile.Verdict `json:"verdict"`
	Deep    bool              `json:"deep"`
}

// Rates are events and requests per second at the gates, over the last seconds.
type Rates struct {
	Stamp
	Over     float64            `json:"over_seconds"`
	Accepted float64            `json:"accepted_per_second"` // events
	Rejected float64            `json:"rejected_per_second"` // events
	Requests map[string]float64 `json:"requests_per_second"` // by HTTP status
	Totals   Totals             `json:"totals"`
}

// Totals are the sums of the metrics of all running gates.
type Totals struct {
	Accepted int64            `json:"accepted_events"`
	Requests map[string]int64 `json:"requests"`
	Rejected map[string]int64 `json:"rejected_events"`
	Refusals map[string]int64 `json:"refusals"`
}

// Latency is the time of requests until their verdict.
type Latency struct {
	Stamp
	Over     float64 `json:"over_seconds"`
	Requests int64   `json:"requests"`
	P50      float64 `json:"p50_seconds"`
	P99      float64 `json:"p99_seconds"`
}

// Group is the lag of a consumer group.
type Group struct {
	Group  string `json:"group"`
	Target string `json:"target"`
	Stamp
	Records *int64   `json:"records"`
	Lag     *float64 `json:"lag_seconds"`     // age of its oldest unprocessed record
	Never   []string `json:"never_committed"` // partitions with records for which it never committed an offset
}

// Freshness says how old query results may be.
type Freshness struct {
	Behind    float64    `json:"behind_seconds"`
	LastEvent *time.Time `json:"last_event_at"` // when the log's newest event was written
}

// Devices counts devices with rollups.
type Devices struct {
	Known     int     `json:"known"`
	Silent    int     `json:"silent"`
	SilentFor float64 `json:"silent_for_seconds"`
}

// Alerts counts unresolved alerts.
type Alerts struct {
	Open int `json:"open"`
}

// Store is the state of a store.
type Store struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // scheme of its URL
	Stamp
	Up     *bool   `json:"up"`
	Detail *string `json:"detail"` // why it is down or unknown
	Disk   *Disk   `json:"disk"`   // nil: not on this machine
}

// Disk is the file system of a store.
type Disk struct {
	Free  uint64 `json:"free_bytes"` // available to an ordinary user
	Total uint64 `json:"total_bytes"`
	// DaysLeft estimates when it is full from samples while somebody looked; nil: unknown yet, or usage does not
	// grow.
	DaysLeft *float64 `json:"days_left"`
}

// Process is a process of this deployment.
type Process struct {
	ID        string    `json:"id"`
	Host      string    `json:"host"`
	PID       int       `json:"pid"`
	Version   string    `json:"version"`
	Role      string    `json:"role"`
	Streams   []string  `json:"streams"`
	State     string    `json:"state"` // running or gone
	StartedAt time.Time `json:"started_at"`
	Uptime    float64   `json:"uptime_seconds"`
	SeenAt    time.Time `json:"seen_at"`
	Age       float64   `json:"age_seconds"`
}
