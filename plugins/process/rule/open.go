package rule

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"weir/internal/platform/sqldb"
)

// Openings reads the open windows and sessions of rules. Each partition is read with the rule set that it counts
// by, including rules that drain there and rules that are active for some fleets only. It is safe for concurrent
// use.
type Openings struct {
	db   *sqldb.DB
	mu   sync.Mutex
	sets map[string]*Set // by version
}

// NewOpenings returns the Openings of a store, in which the tables of rules must exist.
func NewOpenings(db *sqldb.DB) *Openings { return &Openings{db: db, sets: map[string]*Set{}} }

// setsMost bounds the number of cached rule sets.
const setsMost = 32

// set returns the stored rule set of a version, from the cache if it is there. It is nil when the store has no
// such version, or this weir cannot parse it.
func (o *Openings) set(ctx context.Context, q querier, version string) (*Set, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if set := o.sets[version]; set != nil {
		return set, nil
	}
	set, err := versionNamed(ctx, q, version)
	if err != nil || set == nil {
		return nil, err
	}
	if len(o.sets) >= setsMost {
		clear(o.sets)
	}
	o.sets[version] = set
	return set, nil
}

// Of returns provisional results of the windows and sessions of a fleet that are still open, for some rules. They
// are not stored. The final result has the same id later. A caller that wants both must read these first and the
// stored results second; otherwise a window that closes in between is in neither.
func (o *Openings) Of(ctx context.Context, fleet string, rules ...string) (results []Result, err error) {
	err = o.each(ctx, asking{fleet: fleet, rules: rules, do: func(r Result) { results = append(results, r) }})
	return results, err
}

// each answers a query: from memory for the partitions of which this process has the current version, from the
// store for all others.
func (o *Openings) each(ctx context.Context, ask asking) error {
	places, err := versionsOf(ctx, o.db)
	if err != nil {
		return err
	}
	for _, out := range bellOf(o.db).outputs() {
		out.tellOpen(ctx, places, ask)
	}
	for _, at := range slices.SortedFunc(maps.Keys(places), place.compare) {
		if err := o.at(ctx, at, ask); err != nil {
			return err
		}
	}
	return nil
}

// positions reads the positions of all partitions.
func positions(ctx context.Context, db sqldb.Querier) (map[place]*position, error) {
	rows, err := db.QueryContext(ctx, `SELECT topic, part, log, time, rules, tally FROM rule_position`)
	if err != nil {
		return nil, fmt.Errorf("reading the positions of partitions: %w", err)
	}
	all := map[place]*position{}
	for err == nil && rows.Next() {
		var at place
		var tally string
		p := &position{}
		if err = rows.Scan(&at.topic, &at.number, &p.log, &p.moment, &p.rules, &tally); err == nil {
			err = json.Unmarshal([]byte(tally), &p.tally)
			all[at] = p
		}
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("reading the positions of partitions: %w", err)
	}
	return all, nil
}

// some returns the set reduced to those of the named rules that have windows.
func (s *Set) some(rules []string) *Set {
	some := &Set{Version: s.Version, layout: s.layout}
	for _, r := range s.Rules {
		if slices.Contains(rules, r.Name) && r.window != nil {
			some.Rules = append(some.Rules, r)
		}
	}
	return some
}

// view begins a read-only transaction on one snapshot of the store.
func view(ctx context.Context, db *sqldb.DB) (*sql.Tx, error) {
	opts := &sql.TxOptions{ReadOnly: true}
	if db.Dialect == sqldb.Postgres {
		opts.Isolation = sql.LevelRepeatableRead
	}
	tx, err := db.BeginTx(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("reading what is open: %w", err)
	}
	return tx, nil
}

// at answers a query for one partition from the store: it reads the rows of the keys and replays the journal over
// them, in one snapshot.
func (o *Openings) at(ctx context.Context, at place, ask asking) error {
	fleet, rules := ask.fleet, ask.rules
	tx, err := view(ctx, o.db)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	pos, err := readPosition(ctx, tx, "", at)
	if err != nil || pos == nil {
		return err
	}
	j, err := readJournal(ctx, tx, at)
	if err != nil {
		return err
	}
	version, first, fleets := named(pos.rules)
	set, err := o.set(ctx, tx, version)
	if err == nil && set == nil && !j.empty() { // an older weir did not store the rules of a file as a version
		set, err = j.set()
	}
	if err != nil {
		return err
	}
	if set == nil {
		set = &Set{}
	}
	p := newPartition(set.some(rules), at.topic, at.number, 0, 0)
	p.time, p.origin = pos.moment, pos.log
	p.ops = slices.DeleteFunc(p.ops, func(op *operator) bool {
		was, is := pos.tally.Rules[op.Name]
		op.since, op.turns = was.Since, pos.tally.Turns[op.Name]
		return !is || was.Epoch != op.Epoch // evaluated at another topic
	})
	if first != "" {
		canaries, err := o.set(ctx, tx, first)
		if err != nil {
			return err
		}
		if canaries != nil {
			p.tellFirst(&canary{canaries, fleets})
		}
	}
	parts, err := o.beside(ctx, tx, p, pos, fleet, rules)
	if err != nil {
		return err
	}
	if !j.empty() {
		p.time, p.recount = j.of.time, j.recount() // the journal goes on from there
	}
	for _, part := range append(parts, p) {
		for _, op := range part.ops {
			if err := part.readOpen(ctx, tx, op, fleet); err != nil {
				return err
			}
		}
		if part == p {
			if err := p.overlay(j, fleet); err != nil {
				return err
			}
			if err := p.replay(j.entries, fleet); err != nil {
				return err
			}
		}
		part.bare = ask.ends != nil
		for _, op := range part.ops {
			for _, name := range slices.Sorted(maps.Keys(op.keys)) {
				part.tellOpen(op, op.keys[name])
				part.handOn(ask)
			}
			part.endsTo(ask, op)
		}
	}
	return nil
}

// beside returns a partition for each rule that is evaluated in addition to those active for all fleets: rules that
// drain, and rules of a canary.
func (o *Openings) beside(ctx context.Context, tx *sql.Tx, p *partition, pos *position, fleet string,
	rules []string) (all []*partition, err error) {
	for _, d := range pos.tally.Drains {
		if d.Since == unset || !slices.Contains(rules, d.Name) || len(d.Fleets) > 0 && !among(d.Fleets, fleet) {
			continue
		}
		set, err := o.set(ctx, tx, d.Version)
		if err != nil {
			return nil, err
		}
		if set == nil {
			continue
		}
		some := set.some([]string{d.Name})
		some.Rules = slices.DeleteFunc(some.Rules, func(r *Rule) bool { return r.Epoch != d.Epoch })
		part := newPartition(some, p.topic, p.number, 0, 0)
		part.time, part.origin = p.time, p.origin
		for _, op := range part.ops {
			op.since, op.beside, op.turns = d.Since, true, pos.tally.Turns[d.Name]
		}
		all = append(all, part)
	}
	return all, nil
}

// readOpen reads the stored state of a fleet's keys in a rule.
func (p *partition) readOpen(ctx context.Context, tx *sql.Tx, op *operator, fleet string) error {
	rows, err := tx.QueryContext(ctx, `SELECT key, state, seq FROM rule_state WHERE topic = $1 AND part = $2 AND epoch = $3
		AND fleet = $4`, p.topic, p.number, op.Epoch, fleet)
	if err != nil {
		return fmt.Errorf("reading what is open: %w", err)
	}
	for err == nil && rows.Next() {
		var key string
		var state []byte
		var seq int64
		if err = rows.Scan(&key, &state, &seq); err == nil {
			err = p.restore(op, fleet, key, state, seq)
		}
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("reading what is open: %w", err)
	}
	return nil
}

// tellOpen emits a provisional result for each open window or session of a key. Count windows have none.
func (p *partition) tellOpen(op *operator, k *keyState) {
	switch {
	case op.window.grid != nil:
		for _, end := range open(op.window.grid, k, p.time) {
			p.tell(op, k, end, statusProvisional)
		}
	case op.window.gap > 0:
		for i := range k.panes {
			if s, end := &k.panes[i], k.more[i]+op.window.gap; end >= p.time {
				p.result(op, k, window{id: s.start, start: s.start, end: end, status: statusProvisional}, s)
			}
		}
	}
}
