// Package cost estimates what a load costs in a month: how many bytes an event takes in each store,
// how many bytes are stored, and their price by a price list. It has no I/O: callers pass loads,
// counters and price lists.
package cost

import (
	"errors"
	"time"
)

// Load describes what devices send, and how long it is kept.
type Load struct {
	Devices  float64       `json:"devices"`
	Interval time.Duration `json:"interval_ns"`     // between two events of a device
	Hours    float64       `json:"hours_per_day"`   // of a day in which devices send
	Peak     float64       `json:"peak_per_second"` // events; 0: three times the mean

	EventBytes float64 `json:"event_bytes"` // as sent: JSON
	Metrics    float64 `json:"metrics_per_event"`
	NameBytes  float64 `json:"metric_name_bytes"`
	DeadShare  float64 `json:"dead_letter_share"` // of events

	KeepLog     time.Duration `json:"keep_log_ns"`
	KeepRaw     time.Duration `json:"keep_raw_ns"`
	KeepDead    time.Duration `json:"keep_dead_letters_ns"`
	KeepRollups time.Duration `json:"keep_rollups_ns"`
	HotMinutes  time.Duration `json:"hot_minutes_ns"` // age up to which minutes are in SQL, then in Parquet; 0: all in SQL
	RawPeriod   time.Duration `json:"raw_period_ns"`  // of a batch of the raw store
	Linger      time.Duration `json:"log_linger_ns"`  // how long a record waits for others of its partition
	After       time.Duration `json:"after_ns"`       // since the first event; 0: long enough for every time to keep

	Groups     float64 `json:"consumer_groups"`   // that read the whole log
	RackAware  bool    `json:"rack_aware"`        // they read from a replica in their own zone
	Compressed bool    `json:"log_compressed"`    // the log, by zstd
	Gates      float64 `json:"gates"`             // processes that accept events
	Replicas   float64 `json:"log_replicas"`      // of the log
	Standbys   float64 `json:"postgres_standbys"` // copies of PostgreSQL beside the first
	SQLite     bool    `json:"sqlite"`            // rollups in SQLite: one machine, no standby
}

const day = 24 * time.Hour

// Baseline returns a load of 50,000 devices that report every ten seconds, with the retention and
// the compressed log of configs/cluster.env, and minutes older than a week in Parquet.
func Baseline() Load {
	return Load{
		Devices: 50_000, Interval: 10 * time.Second, Hours: 24,
		EventBytes: 259, Metrics: 4, NameBytes: 14, DeadShare: 0.001,
		KeepLog: 4 * time.Hour, KeepRaw: 90 * day, KeepDead: 30 * day, KeepRollups: 730 * day, HotMinutes: 7 * day,
		RawPeriod: 5 * time.Second, Linger: 5 * time.Millisecond, Gates: 3, Compressed: true,
		Groups: 4, Replicas: 3, Standbys: 1,
	}
}

// Check returns an error that lists the impossible values of a load.
func (l Load) Check() error {
	var errs []error
	for _, c := range []struct {
		wrong bool
		text  string
	}{
		{l.Devices <= 0, "devices: expected one or more"},
		{l.Interval <= 0, "interval: expected more than 0"},
		{l.Hours <= 0 || l.Hours > 24, "hours per day: expected more than 0, and at most 24"},
		{l.Peak < 0, "peak: expected 0 or more"},
		{l.Metrics < 0 || l.NameBytes < 1, "metrics: expected 0 or more, with names of a byte or more"},
		{l.EventBytes < 140+l.Metrics*(l.NameBytes+5), "event bytes: an event of so many metrics with such names is larger"},
		{l.DeadShare < 0 || l.DeadShare > 1, "dead letters: expected a share of 0 to 1"},
		{min(l.KeepLog, l.KeepRaw, l.KeepDead, l.KeepRollups, l.RawPeriod) <= 0, "every time to keep: expected more than 0"},
		{l.Gates < 1 || l.Linger < 0, "gates, linger: expected one or more, and 0 or more"},
		{l.HotMinutes < 0 || l.After < 0, "hot minutes, after: expected 0 or more"},
		{l.Replicas < 1 || l.Standbys < 0 || l.Groups < 0, "replicas: expected one of the log or more"},
	} {
		if c.wrong {
			errs = append(errs, errors.New(c.text))
		}
	}
	return errors.Join(errs...)
}

// Sent returns the size of an event that has nothing but its metrics, in bytes.
func (l Load) Sent() float64 { return envelope + l.Metrics*(l.NameBytes+metricText) }

// PerSecond returns the number of events in a second while devices send.
func (l Load) PerSecond() float64 { return l.Devices / l.Interval.Seconds() }

// peak returns the highest number of events in a second.
func (l Load) peak() float64 {
	if l.Peak == 0 {
		return 3 * l.PerSecond()
	}
	return max(l.Peak, l.PerSecond())
}

// perDay returns the number of events in a day.
func (l Load) perDay() float64 { return l.PerSecond() * 3600 * l.Hours }

// kept returns how many days of data are stored when each is kept for keep.
func (l Load) kept(keep time.Duration) float64 {
	if l.After > 0 {
		keep = min(keep, l.After)
	}
	return keep.Hours() / 24
}

// windows returns how many windows of so many seconds all devices have in a day.
func (l Load) windows(width float64) float64 {
	each := max(width, l.Interval.Seconds())
	return l.Devices * max(l.Hours*3600/each, min(1, 86400/each))
}

// perWindow returns how many events a window of so many seconds has.
func (l Load) perWindow(width float64) float64 { return max(1, width/l.Interval.Seconds()) }

// hot returns how many days of minutes are in SQL, and how many in Parquet.
func (l Load) hot() (hot, old float64) {
	hot = l.kept(l.KeepRollups)
	if l.HotMinutes > 0 {
		all := hot
		hot = min(all, l.kept(l.HotMinutes))
		old = all - hot
	}
	return hot, old
}
