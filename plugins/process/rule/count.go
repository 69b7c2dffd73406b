package rule

// counts is the kind of rules with a count window: a fixed number of events of a key, in the order of the log. A window
// that is not full when the rule's max has passed since its earliest event closes with what it has, so that a key that
// never comes again costs nothing.
type counts struct{}

// k.more[0] is the time of the window's latest event.

func (c counts) add(p *partition, op *operator, k *keyState, e *record, args []arg) (int64, bool) {
	if len(k.panes) > 0 && e.At-k.panes[0].start >= op.window.max {
		c.close(p, op, k)
	}
	if len(k.panes) == 0 {
		k.panes, k.more = append(k.panes, pane{start: e.At}), append(k.more[:0], e.At)
	}
	w := &k.panes[0]
	w.start, k.more[0] = min(w.start, e.At), max(k.more[0], e.At)
	if w.add(op.cols, e, args); w.n == op.window.count {
		c.close(p, op, k)
	}
	return 0, true
}

func (counts) close(p *partition, op *operator, k *keyState) {
	w := k.panes[0]
	p.result(op, k, window{id: w.first, start: w.start, end: k.more[0], status: statusFinal}, &w)
	k.panes = k.panes[:0]
}

func (c counts) ring(p *partition, op *operator, k *keyState) {
	if len(k.panes) > 0 && k.panes[0].start+op.window.max <= p.time {
		c.close(p, op, k)
	}
}

func (counts) due(_ *partition, op *operator, k *keyState) int64 {
	if len(k.panes) == 0 {
		return never
	}
	return k.panes[0].start + op.window.max
}
