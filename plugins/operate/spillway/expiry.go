package spillway

import (
	"slices"
	"time"

	"weir/internal/event"
)

// position is what the log, the groups and the spillway's own progress say of
// one partition.
type position struct {
	start, end int64            // of the log: the first record, and one past the last
	expiring   int64            // records before it expire within the margin
	deep       int64            // records before it are beyond the depth
	spilled    int64            // records before it have been through here
	committed  map[string]int64 // the next record of each group
}

// run is [first, limit) of a partition.
type run struct{ first, limit int64 }

func (r run) len() int64 { return max(r.limit-r.first, 0) }

// due is what must be dead-lettered now: what is about to go, has not gone
// through here, and some group has not processed.
func (p *position) due() run {
	if len(p.committed) == 0 {
		return run{}
	}
	behind := p.end
	for _, next := range p.committed {
		behind = min(behind, next)
	}
	r := run{max(p.start, p.spilled, behind), max(p.expiring, p.deep)}
	if r.len() == 0 {
		return run{}
	}
	return r
}

// missedBy names the groups that have not processed a record, sorted.
func (p *position) missedBy(offset int64) []string {
	var groups []string
	for g, next := range p.committed {
		if next <= offset {
			groups = append(groups, g)
		}
	}
	slices.Sort(groups)
	return groups
}

// reason says why a record is due.
func (p *position) reason(offset int64) event.Code {
	if offset < p.expiring {
		return event.CodeExpired
	}
	return event.CodeOverflow
}

// gaps are the records of each group that the log deleted before the group
// processed them and before they could be dead-lettered. What lies before
// spilled was dead-lettered for every group that missed it.
func (p *position) gaps() map[string]run {
	var out map[string]run
	for g, next := range p.committed {
		r := run{max(next, p.spilled), p.start}
		if r.len() == 0 {
			continue
		}
		if out == nil {
			out = map[string]run{}
		}
		out[g] = r
	}
	return out
}

// horizon is the time before which records are due. A margin of half the
// retention or more would dead-letter what merely waits; half is the most.
func horizon(now time.Time, retention, margin time.Duration) time.Time {
	return now.Add(-(retention - min(margin, retention/2)))
}
