package overview

import (
	"time"

	"weir/plugins/operate/reconcile"
)

// View is an overview as it is answered. What is not known is nil, and Unknown
// says why; what is known says how old it is.
type View struct {
	At        time.Time         `json:"at"`
	Fleet     *string           `json:"fleet"` // nil: of all
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

// Stamp is when something was known, and how old that is.
type Stamp struct {
	At  time.Time `json:"at"`
	Age float64   `json:"age_seconds"`
}

func stamp(at, now time.Time) Stamp { return Stamp{at.UTC(), seconds(now.Sub(at))} }

// seconds of an age, to the millisecond; clocks of two processes may differ.
func seconds(d time.Duration) float64 { return float64(max(0, d).Milliseconds()) / 1000 }

// Equation says what became of every record of the log: accepted is the sum of
// the others.
type Equation struct {
	Stamp
	reconcile.Counts
	Balanced bool     `json:"balanced"` // nothing is unexplained, nor a false duplicate, nor a contradiction
	Problems []string `json:"problems"`
	Topics   []Topic  `json:"topics"`
}

// Topic is the equation of one topic.
type Topic struct {
	Topic string `json:"topic"`
	reconcile.Counts
}

// Proof is the last verdict.
type Proof struct {
	Stamp
	Verdict reconcile.Verdict `json:"verdict"`
	Deep    bool              `json:"deep"`
}

// Rates are what the gates take in, per second, over the last seconds.
type Rates struct {
	Stamp
	Over     float64            `json:"over_seconds"`
	Accepted float64            `json:"accepted_per_second"` // events
	Rejected float64            `json:"rejected_per_second"` // events
	Requests map[string]float64 `json:"requests_per_second"` // by status
	Totals   Totals             `json:"totals"`
}

// Totals are the sums of the counters of the gates that run, as their metrics
// have them.
type Totals struct {
	Accepted int64            `json:"accepted_events"`
	Requests map[string]int64 `json:"requests"`
	Rejected map[string]int64 `json:"rejected_events"`
	Refusals map[string]int64 `json:"refusals"`
}

// Latency is how long requests took until their verdict.
type Latency struct {
	Stamp
	Over     float64 `json:"over_seconds"`
	Requests int64   `json:"requests"`
	P50      float64 `json:"p50_seconds"`
	P99      float64 `json:"p99_seconds"`
}

// Group is how far behind the log a consumer group is.
type Group struct {
	Group  string `json:"group"`
	Target string `json:"target"`
	Stamp
	Records *int64   `json:"records"`
	Lag     *float64 `json:"lag_seconds"`     // how long its oldest unprocessed record waits
	Never   []string `json:"never_committed"` // partitions with records of which it has committed nothing
}

// Freshness is how old answers to queries may be.
type Freshness struct {
	Behind    float64    `json:"behind_seconds"`
	LastEvent *time.Time `json:"last_event_at"` // that the log took
}

// Devices are those of whom rollups are kept.
type Devices struct {
	Known     int     `json:"known"`
	Silent    int     `json:"silent"`
	SilentFor float64 `json:"silent_for_seconds"`
}

// Alerts are those that nobody resolved.
type Alerts struct {
	Open int `json:"open"`
}

// Store is where something is kept.
type Store struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // the scheme of its URL
	Stamp
	Up     *bool   `json:"up"`
	Detail *string `json:"detail"` // why it is not, or not known
	Disk   *Disk   `json:"disk"`   // nil: not on this machine
}

// Disk is the file system of a store.
type Disk struct {
	Free  uint64 `json:"free_bytes"` // to an ordinary user
	Total uint64 `json:"total_bytes"`
	// DaysLeft is until it is full, as it went while somebody looked; nil: not
	// known yet, or it does not become fuller.
	DaysLeft *float64 `json:"days_left"`
}

// Process is one that takes part.
type Process struct {
	ID        string    `json:"id"`
	Host      string    `json:"host"`
	PID       int       `json:"pid"`
	Version   string    `json:"version"`
	Role      string    `json:"role"`
	Streams   []string  `json:"streams"`
	State     string    `json:"state"` // running, gone
	StartedAt time.Time `json:"started_at"`
	Uptime    float64   `json:"uptime_seconds"`
	SeenAt    time.Time `json:"seen_at"`
	Age       float64   `json:"age_seconds"`
}
