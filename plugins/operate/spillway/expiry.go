package spillway

import (
	"slices"
	"time"

	"weir/internal/event"
)

// position describes one partition: the log, the positions of the groups, and how far the spillway
// has read.
type position struct {
	start, end int64            // of the log: its first offset, and the one after its last record
	expiring   int64            // first offset that stays in the log for longer than the margin
	deep       int64            // first offset within the allowed depth
	spilled    int64            // first offset that the spillway has not handled
	committed  map[string]int64 // group -> its next offset
}

// run is the offsets [first, limit) of a partition.
type run struct{ first, limit int64 }

func (r run) len() int64 { return max(r.limit-r.first, 0) }

// due returns which records must be dead-lettered now: those that will soon be deleted or are too
// deep, that the spillway has not handled, and that at least one group has not processed.
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

// missedBy returns the groups that have not processed a record, sorted.
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

// reason returns why a record is due.
func (p *position) reason(offset int64) event.Code {
	if offset < p.expiring {
		return event.CodeExpired
	}
	return event.CodeOverflow
}

// gaps returns, for each group, the records that the log deleted before the group processed them
// and before they could be dead-lettered. Records before p.spilled are no gap: they were
// dead-lettered for every group that missed them.
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

// horizon returns the time before which records are due. The margin counts up to half of the
// retention: with more, records would be dead-lettered that are merely waiting.
func horizon(now time.Time, retention, margin time.Duration) time.Time {
	return now.Add(-(retention - min(margin, retention/2)))
}
