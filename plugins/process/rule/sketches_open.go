package rule

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// open makes the state of a partition forget the name, and locks the partition until the transaction ends. A journal
// with events of the fleet is written as rows first, since no sum can be taken out of events. If anything changes, so
// does the version: who has the partition in memory reads it again before it writes.
func (f *forgetting) open(ctx context.Context, tx *sql.Tx, at place) error {
	pos, err := readPosition(ctx, tx, f.db.ForUpdate(), at)
	if err != nil || pos == nil {
		return err
	}
	rules, err := namingRules(ctx, tx, at, pos)
	if err != nil || len(rules) == 0 {
		return err
	}
	j, err := readJournal(ctx, tx, at)
	if err != nil {
		return err
	}
	n, err := summed(j, f.Fleet, "")
	if err != nil {
		return err
	}
	changed := n > 0 || len(j.images) > 0
	if changed {
		if err := fold(ctx, tx, f.db.Dialect, nil, at, pos, j); err != nil {
			return err
		}
	}
	for _, r := range rules {
		some, err := f.states(ctx, tx, at, r)
		if err != nil {
			return err
		}
		changed = changed || some
	}
	if !changed {
		return nil
	}
	_, err = tx.ExecContext(ctx, `UPDATE rule_position SET version = version + 1 WHERE topic = $1 AND part = $2`, at.topic,
		at.number)
	return err
}

// namingRules returns the rules across devices whose state can name somebody, of those that a partition uses: for all
// fleets, for some, and while they drain.
func namingRules(ctx context.Context, tx *sql.Tx, at place, pos *position) (rules []*Rule, err error) {
	version, canary, _ := named(pos.rules)
	versions := []string{version, canary}
	for _, d := range pos.tally.Drains {
		versions = append(versions, d.Version)
	}
	slices.Sort(versions)
	for _, version := range slices.Compact(versions) {
		if version == "" {
			continue
		}
		set, err := versionNamed(ctx, tx, version)
		if err != nil {
			return nil, err
		}
		if set == nil {
			var n int
			if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM rule_version WHERE version = $1`, version).Scan(&n); err != nil {
				return nil, err
			}
			if n > 0 { // without them it is not known what the state of the partition names
				return nil, fmt.Errorf("the rules %s of %s/%d are those of a newer weir: erase with that", version, at.topic,
					at.number)
			}
			continue
		}
		for _, r := range set.at(at.topic).Rules {
			if r.across && (r.sketches() || r.namedKeys()) &&
				!slices.ContainsFunc(rules, func(o *Rule) bool { return o.Epoch == r.Epoch }) {
				rules = append(rules, r)
			}
		}
	}
	return rules, nil
}

// sketches reports whether the rule keeps sets of values.
func (r *Rule) sketches() bool {
	return slices.ContainsFunc(r.cols, func(c *column) bool { return c.needs&needDistinct != 0 })
}

// states makes the keys of a rule forget the name: of one that is the name the panes are deleted, and the row where
// none is left; in the others the sketches change. It reports whether anything did.
func (f *forgetting) states(ctx context.Context, tx *sql.Tx, at place, r *Rule) (changed bool, err error) {
	type row struct {
		key   string
		state []byte // nil: the row goes
	}
	var rows []row
	had := int64(0)
	if err := sqldb.Each(ctx, tx, func(from sqldb.Row) error {
		var one row
		err := from.Scan(&one.key, &one.state)
		if err != nil {
			return err
		}
		is := f.isKey(r, one.key)
		if len(one.state) == 0 { // the row of a key that is gone
			if is {
				rows = append(rows, row{key: one.key})
			}
			return nil
		}
		k, err := decodeKey(f.Fleet+"\x00"+one.key, one.state, r)
		switch {
		case err != nil:
			return err
		case is && !k.drop(r, f.begun), !is && !k.forget(f.hash, f.begun):
			return nil
		}
		had += int64(bit(is))
		if one.state = nil; !k.empty() {
			one.state = k.append(nil)
		}
		rows = append(rows, one)
		return nil
	}, `SELECT key, state FROM rule_state WHERE topic = $1 AND part = $2 AND epoch = $3 AND fleet = $4`, at.topic,
		at.number, r.Epoch, f.Fleet); err != nil {
		return false, err
	}
	for _, one := range rows {
		args := []any{at.topic, at.number, r.Epoch, f.Fleet, one.key}
		query := `DELETE FROM rule_state`
		if one.state != nil {
			query, args = `UPDATE rule_state SET state = $6`, append(args, one.state)
		}
		if _, err := tx.ExecContext(ctx, query+` WHERE topic = $1 AND part = $2 AND epoch = $3 AND fleet = $4 AND key = $5`,
			args...); err != nil {
			return false, fmt.Errorf("writing the state of a key: %w", err)
		}
	}
	return len(rows) > 0, tombstone.Add(ctx, tx, f.Job, countState, had)
}

// forget removes a hash from the sets of panes that begin at a time or before. It reports whether any changed.
func (k *keyState) forget(hash uint64, until int64) (changed bool) {
	for i := range k.panes {
		p := &k.panes[i]
		for j := range p.cells {
			if m := p.cells[j].more; m != nil && p.start <= until {
				changed = m.distinct.forget(hash) || changed
			}
		}
	}
	return changed
}

// drop deletes what is kept of windows of a grid that began by a time: their panes, and what was told of them. It
// reports whether there was any.
func (k *keyState) drop(r *Rule, until int64) (had bool) {
	panes, windows := len(k.panes), len(k.told)
	k.panes = slices.DeleteFunc(k.panes, func(p pane) bool { return p.start <= until })
	k.told = slices.DeleteFunc(k.told, func(t told) bool { return r.window.grid.start(t.window) <= until })
	return len(k.panes) < panes || len(k.told) < windows
}
