package cost

import (
	"fmt"
	"time"

	"weir/internal/platform/prom"
)

// Unit is the size of one thing, and where that number is from.
type Unit struct {
	Value float64 `json:"value"`
	Of    string  `json:"of"`
	From  string  `json:"from"`
}

// Units are the sizes of the parts of a load.
type Units struct {
	Log    Unit `json:"log_record"`
	Raw    Unit `json:"raw_event"`
	Dead   Unit `json:"dead_letter"`
	Minute Unit `json:"minute_row"`
	Old    Unit `json:"minute_in_parquet"`
	Hour   Unit `json:"hour_row"`
	Day    Unit `json:"day_row"`
	CPU    Unit `json:"cpu"`
}

// cpuEvent is the CPU time of an event, from the request to all stores.
const cpuEvent = 77 // microseconds, at 5,000 events a second, uncompressed

// Model returns the units of a load according to the measured constants.
func Model(l Load) Units {
	of := func(value float64, what string) Unit { return Unit{value, what, "model"} }
	cpu := float64(cpuEvent)
	if l.Compressed {
		cpu += zstdCPU(l.batched(), l.Groups)
	}
	// One object per period, which retention merges if it is small.
	perObject := max(1, l.PerSecond()*l.RawPeriod.Seconds()/leastNodes)
	return Units{
		Log:    of(l.recordBytes(), "bytes a record of the log"),
		Raw:    of(l.RawBytes(max(perObject, 5000)), "bytes an event in Parquet"),
		Dead:   Unit{deadLetter, "bytes a dead letter", "assumed"},
		Minute: of(l.RowBytes(Minute), "bytes a minute of a device in SQL"),
		Old:    of(l.oldMinuteBytes(), "bytes a minute of a device in Parquet"),
		Hour:   of(l.RowBytes(Hour), "bytes an hour of a device in SQL"),
		Day:    of(l.RowBytes(Day), "bytes a day of a device in SQL"),
		CPU:    of(cpu, "microseconds of a core an event"),
	}
}

// Counters are sums of the counters of weir's processes since they started.
type Counters struct {
	Accepted, RawRows, RawBytes, DeadRows, DeadBytes, CPU float64
	Since                                                 time.Time // the first of them started
}

// Wanted tells whether Add reads a metric.
func Wanted(name string) bool {
	switch name {
	case "weir_gate_accepted_events_total", "weir_raw_rows_total", "weir_raw_written_bytes_total",
		"weir_dead_letter_rows_total", "weir_dead_letter_written_bytes_total", "process_cpu_seconds_total",
		"process_start_time_seconds":
		return true
	}
	return false
}

// Add adds the counters of one process.
func (c *Counters) Add(s prom.Scrape) {
	for name, to := range map[string]*float64{
		"weir_gate_accepted_events_total": &c.Accepted, "weir_raw_rows_total": &c.RawRows,
		"weir_raw_written_bytes_total": &c.RawBytes, "weir_dead_letter_rows_total": &c.DeadRows,
		"weir_dead_letter_written_bytes_total": &c.DeadBytes, "process_cpu_seconds_total": &c.CPU,
	} {
		for _, series := range s.Series[name] {
			*to += series.Value
		}
	}
	for _, series := range s.Series["process_start_time_seconds"] {
		if at := time.UnixMilli(int64(series.Value * 1000)); c.Since.IsZero() || at.Before(c.Since) {
			c.Since = at
		}
	}
}

// enough is how many of a thing must have been counted to derive its size.
const enough = 1000

// Measured returns the load with the counted values, and its units. devices is how many send; 0:
// not known, then it follows from the rate and the load's interval. Units with fewer than enough
// counts stay those of the model.
func (c Counters) Measured(l Load, devices float64, now time.Time) (Load, Units) {
	over := now.Sub(c.Since).Round(time.Second)
	if rate := c.Accepted / over.Seconds(); c.Accepted > 0 && over > 0 && !c.Since.IsZero() {
		l.Devices, l.Hours = rate*l.Interval.Seconds(), 24
		if devices > 0 {
			l.Devices, l.Interval = devices, time.Duration(devices/rate*float64(time.Second))
		}
	}
	if c.Accepted >= enough {
		l.DeadShare = min(1, c.DeadRows/c.Accepted)
	}
	u := Model(l)
	measure := func(u *Unit, sum, n float64, of string) {
		if n >= enough && sum > 0 {
			u.Value, u.From = sum/n, fmt.Sprintf("measured: %.0f %s in %s", n, of, over)
		} else {
			u.From += fmt.Sprintf(" (only %.0f %s were counted)", n, of)
		}
	}
	measure(&u.Raw, c.RawBytes, c.RawRows, "events")
	measure(&u.Dead, c.DeadBytes, c.DeadRows, "dead letters")
	measure(&u.CPU, c.CPU*1e6, c.Accepted, "events")
	return l, u
}

// List returns all units, in an order for people.
func (u Units) List() []Unit {
	return []Unit{u.Log, u.Raw, u.Dead, u.Minute, u.Old, u.Hour, u.Day, u.CPU}
}
