package admission

import "time"

// offsets of a topic by partition.
type offsets map[int32]int64

// sample is where the log ended at a time.
type sample struct {
	at   time.Time
	ends offsets
}

// progress is how much of the log a group had processed at a time.
type progress struct {
	at   time.Time
	done int64 // sum of its committed offsets
}

// lagMeter turns offsets into readings. It remembers where the log ended when,
// and so can tell how long ago a record that a group has yet to process was
// written.
type lagMeter struct {
	limits  Bounds
	ends    []sample // oldest first
	groups  map[string][]progress
	latest  map[string]reading // of each group
	spacing time.Duration
}

// drainWindow is over what time the drain is measured: sinks that commit every
// few seconds show as steady.
const drainWindow = 30 * time.Second

const maxSamples = 256

func newLagMeter(l Bounds) *lagMeter {
	return &lagMeter{limits: l, groups: map[string][]progress{}, latest: map[string]reading{},
		spacing: l.horizon() / maxSamples}
}

// horizon is the longest age that matters.
func (l Bounds) horizon() time.Duration {
	return time.Duration(float64(l.Age) * overrun * 1.1)
}

// seed adds what the log knows of the time before this process.
func (m *lagMeter) seed(at time.Time, ends offsets) { m.ends = append(m.ends, sample{at, ends}) }

// read takes a measurement and returns the reading of the group that is closest
// to its bounds, or beyond them the furthest.
func (m *lagMeter) read(now time.Time, starts, ends offsets, committed map[string]offsets) reading {
	m.remember(now, ends)
	var worst reading
	worstFill := -1.0
	for group, at := range committed {
		r := reading{group: group}
		r.drain, r.watched = m.drain(group, now, starts, at)
		for p, end := range ends {
			from := max(at[p], starts[p]) // what the log has dropped cannot be processed
			if from >= end {
				continue
			}
			r.records += int(end - from)
			r.age = max(r.age, m.age(now, p, from))
		}
		m.latest[group] = r
		fill := max(float64(r.records)/float64(m.limits.Records), float64(r.age)/float64(m.limits.Age))
		if fill > worstFill || fill == worstFill && group < worst.group {
			worst, worstFill = r, fill
		}
	}
	return worst
}

func (m *lagMeter) remember(now time.Time, ends offsets) {
	if n := len(m.ends); n > 0 && now.Sub(m.ends[n-1].at) < m.spacing {
		return
	}
	m.ends = append(m.ends, sample{now, ends})
	drop := 0
	for drop < len(m.ends)-1 && now.Sub(m.ends[drop+1].at) > m.limits.horizon() {
		drop++
	}
	m.ends = append(m.ends[:0], m.ends[drop:]...)
}

// age is how long ago the record at an offset was written, at least: the log
// reached beyond it at the sample that is found.
func (m *lagMeter) age(now time.Time, p int32, offset int64) time.Duration {
	for _, s := range m.ends {
		if s.ends[p] > offset {
			return now.Sub(s.at)
		}
	}
	return 0 // written since the last sample
}

// drain returns how many records a second the group processes, and over what
// time that was seen.
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
	return float64(done-past[0].done) / max(over, time.Second).Seconds(), over // one commit in an instant is no rate
}
