package rule

import (
	"fmt"
	"math"
	"sort"
	"strings"

	"weir/internal/event"
	"weir/internal/platform/predicate"
	"weir/internal/platform/text"
)

// Outcome is what became of an event in a rule. Every event that was read has
// one in each.
type Outcome uint8

// The outcomes.
const (
	Counted   Outcome = iota // at least one window has it, or a pattern or join took it in
	Filtered                 // where says no, or both sides of a join
	Late                     // all of its windows were closed for good
	Failed                   // a condition or value could not be evaluated
	OverLimit                // of a new key, beyond those that its fleet may have, or too many of a key wait
	Outcomes                 // how many there are
)

// String is the outcome's name in metrics and results.
func (o Outcome) String() string {
	return [...]string{"counted", "filtered", "late", "failed", "over_limit"}[o]
}

// record is one event as the engine sees it.
type record struct {
	Fleet  string
	At     int64 // the time it counts at
	ID     [16]byte
	Offset int64
}

// Miss is an event that a rule did not count though it was to.
type Miss struct {
	Rule    string
	Topic   string // of a trial, if it is said
	Offset  int64
	Outcome Outcome
	By      int64  // Late: µs since its last window was closed for good
	Why     string // Failed
}

// none is the time of a partition of which nothing was read.
const none = math.MinInt64

// never is a timer that does not ring.
const never = math.MaxInt64

// partition is the state of a rule set for one partition of the log. It is for
// one goroutine.
type partition struct {
	set      *Set
	topic    string
	origin   string // which log its offsets are of
	number   int32
	delay    int64
	perFleet int64            // keys that a fleet may have in a rule
	from     string           // the topic of the event at hand
	sides    map[string]*side // of a join of two topics: where each stands
	only     []string         // the fleets that are counted; none: all
	fits     map[string]bool

	time    int64 // its watermark: no window that ends by it is open
	reader  *predicate.Reader
	whole   bool // rules look at more of an event than the reader's values
	ops     []*operator
	next    int64 // no timer rings before
	out     []Result
	bare    bool // what is told has no text: it goes to ends, where no text decides of it
	ends    []ending
	misses  []Miss
	args    []arg
	holds   uint64            // of a pattern: the variables that the event may be; of a join, its sides
	values  []predicate.Value // for its conditions
	key     []byte
	keyed   *Rule // whose key it is, of the event at hand; nil: of none
	found   bool  // of that key, peers are what there is
	peers   *peers
	groups  []together // by operator.group
	recount *recount   // nil: no journal is counted again
	json    []byte
}

// operator is a rule at work: its keys, and when they are due.
type operator struct {
	*Rule
	kind     kind
	keys     map[string]*keyState
	fleets   map[string]int64 // keys by fleet
	due      timers
	changed  []*keyState // since they were saved
	group    int         // of those with the same key; none: it looks for its keys itself
	peer     int         // which of them it is
	tally    Counts
	since    int64 // the offset at which it began to count
	before   int64 // how many records had come to rules before
	usual    form
	first    *form // in which it is told to firstFor; nil: there is no canary
	firstFor []string
	forms    map[string]*form  // by fleet, as looked up
	looking  *predicate.Reader // of conditions that look back
	givenUp  int64             // partial matches: there were too many
	beside   bool              // it is not of the rules that are in force for all
	turns    []turn            // who tells what; none: the rules in force, all
	last     int64             // of one that drains: the latest time at which what it tells began
	looked   int64             // of one that drains: it is not looked at before
}

// kind is what differs between windows.
type kind interface {
	// add counts an event for a key; it returns false, and by how much, when the
	// event is too late.
	add(p *partition, op *operator, k *keyState, e *record, args []arg) (by int64, ok bool)
	// ring does what is due at the partition's time, and nothing else.
	ring(p *partition, op *operator, k *keyState)
	// due is when a key has to be looked at again.
	due(p *partition, op *operator, k *keyState) int64
}

// keyState is what a rule keeps of a key. Panes are stretches of time, or
// sessions; they are in the order of their start.
type keyState struct {
	name  string // fleet, 0, JSON of the key's values
	panes []pane
	told  []told
	seq   *sequence // of a pattern or join
	more  []int64   // what a kind keeps beside: the ends of sessions, the number of a count window
	form  *form     // in which it is told
	due   int64
	dirty bool  // changed, and in no list of a checkpoint
	saved bool  // there is a row of it, or a checkpoint is to write one
	asOf  int64 // as it was read: the last entry of the journal that it counts
	fresh bool  // changed since a result was told of what is still open
}

func (k *keyState) empty() bool {
	return len(k.panes) == 0 && len(k.told) == 0 && (k.seq == nil || k.seq.empty())
}

// touch notes that a key is to be saved.
func (op *operator) touch(k *keyState) {
	if !k.dirty {
		k.dirty = true
		op.changed = append(op.changed, k)
	}
}

// told is what was said of a window: its next result has the next revision.
type told struct {
	window    int64 // its end; of a session, its start
	end       int64
	revision  int64 // of the next result
	final     bool  // it was said after the window was closed
	retracted bool
}

// newPartition returns the state of a partition of which nothing was read.
// Delay is how many µs out of order is normal.
func newPartition(set *Set, topic string, number int32, delay, keysPerFleet int64) *partition {
	p := &partition{set: set, topic: topic, number: number, delay: delay, perFleet: keysPerFleet, time: none,
		reader: set.layout.Reader(), next: never, from: topic}
	for _, r := range set.Rules {
		p.ops = append(p.ops, newOperator(r, set.Version))
		p.whole = p.whole || len(r.Slow) > 0
	}
	p.put()
	return p
}

func newOperator(r *Rule, version string) *operator {
	op := &operator{Rule: r, usual: r.form(version), keys: map[string]*keyState{}, fleets: map[string]int64{},
		group: ungrouped}
	switch {
	case r.pattern != nil:
		op.kind, op.looking = patterns{}, r.pattern.layout.Reader()
	case r.join != nil:
		op.kind = joins{}
	case r.window.grid != nil:
		op.kind = fixed{}
	case r.window.gap > 0:
		op.kind = sessions{}
	default:
		op.kind = counts{}
	}
	return op
}

// apply takes an event in. Results and misses collect in the partition. The
// error says that the event is no JSON object.
func (p *partition) apply(raw []byte, e record) error {
	if len(p.only) > 0 && !p.counts(e.Fleet) {
		p.advance(p.reached(e.At))
		for _, op := range p.ops {
			op.tally[Filtered]++
		}
		return nil
	}
	if err := p.reader.Read(raw); err != nil {
		return fmt.Errorf("reading an event: %w", err)
	}
	p.take(&e)
	return nil
}

// read reads an event, and what rules look at of it, in one pass.
func (p *partition) read(raw []byte, e *event.Event) error {
	if event.Skim(raw, e, p.reader.Fields(raw)) {
		return nil
	}
	if err := event.Parse(raw, e); err != nil {
		return err
	}
	return p.reader.Read(raw)
}

// take takes in the event that the reader has. It returns whether it is anything to any
// rule.
func (p *partition) take(e *record) (counted bool) {
	p.advance(p.reached(e.At))
	p.keyed, p.found, p.peers = nil, false, nil
	for _, op := range p.ops {
		o := p.applyTo(op, e)
		op.tally[o]++
		counted = counted || o != Filtered
	}
	return counted
}

// counts tells whether a fleet is counted.
func (p *partition) counts(fleet string) bool {
	fits, known := p.fits[fleet]
	if !known {
		if p.fits == nil {
			p.fits = map[string]bool{}
		}
		fits = among(p.only, fleet)
		p.fits[strings.Clone(fleet)] = fits
	}
	return fits
}

func (p *partition) applyTo(op *operator, e *record) Outcome {
	fail := func(err error) Outcome {
		p.misses = append(p.misses, Miss{Rule: op.Name, Offset: e.Offset, Outcome: Failed, Why: err.Error()})
		return Failed
	}
	if op.where != nil {
		yes, err := op.where.True(p.reader)
		switch {
		case err != nil:
			return fail(fmt.Errorf("where: %w", err))
		case !yes:
			return Filtered
		}
	}
	if err := p.evaluate(op.Rule, e); err != nil {
		return fail(err)
	}
	if op.join != nil && p.holds == 0 {
		return Filtered
	}
	k := p.find(op)
	if p.recount.has(op, k, p.key) {
		return Counted
	}
	isNew := k == nil
	if isNew {
		if op.pattern.passes(p, e) {
			return Counted
		}
		as := op.as(e.Fleet)
		if p.over(op, as, e.Fleet) {
			p.misses = append(p.misses, Miss{Rule: op.Name, Offset: e.Offset, Outcome: OverLimit})
			return OverLimit
		}
		k = newKey(p.nameOf(op), op.Rule)
		k.form = as
	}
	if k.seq.full(op.Rule, k.form) {
		p.misses = append(p.misses, Miss{Rule: op.Name, Offset: e.Offset, Outcome: OverLimit,
			Why: "too many events of its key wait for their time, or for partners"})
		return OverLimit
	}
	by, ok := op.kind.add(p, op, k, e, p.args)
	if !ok {
		p.misses = append(p.misses, Miss{Rule: op.Name, Offset: e.Offset, Outcome: Late, By: by})
		return Late
	}
	if isNew && k.empty() { // nothing of it is open, and nothing was
		return Counted
	}
	if isNew {
		p.admit(op, k)
		op.fleets[strings.Clone(e.Fleet)]++
	}
	op.touch(k)
	if p.schedule(op, k); k.empty() {
		p.forget(op, k)
	}
	return Counted
}

// makeKey makes the key that an event has in a rule. Most rules of a set have the
// same, which is made once.
func (p *partition) makeKey(r *Rule, e *record) error {
	if p.keyed != nil && p.keyed.keyText == r.keyText {
		return nil
	}
	p.keyed, p.found, p.peers = nil, false, nil
	p.key = append(append(append(p.key[:0], e.Fleet...), 0), '[')
	for i, part := range r.key {
		v, err := part.expr.Eval(p.reader)
		if err != nil {
			return fmt.Errorf("key %s: %w", part.name, err)
		}
		if v.Kind == predicate.Other {
			return fmt.Errorf("key %s: %w", part.name, errNoScalar)
		}
		if i > 0 {
			p.key = append(p.key, ',')
		}
		p.key = appendScalar(p.key, v)
	}
	p.key, p.keyed = append(p.key, ']'), r
	return nil
}

// evaluate makes the key and the arguments of the aggregates, so that an event
// is counted whole or not at all.
func (p *partition) evaluate(r *Rule, e *record) error {
	if err := p.makeKey(r, e); err != nil {
		return err
	}
	p.args, p.json = p.args[:0], p.json[:0]
	switch s := r.pattern; {
	case s != nil:
		holds, v, err := p.mayBe(s)
		if err != nil {
			return fmt.Errorf("define %s: %w", s.names[v], err)
		}
		p.holds = holds
	case r.join != nil:
		holds, err := p.ofSides(r.join)
		if err != nil {
			return err
		}
		p.holds = holds
	}
	for _, col := range r.cols {
		if col.vars != 0 && col.vars&p.holds == 0 {
			p.args = append(p.args, arg{})
			continue
		}
		v, err := col.expr.Eval(p.reader)
		if err != nil {
			return fmt.Errorf("%s: %w", col.expr, err)
		}
		if col.needs&needNumbers != 0 && !v.IsNumber() && v.Kind > predicate.Null {
			return fmt.Errorf("%s: %q is no number", col.expr, text.Shorten(v.String()))
		}
		a := arg{v: v}
		if r.keepsRows() {
			if a.json, err = p.kept(v); err != nil {
				return fmt.Errorf("%s: %w", col.expr, err)
			}
		} else if col.needs&needText != 0 && v.Kind > predicate.Null {
			from := len(p.json)
			p.json = appendScalar(p.json, v)
			a.json = p.json[from:len(p.json):len(p.json)]
		}
		p.args = append(p.args, a)
	}
	return nil
}

// schedule notes when a key has to be looked at. Looking at it too early does
// no harm, so that a session which goes on is noted once.
func (p *partition) schedule(op *operator, k *keyState) {
	due := op.kind.due(p, op, k)
	if due >= k.due {
		return
	}
	k.due = due
	op.due.add(due, k)
	p.next = min(p.next, due)
}

// advance moves time on, and does what falls due on the way: in the order of
// time, of the rules, and of the keys. Time does not go back.
func (p *partition) advance(to int64) {
	for p.next <= to {
		p.next = never
		at := int64(never)
		for _, op := range p.ops {
			at = min(at, op.due.next())
		}
		if at > to {
			p.next = at
			break
		}
		p.time = max(p.time, at)
		for _, op := range p.ops {
			if op.due.next() == at {
				p.ring(op, at)
			}
			p.next = min(p.next, op.due.next())
		}
	}
	p.time = max(p.time, to)
}

func (p *partition) ring(op *operator, at int64) {
	keys := op.due.take(at)
	sort.Slice(keys, func(i, j int) bool { return keys[i].name < keys[j].name })
	for _, k := range keys {
		if k.due != at || op.keys[k.name] != k {
			continue // it was noted for an earlier time since
		}
		op.touch(k)
		op.kind.ring(p, op, k)
		if k.empty() {
			p.forget(op, k)
			continue
		}
		k.due = never
		p.schedule(op, k)
	}
}

// forget ends a key of which nothing is open.
func (p *partition) forget(op *operator, k *keyState) {
	p.dismiss(op, k)
	fleet, _, _ := strings.Cut(k.name, "\x00")
	if op.fleets[fleet]--; op.fleets[fleet] == 0 {
		delete(op.fleets, fleet)
	}
	k.due = never
}
