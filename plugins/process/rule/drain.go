package rule

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// A rule that changes is drained: its old form (epoch) goes on counting, and emits the windows that began before the
// change; the new form emits those that begin later. So no open window is lost, none is emitted by both, and a rule
// whose old form comes back while it drains has counted without a gap. A rule that is removed emits nothing any more,
// but counts for as long as it would drain, because it may come back.

// turn says which epoch of a rule emits the windows that begin at From or later: for all fleets, for Only some, or for
// all But some. Of the turns that apply to a window the last decides.
type turn struct {
	From  int64    `json:"from"`
	Epoch string   `json:"epoch"`          // "": none
	Only  []string `json:"only,omitempty"` // names or patterns
	But   []string `json:"but,omitempty"`
}

func (t *turn) of(fleet string) bool {
	return (len(t.Only) == 0 || among(t.Only, fleet)) && !among(t.But, fleet)
}

// drained is a rule that counts beside those in force, as a position keeps it: one that drains, or one of a canary.
type drained struct {
	Name    string `json:"name"`
	Version string `json:"version"` // of the rule set that has its text
	Last    int64  `json:"last"`    // it emits windows that began up to then; never: it is not drained, but a canary's
	// Fleets are those that it counts; none: all.
	Fleets []string `json:"fleets,omitempty"`
	ruleTally
}

// drainsMost is how many earlier forms of a rule drain at a time. The oldest beyond that are dropped, like those whose
// version cannot be read any more.
const drainsMost = 4

// turnsMost bounds the turns of a rule. At most drainsMost earlier forms drain, so that the turns beyond the bound
// decide next to nothing.
const turnsMost = 64

// owns tells whether the operator emits the windows of a fleet that begin at a time.
func (op *operator) owns(fleet string, start int64) bool {
	for i := len(op.turns) - 1; i >= 0; i-- {
		if t := &op.turns[i]; t.From <= start && t.of(fleet) {
			return t.Epoch == op.Epoch
		}
	}
	return !op.beside
}

// horizon is how long after its beginning a window can be open or corrected; of a session, how long after its last
// event.
func (r *Rule) horizon() int64 {
	switch w := r.window; {
	case r.pattern != nil:
		return r.pattern.within + time.Second.Microseconds()
	case r.join != nil:
		return r.join.before + r.join.after + r.join.lateness + time.Second.Microseconds()
	case w.grid != nil && w.grid.calendar != nil:
		longest := map[string]int64{"day": 1, "week": 7, "month": 31}[w.grid.calendar.unit]
		return (longest*24+2)*time.Hour.Microseconds() + w.lateness // the clock may change by an hour or two
	case w.grid != nil:
		return w.grid.size + w.lateness
	case w.gap > 0:
		return w.gap + w.lateness + 1
	}
	return r.window.max
}

// over tells whether an operator that drains has nothing more to emit. For sessions it looks at all that are open, at
// most once in a gap.
func (op *operator) over(now int64) bool {
	if now <= op.last || now-op.last < op.horizon() || now < op.looked {
		return false
	}
	if op.window == nil || op.window.gap == 0 {
		return true
	}
	for _, k := range op.keys {
		if len(k.panes) > 0 && k.panes[0].start <= op.last+op.window.gap {
			op.looked = now + op.window.gap
			return false
		}
	}
	return true
}

// change updates Drains, Turns and Some when a partition goes from the version from to set, with the canary to: which
// rules drain, and which epoch emits what from now on. can tells whether the set of from can be read; newest is the
// time of the newest event, none if nothing was read.
func (t *tally) change(from string, can bool, set *Set, to *canary, newest int64) {
	if newest == none { // nothing was counted
		t.Rules, t.Drains, t.Turns, t.Some = nil, nil, nil, nil
	}
	was, now := map[string]string{}, map[string]string{}
	for _, r := range set.Rules {
		now[r.Name] = r.Epoch
	}
	before, after := t.Some, to.over(now)
	for i := range t.Drains {
		t.Drains[i].Last = min(t.Drains[i].Last, newest) // a canary drains from now on, unless begin takes it up again
	}
	for name, of := range t.Rules {
		if was[name] = of.Epoch; of.Epoch != now[name] && can {
			t.Drains = append(t.Drains, drained{Name: name, Version: from, Last: newest, ruleTally: of})
		}
	}
	goesOn := before != nil && after != nil && slices.Equal(before.Fleets, after.Fleets)
	names := maps.Clone(now)
	maps.Copy(names, was)
	for _, s := range []*some{before, after} {
		if s != nil {
			maps.Copy(names, s.Epochs)
		}
	}
	for name := range names {
		kept := can || after.counts(name) && after.Epochs[name] == was[name]
		switch {
		case goesOn && before.counts(name):
			t.pass(name, was[name], now[name], turn{From: newest, But: after.Fleets}, kept)
			t.pass(name, before.Epochs[name], after.epoch(name, now[name]), turn{From: newest, Only: after.Fleets}, true)
			continue
		case before.counts(name):
			t.pass(name, before.Epochs[name], was[name], turn{From: newest, Only: before.Fleets}, true)
		}
		t.pass(name, was[name], now[name], turn{From: newest}, kept)
		if after != nil {
			t.pass(name, now[name], after.epoch(name, now[name]), turn{From: newest, Only: after.Fleets}, true)
		}
	}
	t.begin(to, after)
	t.Some = after
	slices.SortStableFunc(t.Drains, func(a, b drained) int { // the oldest first, those of one change by name
		return cmp.Or(cmp.Compare(a.Last, b.Last), cmp.Compare(a.Name, b.Name))
	})
}

// pass makes the epoch now of a rule, instead of was, emit what begins after next.From in the fleets of next. If was is
// "", there was no such rule, and now emits all; if now is "", none emits anything. can tells whether was is drained;
// if not, now takes over its turns.
func (t *tally) pass(name, was, now string, next turn, can bool) {
	turns := slices.Clone(t.Turns[name])
	all := len(next.Only)+len(next.But) == 0
	switch {
	case was == now, len(turns) == 0 && all && (was == "" || !can):
		return
	case !can && now != "":
		for i := range turns {
			if turns[i].Epoch == was {
				turns[i].Epoch = now
			}
		}
	default:
		if len(turns) == 0 && was != "" {
			turns = []turn{{From: math.MinInt64, Epoch: was}}
		}
		if next.Epoch = now; was == "" || now == "" || next.From == none {
			next.From = math.MinInt64
		} else {
			next.From++
		}
		if all && next.From == math.MinInt64 {
			turns = nil
		}
		if turns = append(turns, next); len(turns) > turnsMost {
			turns = slices.Delete(turns, 1, 2)
		}
	}
	if t.Turns == nil {
		t.Turns = map[string][]turn{}
	}
	t.Turns[name] = turns
}

// take returns the account of a rule that is in force, if it has one: it was in force before, or is taken out of
// Drains.
func (t *tally) take(r *Rule) (ruleTally, bool) {
	if was, is := t.Rules[r.Name]; is && was.Epoch == r.Epoch {
		return was, true
	}
	i := slices.IndexFunc(t.Drains, func(d drained) bool { return d.Epoch == r.Epoch })
	if i < 0 {
		return ruleTally{}, false
	}
	was := t.Drains[i].ruleTally
	t.Drains = slices.Delete(t.Drains, i, i+1)
	return was, true
}

// drain makes the partitions of rules that count beside those in force. A rule whose version cannot be read is left
// out: load then deletes its state with that of other unknown rules, and counts its keys.
func (o *output) drain(ctx context.Context, tx *sql.Tx, h *held) error {
	count := map[string]int{}
	for i, d := range slices.Backward(h.tally.Drains) {
		if count[d.Name]++; count[d.Name] > drainsMost {
			h.tally.Drains[i].Version = ""
		}
	}
	by := map[string]*partition{}
	for _, d := range h.tally.Drains {
		set, err := o.setOf(ctx, tx, d.Version)
		if err != nil {
			return err
		}
		at := -1
		if set != nil {
			at = slices.IndexFunc(set.Rules, func(r *Rule) bool { return r.Epoch == d.Epoch })
		}
		if at < 0 {
			continue
		}
		of := fmt.Sprintf("%s %q", d.Version, d.Fleets)
		p := by[of]
		if p == nil {
			p = newPartition(&Set{Version: set.Version, layout: set.layout}, h.topic, h.number, h.delay, h.perFleet)
			p.time, p.origin, p.only, p.sides = h.time, h.origin, d.Fleets, h.sides
			by[of] = p
			h.drains = append(h.drains, p)
		}
		op := newOperator(set.Rules[at], set.Version)
		op.since, op.before, op.tally, op.givenUp, op.last = d.Since, d.Before, d.Counts, d.GivenUp, d.Last
		if op.beside = true; d.Since == unset {
			op.since, op.before = h.begins, h.tally.reached()
		}
		p.ops = append(p.ops, op)
	}
	for _, p := range h.all() {
		for _, op := range p.ops {
			op.turns = h.tally.Turns[op.Name]
		}
	}
	return nil
}

// setOf returns the rule set of a version; nil if it is not stored, or this weir cannot read it.
func (o *output) setOf(ctx context.Context, tx *sql.Tx, version string) (*Set, error) {
	if set := o.sets[version]; set != nil {
		return set, nil
	}
	var text string
	err := tx.QueryRowContext(ctx, `SELECT text FROM rule_version WHERE version = $1`, version).Scan(&text)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("reading rules that were in force: %w", err)
	}
	if err != nil {
		return nil, nil
	}
	set, err := parseKept([]byte(text))
	if err != nil { // of a newer weir
		o.log.Warnf("version %s of rules, which was in force, cannot be read, and is not drained: %v", version, err)
		return nil, nil
	}
	if len(o.sets) > 8*drainsMost {
		clear(o.sets)
	}
	if o.sets == nil {
		o.sets = map[string]*Set{}
	}
	o.sets[version] = set
	return set, nil
}

// all returns the partition of the rules in force, and those of rules that count beside them.
func (h *held) all() []*partition { return append([]*partition{h.partition}, h.drains...) }

// due is the time at which the next timer is due.
func (h *held) due() int64 {
	next := h.next
	for _, d := range h.drains {
		next = min(next, d.next)
	}
	return next
}

// advanceAll moves the time of all partitions on, and notes the step in the journal.
func (h *held) advanceAll(to int64) {
	if h.enters {
		h.entry.time(to)
	}
	for _, p := range h.all() {
		p.advance(to)
	}
}

// settle collects the results of rules that count beside those in force, and deletes those that have drained, with
// their state.
func (h *held) settle(ctx context.Context, tx *sql.Tx) error {
	t := &h.tally
	t.Drains = t.Drains[:0]
	left := map[string]bool{}
	for _, p := range h.drains {
		h.out = append(h.out, p.out...)
		p.out, p.misses = p.out[:0], p.misses[:0]
		ops := p.ops[:0]
		for _, op := range p.ops {
			d := drained{op.Name, p.set.Version, op.last, p.only, ruleTally{op.Epoch, op.since, op.before, op.tally, op.givenUp}}
			if op.over(p.time) {
				if _, err := tx.ExecContext(ctx, `DELETE FROM rule_state WHERE topic = $1 AND part = $2 AND epoch = $3`,
					h.topic, h.number, op.Epoch); err != nil {
					return fmt.Errorf("deleting the state of a rule that has drained: %w", err)
				}
				continue
			}
			t.Drains = append(t.Drains, d)
			left[op.Name] = true
			ops = append(ops, op)
		}
		p.ops = ops
	}
	h.drains = slices.DeleteFunc(h.drains, func(p *partition) bool { return len(p.ops) == 0 })
	h.letGo(left)
	for _, op := range h.operators() {
		op.turns = t.Turns[op.Name]
	}
	return nil
}

// letGo deletes the turns of rules that nothing else counts beside, once no window of the rule that began before the
// last turn is open. left are the names of rules that still have something beside them.
func (h *held) letGo(left map[string]bool) {
	longest := map[string]int64{}
	for _, op := range h.ops {
		longest[op.Name] = op.horizon()
	}
	maps.DeleteFunc(h.tally.Turns, func(name string, turns []turn) bool {
		from := int64(math.MinInt64)
		for _, t := range turns {
			from = max(from, t.From)
		}
		return !left[name] && !h.tally.Some.counts(name) && h.time != none &&
			(from == math.MinInt64 || h.time-from >= longest[name])
	})
}
