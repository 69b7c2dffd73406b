package rule

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"weir/internal/platform/sqldb"
)

// InForce is the rule set of the version that is in force, nil when a file is, and
// its activation, by which what was read can be kept.
func (v *Versions) InForce(ctx context.Context, known int64) (set *Set, seq int64, err error) {
	now, err := activation(ctx, v.db, "", 0)
	if err != nil || now.Number == 0 || now.seq == known {
		return nil, now.seq, err
	}
	version, err := v.Get(ctx, now.Number)
	if err != nil {
		return nil, 0, err
	}
	set, err = Parse([]byte(version.Text))
	return set, now.seq, err
}

// Open tells what the windows and sessions of some rules hold that are not closed
// yet, of a fleet: as provisional results, which are written nowhere. Under the
// same id the final one is told later. Whoever wants both asks for these first, and
// misses nothing that closes meanwhile.
func Open(ctx context.Context, db *sqldb.DB, set *Set, fleet string, rules ...string) (results []Result, err error) {
	if len(set.some(rules).Rules) == 0 {
		return nil, nil
	}
	places, err := positions(ctx, db)
	if err != nil {
		return nil, err
	}
	for _, at := range slices.SortedFunc(maps.Keys(places), place.compare) {
		more, err := openAt(ctx, db, at, set, fleet, rules)
		if err != nil {
			return nil, err
		}
		results = append(results, more...)
	}
	return results, nil
}

// some are those of the rules that have windows.
func (s *Set) some(rules []string) *Set {
	some := &Set{Version: s.Version, layout: s.layout}
	for _, r := range s.Rules {
		if slices.Contains(rules, r.Name) && r.window != nil {
			some.Rules = append(some.Rules, r)
		}
	}
	return some
}

// counts tells whether a rule of the set counts as an epoch says.
func (s *Set) counts(epoch string) bool {
	return slices.ContainsFunc(s.Rules, func(r *Rule) bool { return r.Epoch == epoch })
}

// openAt is Open of a partition: its rows, and its journal, in one view of the store.
func openAt(ctx context.Context, db *sqldb.DB, at place, set *Set, fleet string, rules []string) ([]Result, error) {
	opts := &sql.TxOptions{ReadOnly: true}
	if db.Dialect == sqldb.Postgres {
		opts.Isolation = sql.LevelRepeatableRead
	}
	tx, err := db.BeginTx(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("reading what is open: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	pos, err := readPosition(ctx, tx, "", at)
	if err != nil || pos == nil {
		return nil, err
	}
	entries, err := readJournal(ctx, tx, at)
	if err != nil {
		return nil, err
	}
	some, begun := set.some(rules), pos.moment
	if len(entries) > 0 {
		of, err := headOf(entries[0])
		if err != nil {
			return nil, err
		}
		if begun = of.time; of.rules != set.Version { // other rules were put in force, and are not taken up yet
			counted, err := Parse([]byte(of.text))
			if err != nil {
				return nil, fmt.Errorf("reading the rules of a journal: %w", err)
			}
			some = counted.some(rules)
			some.Rules = slices.DeleteFunc(some.Rules, func(r *Rule) bool { return !set.counts(r.Epoch) })
		}
	}
	p := newPartition(some, at.topic, at.number, 0, 0)
	p.time, p.origin = begun, pos.log
	p.ops = slices.DeleteFunc(p.ops, func(op *operator) bool {
		was, is := pos.tally.Rules[op.Name]
		op.since, op.turns = was.Since, pos.tally.Turns[op.Name]
		return !is || was.Epoch != op.Epoch // not taken up yet
	})
	for _, op := range p.ops {
		if err := p.readOpen(ctx, tx, op, fleet); err != nil {
			return nil, err
		}
	}
	if err := p.replay(entries, fleet); err != nil {
		return nil, err
	}
	for _, op := range p.ops {
		for _, name := range slices.Sorted(maps.Keys(op.keys)) {
			p.tellOpen(op, op.keys[name])
		}
	}
	return p.out, nil
}

// positions reads where all partitions stand.
func positions(ctx context.Context, db sqldb.Querier) (map[place]*position, error) {
	rows, err := db.QueryContext(ctx, `SELECT topic, part, log, time, tally FROM rule_position`)
	if err != nil {
		return nil, fmt.Errorf("reading where partitions stand: %w", err)
	}
	all := map[place]*position{}
	for err == nil && rows.Next() {
		var at place
		var tally string
		p := &position{}
		if err = rows.Scan(&at.topic, &at.number, &p.log, &p.moment, &tally); err == nil {
			err = json.Unmarshal([]byte(tally), &p.tally)
			all[at] = p
		}
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("reading where partitions stand: %w", err)
	}
	return all, nil
}

// readOpen reads what is kept of a fleet's keys.
func (p *partition) readOpen(ctx context.Context, tx *sql.Tx, op *operator, fleet string) error {
	rows, err := tx.QueryContext(ctx, `SELECT key, state FROM rule_state WHERE topic = $1 AND part = $2 AND epoch = $3
		AND fleet = $4`, p.topic, p.number, op.Epoch, fleet)
	if err != nil {
		return fmt.Errorf("reading what is open: %w", err)
	}
	for err == nil && rows.Next() {
		var key string
		var state []byte
		if err = rows.Scan(&key, &state); err == nil {
			err = p.restore(op, fleet, key, state)
		}
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("reading what is open: %w", err)
	}
	return nil
}

// tellOpen tells what a key has open, of windows of a grid and of sessions.
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
