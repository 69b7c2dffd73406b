package rule

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// While batches are written, those of other partitions are applied: to what memory has,
// where that is enough, and by what was erased and in force when it was last looked at. What
// follows is written when the store is free, in a transaction that finds the same
// there. Where it does not, or fails, memory is ahead of the store, and of these partitions
// is given up: who applies the batch anew reads them from the store.

// unburied is of no burial.
const unburied = -1

// writing is what a batch writes of a partition; it does not change with what memory
// has.
type writing struct {
	of    *held
	seq   int64  // of the entry
	entry []byte // of the journal; empty: none
	told  []Result
	tell  teller
	row   []any // where it stands
}

// lock waits until no batch is under way: neither applied nor written.
func (o *output) lock() {
	o.mu.Lock()
	o.await()
}

func (o *output) unlock() {
	o.store.Unlock()
	o.mu.Unlock()
}

// await waits, with mu, until what was applied is written, and takes the store. What
// could not be written memory has no more.
func (o *output) await() {
	o.store.Lock()
	maps.DeleteFunc(o.places, func(_ place, h *held) bool { return h.ahead.Load() })
}

// ready are the partitions of records, when memory has all that applying them takes.
func (o *output) ready(set *Set, records map[place][]incoming, logs map[string]string) (all []*held) {
	if o.buriedSeq == unburied || o.canary != nil || len(set.pairs()) > 0 {
		return nil
	}
	rules := naming(set.Version, nil)
	for at := range records {
		h := o.places[at]
		if h == nil || h.joined || h.ahead.Load() || h.set != set.at(at.topic) || h.forSome != nil || h.switches(rules) ||
			logs[at.topic] != "" && logs[at.topic] != h.log {
			return nil
		}
		if h.open(); !h.enters {
			return nil
		}
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b *held) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.number, b.number))
	})
	return all
}

// writeAhead applies records to partitions that are ready, and gives mu up while what
// follows is written.
func (o *output) writeAhead(ctx context.Context, seq int64, changed []*held, records map[place][]incoming,
	unlock func()) error {
	var all []writing
	var counted []growth
	told := false
	for _, h := range changed {
		h.ahead.Store(true)
		for _, r := range records[place{h.topic, h.number}] {
			o.apply(h, h.topic, r, o.buried)
		}
		h.arrived = time.Now()
	}
	for _, h := range changed {
		counted = append(counted, o.meters.more(h)...)
		told = told || len(h.out) > 0
		w, err := h.writing(o.now())
		if err != nil {
			return err
		}
		all = append(all, w)
	}
	some := o.takeSomeRows(changed)
	db, buried := o.db, o.buriedSeq
	o.store.Lock()
	defer o.store.Unlock()
	unlock()
	if err := writeAll(ctx, db, seq, buried, all, some); err != nil {
		return fmt.Errorf("evaluating rules: %w", err)
	}
	for _, h := range changed {
		h.ahead.Store(false)
	}
	tell(counted)
	if told {
		o.bell.ring()
	}
	return nil
}

// writing takes what a batch writes of a partition, which has its next version then.
func (h *held) writing(now time.Time) (w writing, err error) {
	h.tellAt(now)
	w = writing{of: h, seq: h.version + 1, told: h.out, tell: h.teller()}
	if !h.entry.empty() {
		w.entry = slices.Clone(h.entry.bytes())
		h.entered(len(w.entry))
	}
	h.out, h.misses = nil, h.misses[:0]
	w.row, err = h.standing(h.rules, now)
	h.version++
	return w, err
}

// writeAll writes what batches changed, if all of it is as it was when they were
// applied.
func writeAll(ctx context.Context, db *sqldb.DB, seq, buried int64, all []writing, some []someRows) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning to write: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := as(ctx, tx, db.Dialect, buried, all); err != nil {
		return err
	}
	if err := still(ctx, tx, seq); err != nil {
		return err
	}
	most := rowsMost(db.Dialect)
	for i := range all {
		w := &all[i]
		if len(w.entry) > 0 {
			if err := writeEntry(ctx, tx, place{w.of.topic, w.of.number}, w.seq, w.entry); err != nil {
				return err
			}
		}
		if err := w.tell.writeResults(ctx, tx, most, w.told); err != nil {
			return err
		}
	}
	for i := range some {
		if err := some[i].write(ctx, tx, most); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// as writes where partitions stand. It fails with errSwitched when another process has
// written one, somebody was erased since batches were applied, or topics of theirs are
// joined with others.
func as(ctx context.Context, tx *sql.Tx, dialect sqldb.Dialect, buried int64, all []writing) error {
	if dialect == sqldb.Postgres {
		if _, err := tx.ExecContext(ctx, tombstone.SharedLock); err != nil {
			return fmt.Errorf("reading tombstones: %w", err)
		}
	}
	var now int64
	if err := tx.QueryRowContext(ctx, tombstone.SeqQuery).Scan(&now); err != nil {
		return fmt.Errorf("reading tombstones: %w", err)
	}
	places := make([]place, len(all))
	for i := range all {
		places[i] = place{all[i].of.topic, all[i].of.number}
		err := writeStanding(ctx, tx, all[i].row)
		if errors.Is(err, errElsewhere) {
			err = errSwitched
		}
		if err != nil {
			return err
		}
	}
	with, err := withJoins(ctx, tx, places, nil)
	if err == nil && (now != buried || len(with) != len(places)) {
		err = errSwitched
	}
	return err
}
