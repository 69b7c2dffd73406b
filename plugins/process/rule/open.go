package rule

import (
	"context"
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
	some := &Set{Version: set.Version, layout: set.layout}
	for _, r := range set.Rules {
		if slices.Contains(rules, r.Name) && r.window != nil {
			some.Rules = append(some.Rules, r)
		}
	}
	if len(some.Rules) == 0 {
		return nil, nil
	}
	places, err := positions(ctx, db)
	if err != nil {
		return nil, err
	}
	for _, at := range slices.SortedFunc(maps.Keys(places), place.compare) {
		p := newPartition(some, at.topic, at.number, 0, 0)
		p.time, p.origin = places[at].moment, places[at].log
		for _, op := range p.ops {
			was, is := places[at].tally.Rules[op.Name]
			if !is || was.Epoch != op.Epoch {
				continue // not taken up yet
			}
			op.since, op.turns = was.Since, places[at].tally.Turns[op.Name]
			if err := p.readOpen(ctx, db, op, fleet); err != nil {
				return nil, err
			}
			for _, name := range slices.Sorted(maps.Keys(op.keys)) {
				p.tellOpen(op, op.keys[name])
			}
		}
		results = append(results, p.out...)
	}
	return results, nil
}

// positions reads where all partitions stand.
func positions(ctx context.Context, db *sqldb.DB) (map[place]*position, error) {
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
func (p *partition) readOpen(ctx context.Context, db *sqldb.DB, op *operator, fleet string) error {
	rows, err := db.QueryContext(ctx, `SELECT key, state FROM rule_state WHERE topic = $1 AND part = $2 AND epoch = $3
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
