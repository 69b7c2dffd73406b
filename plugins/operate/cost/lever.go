package cost

import (
	"cmp"
	"slices"
	"time"
)

// Lever is a change of the configuration, and what it saves in a month at the known prices.
type Lever struct {
	Change string  `json:"change"`
	How    string  `json:"how"`
	Saves  float64 `json:"usd_monthly_saved"`
}

// Levers returns the changes that save something, the largest saving first. Each is calculated
// alone: two that concern the same bytes save less together.
func Levers(e Estimate, prices Prices) (levers []Lever) {
	levers = []Lever{}
	if e.Total == nil {
		return levers
	}
	for _, c := range []struct {
		change, how string
		apply       func(*Load)
	}{
		{"minutes older than a week in Parquet", "WEIR_ROLLUP_OLD_URL, WEIR_ROLLUP_HOT=168h",
			func(l *Load) { l.HotMinutes = sooner(l.HotMinutes, 7*day) }},
		{"rollups for one year", "WEIR_ROLLUP_KEEP=8760h", func(l *Load) { l.KeepRollups = min(l.KeepRollups, 365*day) }},
		{"rollups for 90 days", "WEIR_ROLLUP_KEEP=2160h", func(l *Load) { l.KeepRollups = min(l.KeepRollups, 90*day) }},
		{"raw events for 30 days", "WEIR_RAW_KEEP=720h", func(l *Load) { l.KeepRaw = min(l.KeepRaw, 30*day) }},
		{"a log compressed by zstd", "WEIR_LOG_COMPRESSION=zstd",
			func(l *Load) { l.Compressed = true }},
		{"groups read from a replica in their zone", "WEIR_KAFKA_RACK, and brokers that know their racks",
			func(l *Load) { l.RackAware = true }},
		{"a compressed log in batches of 50 ms",
			"WEIR_LOG_COMPRESSION=zstd, WEIR_LOG_LINGER=50ms; each answer takes as much longer",
			func(l *Load) { l.Compressed, l.Linger = true, max(l.Linger, 50*time.Millisecond) }},
		{"one group fewer", "leave out configs/streams/rules.yaml or detect.yaml, if nobody needs them",
			func(l *Load) { l.Groups = max(0, l.Groups-1) }},
		{"raw objects each minute", "batching.period: 60s in configs/streams/raw.yaml; queries see events later",
			func(l *Load) { l.RawPeriod = max(l.RawPeriod, time.Minute) }},
		{"PostgreSQL without a standby",
			"after a loss, weir replay --mode rebuild makes rollups anew, as far back as raw events are kept",
			func(l *Load) { l.Standbys = 0 }},
	} {
		l := e.Load
		c.apply(&l)
		if l == e.Load {
			continue
		}
		if saves := *e.Total - *Of(l, e.Units.changed(e.Load, l), prices).Total; saves >= 0.01 {
			levers = append(levers, Lever{c.change, c.how, saves})
		}
	}
	slices.SortStableFunc(levers, func(a, b Lever) int { return cmp.Compare(b.Saves, a.Saves) })
	return levers
}

// sooner returns the shorter of two times; a have of 0 is no time.
func sooner(have, want time.Duration) time.Duration {
	if have == 0 {
		return want
	}
	return min(have, want)
}

// changed returns the units for another load: measured units are scaled as those of the model are.
func (u Units) changed(from, to Load) Units {
	before, after := Model(from), Model(to)
	scale := func(u *Unit, before, after Unit) { u.Value *= after.Value / before.Value }
	scale(&u.Log, before.Log, after.Log)
	scale(&u.Raw, before.Raw, after.Raw)
	return u
}
