package rule

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weir/internal/platform/sqldb"
)

// While no batch is in progress, a partition in memory is what its last commit wrote, under the version of that
// commit. So when its version is at least the version that was read from the store, memory answers what the rows
// and the replayed journal would answer, without reading either. When it is lower - another process owns the
// partition now, or an erasure changed its rows - the store is read.

// asking is a query for the open windows of some rules in a fleet.
type asking struct {
	fleet string
	rules []string
	do    func(Result)
	ends  *Ends // gets only the ends of windows; nil: do gets whole results
}

// handOn passes the results that a partition emitted to the caller, and removes them from it.
func (p *partition) handOn(ask asking) {
	for _, r := range p.out {
		if ask.ends != nil {
			ask.ends.made(r)
		} else {
			ask.do(r)
		}
	}
	p.out = p.out[:0]
}

// endsTo passes the window ends that a partition collected for a rule to the caller.
func (p *partition) endsTo(ask asking, op *operator) {
	if len(p.ends) > 0 {
		ask.ends.take(p, op, p.ends)
	}
	p.ends = nil
}

const (
	askedMost = 5 * time.Millisecond   // a query that has held the locks for so long lets batches go first
	turnMost  = 500 * time.Millisecond // a query that has waited for so long for a batch reads the store instead
)

// versionsOf reads the version of each partition from the store.
func versionsOf(ctx context.Context, db *sqldb.DB) (map[place]int64, error) {
	versions := map[place]int64{}
	err := sqldb.Each(ctx, db, func(row sqldb.Row) error {
		var at place
		var version int64
		err := row.Scan(&at.topic, &at.number, &version)
		versions[at] = version
		return err
	}, `SELECT topic, part, version FROM rule_position`)
	if err != nil {
		return nil, fmt.Errorf("reading the positions of partitions: %w", err)
	}
	return versions, nil
}

// tellOpen answers a query for the partitions that memory has in the version of the store or a later one, and removes
// them from versions. When it has to wait longer than turnMost for a batch, it leaves the other partitions in versions.
func (o *output) tellOpen(ctx context.Context, versions map[place]int64, ask asking) {
	if !o.turn(ctx) {
		return
	}
	began, mine := time.Now(), true
	for _, at := range slices.SortedFunc(maps.Keys(versions), place.compare) {
		h := o.places[at]
		if h == nil || h.version < versions[at] {
			continue
		}
		for _, p := range h.all() {
			p.tellAsked(ask)
		}
		delete(versions, at)
		if time.Since(began) > askedMost {
			o.unlock()
			if mine = o.turn(ctx); !mine {
				break
			}
			began = time.Now()
		}
	}
	if mine {
		o.unlock()
	}
}

// turn waits until no batch is in progress, and locks out the next one: the caller must call unlock. It returns
// false, without the locks, when that takes longer than turnMost or ctx ends.
func (o *output) turn(ctx context.Context) bool {
	if o.mu.TryLock() {
		if o.store.TryLock() {
			o.store.Unlock()
			o.await()
			return true
		}
		o.mu.Unlock()
	}
	ctx, stop := context.WithTimeout(ctx, turnMost)
	defer stop()
	has := make(chan struct{})
	go func() {
		o.lock()
		select {
		case has <- struct{}{}:
		case <-ctx.Done():
			o.unlock()
		}
	}()
	select {
	case <-has:
		return true
	case <-ctx.Done():
		return false
	}
}

// tellAsked answers a query for one partition and does not change the partition: its next results have the revisions
// that they would have had without the query.
func (p *partition) tellAsked(ask asking) {
	if len(p.only) > 0 && !among(p.only, ask.fleet) {
		return
	}
	out, bare := p.out, p.bare
	p.out, p.bare = nil, ask.ends != nil
	for _, op := range p.ops {
		if op.window == nil || op.fleets[ask.fleet] == 0 || !slices.Contains(ask.rules, op.Name) {
			continue
		}
		if p.bare {
			p.ends = make([]ending, 0, op.fleets[ask.fleet])
		}
		keys := op.keysOf(ask.fleet)
		if p.bare && op.window.gap > 0 && !op.beside && len(op.turns) == 0 {
			keys = p.endSessions(op, keys)
		}
		for _, k := range keys {
			switch {
			case p.bare && k.form.having == nil: // collecting ends does not change the key
				p.tellOpen(op, k)
			default:
				seen := *k
				seen.told = slices.Clone(k.told)
				p.tellOpen(op, &seen)
				p.handOn(ask)
			}
		}
		p.endsTo(ask, op)
	}
	p.out, p.bare = out, bare
}

// Reading a key costs cache misses of the CPU, and little else. The CPU overlaps them where a loop does nothing else,
// so the loops of keysOf and endSessions are short.

// keysOf returns the keys of a fleet.
func (op *operator) keysOf(fleet string) []*keyState {
	keys, prefix := make([]*keyState, 0, op.fleets[fleet]), fleet+"\x00"
	alone := int(op.fleets[fleet]) == len(op.keys) // all keys are of this fleet: no name has to be read
	for name, k := range op.keys {
		if alone || strings.HasPrefix(name, prefix) {
			keys = append(keys, k)
		}
	}
	return keys
}

// endSessions collects the ends of open sessions as tellOpen does, for a rule that emits all of its windows. It returns
// the keys with a having condition, which needs whole results. It reuses the memory of keys.
func (p *partition) endSessions(op *operator, keys []*keyState) (others []*keyState) {
	others = keys[:0]
	for _, k := range keys {
		if k.form.having != nil {
			others = append(others, k)
			continue
		}
		for i, last := range k.more {
			if end := last + op.window.gap; end >= p.time {
				p.ends = append(p.ends, ending{name: &k.name, start: k.panes[i].start, end: end})
			}
		}
	}
	return others
}
