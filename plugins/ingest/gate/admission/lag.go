package admission

import (
	"time"

	"weir/internal/platform/kafka"
)

type offsets = map[kafka.Partition]int64

// progress is how much of the log a group had processed at a time.
type progress struct {
	at   time.Time
	done int64 // sum of its committed offsets
}

// lagMeter makes readings of offsets.
type lagMeter struct {
	limits  Bounds
	history *kafka.History
	groups  map[string][]progress
	latest  map[string]reading // of each group
	// holds returns how long the store of a group gathers records of a partition into a batch.
	holds func(group string, p kafka.Partition) time.Duration
}

// drainWindow is the time over which the drain is measured: long enough for sinks that commit every
// few seconds to look steady.
const drainWindow = 30 * time.Second

func newLagMeter(l Bounds) *lagMeter {
	return &lagMeter{limits: l, groups: map[string][]progress{}, latest: map[string]reading{},
		history: kafka.NewHistory(l.horizon()), holds: func(string, kafka.Partition) time.Duration { return 0 }}
}

// horizon returns the longest age that makes a difference.
func (l Bounds) horizon() time.Duration {
	return time.Duration(float64(l.Age) * overrun * 1.1)
}

// read takes a measurement and returns the reading of the group that is furthest behind, relative
// to the bounds. It keeps ends: the caller must not change them.
func (m *lagMeter) read(now time.Time, starts, ends offsets, committed map[string]offsets) reading {
	m.history.Note(now, ends)
	var worst reading
	worstFill := -1.0
	for group, at := range committed {
		r := reading{group: group}
		r.drain, r.watched = m.drain(group, now, starts, at)
		for p, end := range ends {
			from := max(at[p], starts[p]) // what the log has deleted cannot be processed
			if from >= end {
				continue
			}
			age := m.history.Age(now, p, from)
			r.records, r.age = r.records+int(end-from), max(r.age, age)
			r.behind = max(r.behind, age-m.holds(group, p))
		}
		m.latest[group] = r
		fill := max(float64(r.records)/float64(m.limits.Records), float64(r.age)/float64(m.limits.Age))
		if fill > worstFill || fill == worstFill && group < worst.group {
			worst, worstFill = r, fill
		}
	}
	return worst
}

// drain returns how many records a second the group processes, and over what time that was
// measured.
func (m *lagMeter) drain(group string, now time.Time, starts, at offsets) (float64, time.Duration) {
	var done int64
	for p, start := range starts {
		done += max(start, at[p])
	}
	past := m.groups[group]
	if n := len(past); n > 0 && done < past[n-1].done {
		past = past[:0] // its offsets were set back
	}
	past = append(past, progress{now, done})
	for len(past) > 2 && now.Sub(past[1].at) >= drainWindow {
		past = past[1:]
	}
	m.groups[group] = past
	over := now.Sub(past[0].at)
	return float64(done-past[0].done) / max(over, time.Second).Seconds(), over // a single commit is no rate
}
