package rule

import (
	"bytes"
	"cmp"
	"slices"
)

// sequence is the state of a key in a rule that keeps events one by one: a pattern, or a join, which uses rows only.
type sequence struct {
	rows     []row     // of a pattern: from the first event of the oldest attempt on
	early    []row     // events that the watermark has not passed yet, sorted by compareRows
	attempts []attempt // sorted by first
}

// row is what a pattern or join keeps of an event.
type row struct {
	at     int64
	id     [16]byte
	offset int64
	holds  uint64   // the variables that it may be, a bit each; of a join, its sides
	values []string // by column, as JSON; "": missing in the event
}

// attempt is the search for a match that begins with one event. It holds all ways in which the pattern can still
// continue from there. It is decided when no way is left that is preferred to the match that was found.
type attempt struct {
	first   int // the index of its first row
	threads []thread
	best    path // the most preferred match so far; nil: none
	silent  bool // best ends because nothing that the pattern excludes came in time
}

// thread is one way in which the pattern has matched so far. The threads of an attempt are in order of preference:
// the order in which a backtracking search would try them.
type thread struct {
	at    int // the place in the program that takes the next row
	path  path
	terms []termState
}

// path assigns a variable to each row of an attempt, from its first row on.
type path []span

// span is n rows in succession that are of variable v, or of none if v is gapRow.
type span struct{ v, n int }

const (
	maxRows    = 1000   // rows of a key, from the first undecided match on, without those that compact removed
	maxEarly   = 10_000 // rows of a key that wait for the watermark
	maxThreads = 256    // threads of a key
	maxKept    = 1024   // bytes of a value
	// compactEvery is the number of rows after which compact runs.
	compactEvery = 8
)

// with returns the path extended by a row. It does not change p, which other threads share.
func (p path) with(v int) path {
	if n := len(p); n > 0 && p[n-1].v == v {
		longer := slices.Clone(p)
		longer[n-1].n++
		return longer
	}
	return append(p[:len(p):len(p)], span{v, 1})
}

func (s *sequence) empty() bool { return len(s.rows) == 0 && len(s.early) == 0 && len(s.attempts) == 0 }

func compareRows(a, b row) int {
	return cmp.Or(cmp.Compare(a.at, b.at), bytes.Compare(a.id[:], b.id[:]), cmp.Compare(a.offset, b.offset))
}

// matcher feeds the events of one key to a pattern, one after the other.
type matcher struct {
	p  *partition
	op *operator
	k  *keyState
	*sequence
	*patternSpec
}

func (p *partition) matcher(op *operator, k *keyState) *matcher {
	return &matcher{p, op, k, k.seq, op.pattern}
}

// take feeds the next row of the key to all attempts, and begins one with it where the pattern can begin. Attempts
// whose time is over when the row comes are decided first.
func (m *matcher) take(r row) {
	m.expire(r.at)
	m.rows = append(m.rows, r)
	at := len(m.rows) - 1
	for i := range m.attempts {
		m.step(&m.attempts[i], at)
	}
	if r.holds&m.starts != 0 {
		fresh := attempt{first: at}
		for _, place := range m.prog.start {
			fresh.threads = append(fresh.threads, thread{at: place, terms: make([]termState, len(m.terms))})
		}
		m.step(&fresh, at)
		m.attempts = append(m.attempts, fresh)
	}
	m.settle()
	m.bound()
	m.prune()
	if len(m.rows)%compactEvery == 0 && len(m.attempts) > 0 {
		m.compact()
	}
}

// step feeds a row to an attempt. Threads that do not take it end; the others go on in order of preference.
func (m *matcher) step(a *attempt, at int) {
	before := a.threads
	a.threads = nil
	for i := range before {
		t := &before[i]
		place := &m.prog.places[t.at]
		if !m.takes(place, t, at) {
			continue
		}
		longer, terms := t.path.with(place.v), m.termsWith(t, place.v, at)
		for _, next := range place.next {
			if next == matched { // all threads after this one are less preferred
				a.best = longer
				return
			}
			m.spread(a, thread{next, longer, terms})
		}
	}
}

// takes reports whether a place takes a row.
func (m *matcher) takes(place *patternPlace, t *thread, at int) bool {
	if place.v >= 0 {
		return m.is(place.v, t, at)
	}
	for v := 0; place.not>>v != 0; v++ {
		if place.not>>v&1 == 1 && m.is(v, t, at) {
			return false
		}
	}
	return true
}

// is reports whether a row is of a variable. A condition that looks back, and cannot be evaluated on what was
// matched, counts as false.
func (m *matcher) is(v int, t *thread, at int) bool {
	r := &m.rows[at]
	if r.holds>>v&1 == 0 || m.looks[v] == nil {
		return r.holds>>v&1 == 1
	}
	values := m.p.values[:0]
	for _, f := range m.fills {
		switch {
		case f.term >= 0:
			values = append(values, m.terms[f.term].value(&t.terms[f.term]))
		case !f.prev:
			values = append(values, scalar(r.values[f.col]))
		case at > 0 && r.at-m.rows[at-1].at <= m.within:
			values = append(values, scalar(m.rows[at-1].values[f.col]))
		default:
			values = append(values, scalar("null"))
		}
	}
	m.p.values = values
	m.op.looking.Set(values)
	yes, err := m.looks[v].True(m.op.looking)
	return err == nil && yes
}

func (m *matcher) termsWith(t *thread, v, at int) []termState {
	if v < 0 || !slices.ContainsFunc(m.terms, func(t term) bool { return t.v == v }) {
		return t.terms
	}
	terms := slices.Clone(t.terms)
	for i := range m.terms {
		if m.terms[i].v == v {
			m.terms[i].add(&terms[i], m.rows[at].values)
		}
	}
	return terms
}

// spread adds a thread to an attempt, unless a more preferred one is at the same place with the same terms: both
// would match the same from there on.
func (m *matcher) spread(a *attempt, t thread) {
	if len(a.threads) > m.k.form.limits.ways {
		return // bound gives an attempt up for this
	}
	for i := range a.threads {
		o := &a.threads[i]
		if o.at != t.at {
			continue
		}
		same := true
		for j := range m.terms {
			same = same && (!m.prog.places[t.at].looks || m.terms[j].same(&o.terms[j], &t.terms[j]))
		}
		if same {
			return
		}
	}
	a.threads = append(a.threads, t)
}

// expire decides the attempts whose deadline is before a time.
func (m *matcher) expire(before int64) {
	over := false
	for i := range m.attempts {
		if a := &m.attempts[i]; len(a.threads) > 0 && m.deadline(a) < before {
			m.end(a)
			over = true
		}
	}
	if over {
		m.settle()
	}
}

// deadline returns the last time at which an event can belong to an attempt.
func (m *matcher) deadline(a *attempt) int64 { return m.rows[a.first].at + m.within }

// end decides an attempt when its time is over: it matches when a thread waits in a gap at the pattern's end, which
// is preferred to best, or when it has a best already.
func (m *matcher) end(a *attempt) {
	for _, t := range a.threads {
		if m.prog.places[t.at].wait {
			a.best, a.silent = t.path.mapped(), true
			break
		}
	}
	a.threads = nil
}

// mapped returns the path without the gap at its end.
func (p path) mapped() path {
	if n := len(p); n > 0 && p[n-1].v == gapRow {
		return p[:n-1]
	}
	return p
}

// settle emits the matches that are decided, in the order of their first events. It stops at the first attempt that
// is undecided, because that one's match decides where the next may begin.
func (m *matcher) settle() {
	m.attempts = slices.DeleteFunc(m.attempts, func(a attempt) bool { return len(a.threads) == 0 && a.best == nil })
	for len(m.attempts) > 0 && len(m.attempts[0].threads) == 0 {
		a := m.attempts[0]
		m.p.matched(m, &a)
		from := m.goesOn(&a)
		m.attempts = slices.DeleteFunc(m.attempts, func(o attempt) bool { return o.first < from })
	}
}

// goesOn returns the first row at which the next match may begin, after the match of an attempt.
func (m *matcher) goesOn(a *attempt) int {
	next, at, of := a.first+1, a.first, -1
	for _, s := range a.best {
		if s.v == m.skip.v && (m.skip.to == skipLast || of < 0) {
			if of = at; m.skip.to == skipLast {
				of = at + s.n - 1
			}
		}
		at += s.n
	}
	switch {
	case m.skip.to == skipNext:
		return next
	case m.skip.to == skipPastLast || of < 0: // of < 0: the match has no event of the variable
		return at
	}
	return max(of, next)
}

// bound gives up the oldest attempts while a key has too many threads or rows. A match that such an attempt had
// found already is emitted.
func (m *matcher) bound() {
	for len(m.attempts) > 0 {
		ways := 0
		for i := range m.attempts {
			ways += len(m.attempts[i].threads)
		}
		if ways <= m.k.form.limits.ways && len(m.rows)-m.attempts[0].first <= maxRows {
			return
		}
		m.op.givenUp++
		m.p.misses = append(m.p.misses, Miss{Rule: m.op.Name, Offset: m.rows[m.attempts[0].first].offset,
			Outcome: OverLimit, Why: "the oldest partial match of its key is given up: there are too many"})
		m.attempts[0].threads = nil
		m.settle()
	}
}

// prune deletes the rows before the first attempt. When a condition uses prev(), the last row is kept for as long as
// the next event could still see it.
func (m *matcher) prune() {
	gone := len(m.rows)
	if len(m.attempts) > 0 {
		gone = m.attempts[0].first
	}
	if m.prev && gone > 0 && gone == len(m.rows) && m.rows[gone-1].at+m.within >= m.p.time {
		gone--
	}
	m.rows = slices.Delete(m.rows, 0, gone)
	for i := range m.attempts {
		m.attempts[i].first -= gone
	}
}

// compact deletes the rows that are of no variable in any path, so that long gaps take no memory. The last row
// stays, because prev() of the next row refers to it.
func (m *matcher) compact() {
	used := make([]bool, len(m.rows))
	used[len(used)-1] = true
	m.eachPath(func(first int, p path) path {
		for at, i := first, 0; i < len(p); at, i = at+p[i].n, i+1 {
			for j := at; j < at+p[i].n && p[i].v != gapRow; j++ {
				used[j] = true
			}
		}
		return p
	})
	kept := make([]int, len(used)+1) // by row: how many rows before it stay
	for i, u := range used {
		if kept[i+1] = kept[i]; u {
			m.rows[kept[i]] = m.rows[i]
			kept[i+1]++
		}
	}
	if kept[len(used)] == len(used) {
		return
	}
	m.eachPath(func(first int, p path) path {
		shorter := make(path, 0, len(p))
		at := first
		for _, s := range p {
			if n := kept[at+s.n] - kept[at]; n > 0 {
				shorter = append(shorter, span{s.v, n})
			}
			at += s.n
		}
		return shorter
	})
	for i := range m.attempts {
		m.attempts[i].first = kept[m.attempts[i].first]
	}
	clear(m.rows[kept[len(used)]:])
	m.rows = m.rows[:kept[len(used)]]
}

// eachPath replaces every path of every attempt.
func (m *matcher) eachPath(with func(first int, p path) path) {
	for i := range m.attempts {
		a := &m.attempts[i]
		if a.best != nil {
			a.best = with(a.first, a.best)
		}
		for j := range a.threads {
			a.threads[j].path = with(a.first, a.threads[j].path)
		}
	}
}
