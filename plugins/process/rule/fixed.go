package rule

import "slices"

// fixed is the kind of rules with windows of a grid: tumbling, sliding, or of a calendar. A window is closed when the
// partition's time reaches its end, and closed for good when the allowed lateness has passed as well.
type fixed struct{}

func (fixed) add(p *partition, op *operator, k *keyState, e *record, args []arg) (int64, bool) {
	g := op.window.grid
	start := g.at(e.At)
	first, last := g.ends(start)
	if by := p.time - op.window.lateness - last; by >= 0 {
		return by, false
	}
	i, there := findPane(k.panes, start)
	if !there {
		k.panes = slices.Insert(k.panes, i, pane{start: start})
	}
	k.panes[i].add(op.cols, e, args)
	k.fresh = true
	for end := first; end <= last && (k.form.emit.update || end <= p.time); end = g.after(end) {
		switch {
		case end > p.time:
			p.tell(op, k, end, statusProvisional)
		case end+op.window.lateness > p.time:
			p.tell(op, k, end, statusFinal)
		}
	}
	k.fresh = !k.form.emit.update
	return 0, true
}

func findPane(panes []pane, start int64) (int, bool) {
	if n := len(panes); n > 0 && panes[n-1].start == start { // most events are of the newest pane
		return n - 1, true
	}
	return slices.BinarySearchFunc(panes, start, func(p pane, start int64) int {
		switch {
		case p.start < start:
			return -1
		case p.start > start:
			return 1
		}
		return 0
	})
}

// tell emits the result of the window that ends at end, if it has events.
func (p *partition) tell(op *operator, k *keyState, end int64, status status) {
	g := op.window.grid
	start := g.start(end)
	i, _ := findPane(k.panes, start)
	var whole pane
	for ; i < len(k.panes) && k.panes[i].start < end; i++ {
		whole.merge(&k.panes[i])
	}
	if whole.n > 0 {
		p.result(op, k, window{id: end, start: start, end: end, status: status}, &whole)
	}
}

func (fixed) ring(p *partition, op *operator, k *keyState) {
	g := op.window.grid
	for _, end := range closing(g, k, p.time) {
		p.tell(op, k, end, statusFinal)
	}
	if every := k.form.emit.every; every > 0 && k.fresh && floor(p.time, every) == p.time {
		for _, end := range open(g, k, p.time) {
			p.tell(op, k, end, statusProvisional)
		}
		k.fresh = false
	}
	gone := 0
	for _, pane := range k.panes {
		if _, last := g.ends(pane.start); last+op.window.lateness > p.time {
			break
		}
		gone++
	}
	k.panes = slices.Delete(k.panes, 0, gone)
	k.told = slices.DeleteFunc(k.told, func(t told) bool { return t.window+op.window.lateness <= p.time })
}

// closing returns at if a window ends at that time, else nothing. The key need not have events in the window.
func closing(g *grid, k *keyState, at int64) []int64 {
	if g.after(at-1) == at {
		return []int64{at}
	}
	return nil
}

// open returns the ends, later than a time, of the windows in which the key has events.
func open(g *grid, k *keyState, at int64) (ends []int64) {
	for _, pane := range k.panes {
		first, last := g.ends(pane.start)
		if len(ends) > 0 {
			first = max(first, ends[len(ends)-1]+1)
		}
		if first = max(first, at+1); first <= last {
			for end := g.after(first - 1); end <= last; end = g.after(end) {
				ends = append(ends, end)
			}
		}
	}
	return ends
}

func (fixed) due(p *partition, op *operator, k *keyState) int64 {
	g, due := op.window.grid, int64(never)
	for i, pane := range k.panes {
		first, last := g.ends(pane.start)
		if i == 0 {
			due = last + op.window.lateness // the pane is deleted then
		}
		if last <= p.time {
			continue
		}
		if first <= p.time {
			first = g.after(p.time)
		}
		due = min(due, first)
		if k.form.emit.every > 0 && k.fresh {
			due = min(due, floor(p.time, k.form.emit.every)+k.form.emit.every)
		}
		break
	}
	for _, t := range k.told {
		due = min(due, t.window+op.window.lateness)
	}
	return due
}
