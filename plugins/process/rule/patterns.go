package rule

import (
	"fmt"
	"slices"
	"time"

	"weir/internal/platform/predicate"
	"weir/internal/platform/rawjson"
)

// patterns looks for a pattern in the events of a key: in the order of their time, once the watermark has passed
// them, or in the order of the log. Matches are those of the row patterns of SQL:2016 (MATCH_RECOGNIZE): from each
// event on, the most preferred one.
type patterns struct{}

func (patterns) add(p *partition, op *operator, k *keyState, e *record, args []arg) (int64, bool) {
	oldest := p.time
	if op.pattern.arrival {
		oldest -= op.pattern.within
	}
	if by := oldest - e.At; by > 0 {
		return by, false
	}
	m := p.matcher(op, k)
	r := p.row(e, args)
	if op.pattern.arrival {
		m.take(r)
		return 0, true
	}
	i, _ := slices.BinarySearchFunc(m.early, r, compareRows)
	m.early = slices.Insert(m.early, i, r)
	return 0, true
}

// row returns what a pattern or join keeps of an event. All values share one allocation.
func (p *partition) row(e *record, args []arg) row {
	r := row{at: e.At, id: e.ID, offset: e.Offset, holds: p.holds, values: make([]string, len(args))}
	size := 0
	for i := range args {
		size += len(args[i].json)
	}
	all := make([]byte, 0, size)
	for i := range args {
		from := len(all)
		all = append(all, args[i].json...)
		r.values[i] = rawjson.Alias(all[from:])
	}
	return r
}

// passes reports whether an event leaves nothing behind, of a key without state: in the order of the log an event
// that begins no match, and is not late, need not be kept. It is called for rules without a pattern too (s is nil).
func (s *patternSpec) passes(p *partition, e *record) bool {
	return s != nil && s.arrival && !s.prev && p.holds&s.starts == 0 && p.time-s.within <= e.At
}

func (patterns) ring(p *partition, op *operator, k *keyState) {
	m := p.matcher(op, k)
	n := 0
	for ; n < len(m.early) && m.early[n].at < p.time; n++ {
		m.take(m.early[n])
	}
	if m.early = slices.Delete(m.early, 0, n); len(m.early) == 0 {
		m.early = nil // most keys have no event for a while: free the memory rather than reuse it
	}
	m.expire(p.time)
	m.prune()
}

func (patterns) due(p *partition, op *operator, k *keyState) int64 {
	m, due := p.matcher(op, k), int64(never)
	if len(m.early) > 0 {
		due = m.early[0].at + 1
	}
	for i := range m.attempts {
		if a := &m.attempts[i]; len(a.threads) > 0 {
			due = min(due, m.deadline(a)+1)
		}
	}
	if len(m.attempts) == 0 && len(m.rows) > 0 {
		due = min(due, m.rows[0].at+m.within+1)
	}
	return due
}

// full reports whether as many events of a key wait as its limit allows.
func (s *sequence) full(of *Rule, as *form) bool {
	return s != nil && (len(s.early) >= as.limits.waiting || of.join != nil && len(s.rows) >= as.limits.waiting)
}

// matched emits the result of a match.
func (p *partition) matched(m *matcher, a *attempt) {
	op := m.op
	panes := make([]pane, len(m.names)+1) // one for each variable, and one for the whole match
	for i := range panes {
		panes[i].cells = make([]cell, len(op.cols))
	}
	all := &panes[len(m.names)]
	first := &m.rows[a.first]
	w := window{id: first.offset, start: first.at, end: first.at, status: statusFinal}
	at := a.first
	for _, s := range a.best {
		for ; s.n > 0; s.n, at = s.n-1, at+1 {
			if s.v == gapRow {
				continue
			}
			r := &m.rows[at]
			e := record{At: int64(at), Offset: r.offset} // first and last are by the order of the match
			args := make([]arg, len(r.values))
			for i, json := range r.values {
				args[i] = arg{v: scalar(json), json: rawjson.Bytes(json)}
			}
			panes[s.v].add(op.cols, &e, args)
			all.add(op.cols, &e, args)
			w.start, w.end = min(w.start, r.at), max(w.end, r.at)
		}
	}
	if a.silent {
		w.end = first.at + m.within
	}
	values := []byte{'{'}
	for i := range op.values {
		v := &op.values[i]
		of := all
		if v.of >= 0 {
			of = &panes[v.of]
		}
		if i > 0 {
			values = append(values, ',')
		}
		values = v.appendValue(append(rawjson.AppendString(values, v.name), ':'), of)
	}
	p.tellValues(op, m.k, w, all, append(values, '}'))
}

// mayBe returns the variables that the current event may be, a bit each: those whose condition is true, and all
// whose condition looks back. On an error, which is the variable of the condition.
func (p *partition) mayBe(s *patternSpec) (holds uint64, which int, err error) {
	for v, e := range s.plain {
		if e == nil {
			holds |= 1 << v
			continue
		}
		yes, err := e.True(p.reader)
		if err != nil {
			return 0, v, err
		}
		if yes {
			holds |= 1 << v
		}
	}
	return holds, 0, nil
}

var errTooLong = fmt.Errorf("the value is longer than the %d bytes that are kept of one", maxKept)

// kept returns the JSON of a value for a row, nil for one that is missing. It is valid until the next evaluate.
func (p *partition) kept(v predicate.Value) ([]byte, error) {
	if v.Kind == predicate.Missing {
		return nil, nil
	}
	from := len(p.json)
	p.json = appendScalar(p.json, v)
	if len(p.json)-from > maxKept {
		return nil, errTooLong
	}
	return p.json[from:len(p.json):len(p.json)], nil
}

// describe says in words what the pattern looks for, and when a match is emitted.
func (s *patternSpec) describe(delay time.Duration) string {
	text := fmt.Sprintf("the pattern %s within %s, ", s.source, time.Duration(s.within)*time.Microsecond)
	if s.arrival {
		text += "in the order of the log, emitted with the event that decides it"
	} else {
		text += fmt.Sprintf("in the order of time, emitted %s after the event that decides it", delay)
	}
	if slices.ContainsFunc(s.prog.places, func(p patternPlace) bool { return p.wait }) {
		text += fmt.Sprintf("; a match that ends with ! is emitted %s after the end of that time", delay)
	}
	text += "; then the search goes on " + s.skip.describe() + "; an event is late if it is older than the partition's " +
		"time"
	if s.arrival {
		return text + fmt.Sprintf(" by more than %s", time.Duration(s.within)*time.Microsecond)
	}
	return text
}

func (s skip) describe() string {
	switch s.to {
	case skipNext:
		return "at the event after its first"
	case skipFirst, skipLast:
		return "at " + s.text
	}
	return "after its last event"
}
