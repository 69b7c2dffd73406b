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

// What a partition has in memory while no batch is under way is what its last commit
// wrote, under the version that it then had. So where that version is the store's, or a
// later one, memory tells what the store would - its rows, and its journal counted again
// on top of them - without reading either. Where it is not - another process has the
// partition, or an erasure went over its rows - the store tells.

// asking is what somebody asks for: what some rules have open of a fleet.
type asking struct {
	fleet string
	rules []string
	do    func(Result)
	ends  *Ends // nil: all that is told of it goes to do
}

// handOn hands on what a partition told.
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

// endsTo hands on what a partition told of a rule without text.
func (p *partition) endsTo(ask asking, op *operator) {
	if len(p.ends) > 0 {
		ask.ends.take(p, op, p.ends)
	}
	p.ends = nil
}

const (
	askedMost = 5 * time.Millisecond   // for how long batches wait for who asks, but for one partition
	turnMost  = 500 * time.Millisecond // for how long who asks waits for a batch, before asking the store
)

// versionsOf reads which version each partition has.
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
		return nil, fmt.Errorf("reading where partitions stand: %w", err)
	}
	return versions, nil
}

// tellOpen hands on what is open at the partitions that memory has as the store has
// them, and takes these out of versions. Where a batch takes long, it leaves the rest.
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

// turn waits until no batch is under way, and holds the next one back. It is false when
// that takes long.
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

// tellAsked hands on what the rules that somebody asks for have open, and leaves the
// partition as it is: what it will tell next has the revisions that it would have.
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
		for name, k := range op.keys {
			switch fleet, _, _ := strings.Cut(name, "\x00"); {
			case fleet != ask.fleet:
			case p.bare && k.form.having == nil: // nothing of it changes
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
