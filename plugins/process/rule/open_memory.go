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
	bare  bool // ids and ends alone
	do    func(Result)
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
	var ends []ending
	began, mine := time.Now(), true
	for _, at := range slices.SortedFunc(maps.Keys(versions), place.compare) {
		h := o.places[at]
		if h == nil || h.version < versions[at] {
			continue
		}
		for _, p := range h.all() {
			ends = append(ends, p.tellAsked(ask)...)
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
	for i := range ends {
		ask.do(ends[i].result())
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
// partition as it is: what it will tell next has the revisions that it would have. What
// is asked for bare it returns, to be handed on while the next batch is under way.
func (p *partition) tellAsked(ask asking) (ends []ending) {
	if len(p.only) > 0 && !among(p.only, ask.fleet) {
		return nil
	}
	out, bare := p.out, p.bare
	p.out, p.bare = nil, ask.bare
	for _, op := range p.ops {
		if op.window == nil || op.fleets[ask.fleet] == 0 || !slices.Contains(ask.rules, op.Name) {
			continue
		}
		for name, k := range op.keys {
			if fleet, _, _ := strings.Cut(name, "\x00"); fleet != ask.fleet {
				continue
			}
			seen := *k
			seen.told = slices.Clone(k.told)
			p.tellOpen(op, &seen)
			for _, r := range p.out {
				ask.do(r)
			}
			p.out = p.out[:0]
		}
	}
	ends, p.ends = p.ends, nil
	p.out, p.bare = out, bare
	return ends
}
