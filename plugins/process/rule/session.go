package rule

import "slices"

// sessions are windows of events of a key with gaps between them that are no longer than the rule's gap. A session is
// identified by its start. When an event connects two sessions, the later one is merged into the earlier; when an
// event comes before the start of a session, the session gets a new identity. Results of a session that no longer
// exists are retracted.
type sessions struct{}

// By pane, k.more holds the time of the latest event.

func (sessions) add(p *partition, op *operator, k *keyState, e *record, args []arg) (int64, bool) {
	gap, t := op.window.gap, e.At
	from, to := 0, 0 // the sessions that the event touches
	for from < len(k.panes) && k.more[from]+gap < t {
		from++
	}
	for to = from; to < len(k.panes) && k.panes[to].start-gap <= t; to++ {
	}
	if by := p.time - t - gap - op.window.lateness; from == to && by > 0 {
		return by, false
	}
	if to == from+1 && k.panes[from].start <= t { // the common case: the event extends one session
		k.panes[from].add(op.cols, e, args)
		k.more[from] = max(k.more[from], t)
		p.again(op, k, from)
		return 0, true
	}
	whole, last := pane{start: t, cells: k.room()}, t
	whole.add(op.cols, e, args)
	absorbed := slices.Clone(k.panes[from:to])
	for i := range absorbed {
		whole.start, last = min(whole.start, absorbed[i].start), max(last, k.more[from+i])
		whole.merge(&absorbed[i])
	}
	k.panes = slices.Replace(k.panes, from, to, whole)
	k.more = slices.Replace(k.more, from, to, last)
	for i := range absorbed {
		if absorbed[i].start != whole.start {
			p.absorb(op, k, &absorbed[i], whole.start)
		}
	}
	p.again(op, k, from)
	return 0, true
}

// again emits the result of session i if it is closed already and has just changed.
func (p *partition) again(op *operator, k *keyState, i int) {
	if s, end := &k.panes[i], k.more[i]+op.window.gap; end < p.time {
		p.result(op, k, window{id: s.start, start: s.start, end: end, status: statusFinal}, s)
	}
}

// absorb retracts the result of a session that is part of the one starting at into now.
func (p *partition) absorb(op *operator, k *keyState, gone *pane, into int64) {
	i := slices.IndexFunc(k.told, func(t told) bool { return t.window == gone.start })
	if i < 0 {
		return
	}
	if t := k.told[i]; !t.retracted {
		p.retract(op, k, t, into)
	}
	k.told = slices.Delete(k.told, i, i+1)
}

func (sessions) ring(p *partition, op *operator, k *keyState) {
	gap := op.window.gap
	for i := 0; i < len(k.panes); {
		s, end := &k.panes[i], k.more[i]+gap
		if end+1 == p.time {
			p.result(op, k, window{id: s.start, start: s.start, end: end, status: statusFinal}, s)
		}
		if end+op.window.lateness < p.time {
			k.told = slices.DeleteFunc(k.told, func(t told) bool { return t.window == s.start })
			k.panes, k.more = slices.Delete(k.panes, i, i+1), slices.Delete(k.more, i, i+1)
			continue
		}
		i++
	}
}

func (sessions) due(p *partition, op *operator, k *keyState) int64 {
	due := int64(never)
	for _, last := range k.more {
		end := last + op.window.gap
		if end >= p.time {
			due = min(due, end+1)
		}
		due = min(due, end+op.window.lateness+1)
	}
	return due
}
