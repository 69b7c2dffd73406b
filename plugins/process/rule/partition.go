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

// Outcome is what became of an event in a rule. Every event that reaches the rules has exactly one outcome in each
// rule.
type Outcome uint8

// The outcomes.
const (
	Counted   Outcome = iota // at least one window counts it, or a pattern or join took it in
	Filtered                 // where is false, or both sides of a join are
	Late                     // all of its windows were closed and past their allowed lateness
	Failed                   // a condition or value could not be evaluated
	OverLimit                // its key is new and its fleet has no room for it, or too many events of its key wait
	Outcomes                 // the number of outcomes
)

// String is the outcome's name in metrics and results.
func (o Outcome) String() string {
	return [...]string{"counted", "filtered", "late", "failed", "over_limit"}[o]
}

// record is one event as the engine sees it.
type record struct {
	Fleet  string
	At     int64 // the time at which it counts, in µs since 1970
	ID     [16]byte
	Offset int64
}

// Miss is an event that passed a rule's conditions, or could not be evaluated, and was not counted; or a partial
// match that was given up.
type Miss struct {
	Rule    string
	Topic   string // only in a trial whose events name their topics
	Offset  int64
	Outcome Outcome
	By      int64  // if Late: by how many µs
	Why     string // if Failed, and if OverLimit for another reason than the keys of its fleet
}

// none is the watermark of a partition of which nothing was read.
const none = math.MinInt64

// never is the time of a timer that does not fire.
const never = math.MaxInt64

// partition is the state of a rule set for one partition of the log. It is not safe for concurrent use.
type partition struct {
	set      *Set
	topic    string
	origin   string // the id of the log that its offsets belong to
	number   int32
	delay    int64            // µs by which the watermark follows the newest event
	perFleet int64            // keys that a fleet may have open in a rule
	from     string           // the topic of the current event
	sides    map[string]*side // of a join of two topics: the position in each, by topic
	only     []string         // names or patterns of the fleets that are counted; empty: all fleets
	fits     map[string]bool  // by fleet: whether only matches it

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

// operator is a rule with its state in a partition: the keys, and the timers at which they are due.
type operator struct {
	*Rule
	kind     kind
	keys     map[string]*keyState
	fleets   map[string]int64 // keys by fleet
	due      timers
	changed  []*keyState // changed since they were saved
	group    int         // the group of operators with the same key expressions, or ungrouped
	peer     int         // its index in that group
	tally    Counts
	since    int64 // the offset at which it began to count
	before   int64 // how many records had reached the rules of the partition before that
	usual    form
	first    *form // the form of the canary, for the fleets of firstFor; nil: there is no canary
	firstFor []string
	forms    map[string]*form  // cache of as, by fleet
	looking  *predicate.Reader // for the conditions of a pattern that look back
	givenUp  int64             // partial matches that were dropped because there were too many
	beside   bool              // it drains, or is active for some fleets only
	turns    []turn            // which epoch emits which windows; empty: the active rules emit all
	last     int64             // if it drains: it emits only windows that began by this time
	looked   int64             // if it drains: over is false until this time
}

// kind is the behaviour that differs between kinds of rule: grid, session and count windows, patterns and joins.
type kind interface {
	// add counts an event for a key. When the event is too late, ok is false and by says by how many µs.
	add(p *partition, op *operator, k *keyState, e *record, args []arg) (by int64, ok bool)
	// ring does what is due exactly at the watermark.
	ring(p *partition, op *operator, k *keyState)
	// due returns when ring must be called for a key next.
	due(p *partition, op *operator, k *keyState) int64
}

// keyState is the state of a key in a rule. A pane is a stretch of time, a session or a count window; panes are
// sorted by their start.
type keyState struct {
	name  string // fleet, a zero byte, and the JSON array of the key's values
	panes []pane
	told  []told    // sorted by window
	seq   *sequence // of a pattern or join
	more  []int64   // by pane, of a session or count window: the time of its latest event
	form  *form     // how its results are emitted
	due   int64
	dirty bool  // changed, and in no list of a checkpoint
	saved bool  // there is a row of it, or a checkpoint is to write one
	asOf  int64 // as it was read: the last entry of the journal that it counts
	fresh bool  // changed since a result was told of what is still open
}

func (k *keyState) empty() bool {
	return len(k.panes) == 0 && len(k.told) == 0 && (k.seq == nil || k.seq.empty())
}

// touch marks a key to be saved with the next commit.
func (op *operator) touch(k *keyState) {
	if !k.dirty {
		k.dirty = true
		op.changed = append(op.changed, k)
	}
}

// told remembers that a result of a window was emitted, so that its next result has the next revision.
type told struct {
	window    int64 // its end; of a session, its start
	end       int64
	revision  int64 // of the next result
	final     bool  // the last result was emitted after the window was closed
	retracted bool
}

// newPartition returns the state of a partition of which nothing was read. The watermark follows the newest event
// by delay, in µs; keysPerFleet is the limit of a fleet's open keys in a rule, 0 for none.
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

// apply evaluates the rules on an event. Results and misses are collected in the partition. The error means that
// raw is not a JSON object, and nothing changed.
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

// read parses an event and extracts the values that rules need, in one pass where event.Skim can.
func (p *partition) read(raw []byte, e *event.Event) error {
	if event.Skim(raw, e, p.reader.Fields(raw)) {
		return nil
	}
	if err := event.Parse(raw, e); err != nil {
		return err
	}
	return p.reader.Read(raw)
}

// release lets go of the event that the reader holds.
func (p *partition) release() {
	p.reader.Release()
	clear(p.args[:cap(p.args)])
	clear(p.values[:cap(p.values)])
	for _, op := range p.ops {
		if op.looking != nil {
			op.looking.Release()
		}
	}
}

// take evaluates the rules on the event that the reader holds. It returns false when every rule filtered it out:
// then only the watermark may have moved.
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

// counts reports whether only, which is not empty, matches a fleet.
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
	if isNew && k.empty() { // the event left nothing open: there is no state to keep
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

// makeKey evaluates the key of the current event in a rule into p.key. Rules with the same key expressions share
// it.
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

// evaluate computes the key and the arguments of all aggregates before any state changes, so that an event is
// counted completely or not at all.
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

// schedule sets the timer of a key. A timer that fires too early does no harm, so a later due time does not move
// it: a session that goes on does not add a timer with every event.
func (p *partition) schedule(op *operator, k *keyState) {
	due := op.kind.due(p, op, k)
	if due >= k.due {
		return
	}
	k.due = due
	op.due.add(due, k)
	p.next = min(p.next, due)
}

// advance moves the watermark to a time and fires the timers on the way, in the order of their time, of the rules
// and of the keys' names, so that results do not depend on how events were batched. The watermark never goes back.
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
			continue // the timer is stale: the key has an earlier one since, or is gone
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

// forget removes a key with nothing open from memory. Touch it before, so that its row is deleted too.
func (p *partition) forget(op *operator, k *keyState) {
	p.dismiss(op, k)
	fleet, _, _ := strings.Cut(k.name, "\x00")
	if op.fleets[fleet]--; op.fleets[fleet] == 0 {
		delete(op.fleets, fleet)
	}
	k.due = never
}
