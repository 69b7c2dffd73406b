package rule

import (
	"bytes"
	"cmp"
	"slices"
)

// sequence is what a rule keeps of a key to find its pattern.
type sequence struct {
	rows     []row // from the first event of the oldest attempt on
	early    []row // events whose turn has not come yet, in the order in which it will
	attempts []attempt
}

// row is an event as the pattern sees it.
type row struct {
	at     int64
	id     [16]byte
	offset int64
	holds  uint64   // the variables that it may be
	values []string // of the columns, as JSON
}

// attempt is all the ways in which the pattern may go on from a first event. It
// is decided when no way is left that is preferred to the one that was found.
type attempt struct {
	first   int // its row
	threads []thread
	best    path
	silent  bool // best ends with what did not come
}

// thread is one way in which the pattern has matched so far; the threads of an
// attempt are in the order in which a search that goes back would try them.
type thread struct {
	at    int // the place of the program that takes the next row
	path  path
	terms []termState
}

// path is which variable each row is, from the first on.
type path []span

// span is so many rows of a variable.
type span struct{ v, n int }

const (
	maxRows    = 1000   // of matches that are not decided, those between left out
	maxEarly   = 10_000 // of a key, that wait for their time
	maxThreads = 256    // of a key
	maxKept    = 1024   // bytes of a value
	// compactEvery is after how many rows those that nothing needs are left out.
	compactEvery = 8
)

// with is the path with one row more.
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

// matcher takes one key's events, one after the other.
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

// take takes the next row of the key. The time of its attempts is over first,
// where the row is later than that.
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

// step lets an attempt take a row.
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
			if next == matched { // what is less preferred is out
				a.best = longer
				return
			}
			m.spread(a, thread{next, longer, terms})
		}
	}
}

// takes tells whether a place takes a row.
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

// is tells whether a row is of a variable. A condition that cannot be evaluated
// on what was matched says no.
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

// spread adds a thread, but for one that can come to nothing else than one that
// is preferred to it.
func (m *matcher) spread(a *attempt, t thread) {
	if len(a.threads) > m.k.form.limits.ways {
		return // it is given up
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

// expire decides the attempts whose time is over before a time.
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

// deadline is the last moment at which an event can belong to an attempt.
func (m *matcher) deadline(a *attempt) int64 { return m.rows[a.first].at + m.within }

// end decides an attempt by what it has.
func (m *matcher) end(a *attempt) {
	for _, t := range a.threads {
		if m.prog.places[t.at].wait {
			a.best, a.silent = t.path.mapped(), true
			break
		}
	}
	a.threads = nil
}

// mapped is the path up to its last row that is of a variable.
func (p path) mapped() path {
	if n := len(p); n > 0 && p[n-1].v == gapRow {
		return p[:n-1]
	}
	return p
}

// settle tells the matches that are decided, in the order of their first events:
// where the search goes on depends on those before.
func (m *matcher) settle() {
	m.attempts = slices.DeleteFunc(m.attempts, func(a attempt) bool { return len(a.threads) == 0 && a.best == nil })
	for len(m.attempts) > 0 && len(m.attempts[0].threads) == 0 {
		a := m.attempts[0]
		m.p.matched(m, &a)
		from := m.goesOn(&a)
		m.attempts = slices.DeleteFunc(m.attempts, func(o attempt) bool { return o.first < from })
	}
}

// goesOn is the first row at which the next match may begin.
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
	case m.skip.to == skipPastLast || of < 0: // the match has none of the variable
		return at
	}
	return max(of, next)
}

// bound gives the oldest attempts up when there are too many ways, or rows. What
// they had found is told.
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

// prune lets go of rows that no attempt needs; the last one is kept for those
// that ask for the event before.
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

// compact leaves out the rows that are of no variable in any way: what lies
// between is not kept, however much it is. The last row stays, as the one before
// the next.
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
	kept := make([]int, len(used)+1) // how many rows before one stay
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

// eachPath replaces each way in which an attempt went on, or ended.
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
