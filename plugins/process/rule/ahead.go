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

// While one batch is written, batches of other partitions are applied ahead of the store: to memory alone, if it has
// all that is needed, with the tombstones and rules that were last read. Their changes are written when the store is
// free, in a transaction that checks that tombstones and rules are still the same. If they are not, or the write fails,
// memory is ahead of the store: the partitions are dropped from memory, and the retry of the batch reads them from the
// store.

// unburied is the number of no burial: it is not known which tombstones have been read.
const unburied = -1

// writing is what a batch writes of a partition. It is a copy: changes in memory do not change it.
type writing struct {
	of    *held
	seq   int64  // of the journal entry
	entry []byte // empty: none
	told  []Result
	tell  teller
	row   []any // of rule_position
}

// lock takes mu and store, and waits until no batch is being applied or written.
func (o *output) lock() {
	o.mu.Lock()
	o.await()
}

func (o *output) unlock() {
	o.store.Unlock()
	o.mu.Unlock()
}

// await takes store, which waits until all that was applied is written, and drops from memory the partitions whose
// write failed. The caller holds mu, and unlocks store.
func (o *output) await() {
	o.store.Lock()
	maps.DeleteFunc(o.places, func(_ place, h *held) bool { return h.ahead.Load() })
}

// ready returns the partitions of records, in the order in which all lock them, if memory has all that is needed to
// apply the records; else nil. The caller holds mu.
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

// writeAhead applies records to partitions that are ready, and calls unlock, which releases mu, before it writes. If it
// returns nil, everything is durable. On an error the partitions stay marked as ahead of the store, and await drops
// them.
func (o *output) writeAhead(ctx context.Context, seq int64, changed []*held, records map[place][]incoming,
	unlock func()) error {
	var all []writing
	var counted []growth
	told := false
	for _, h := range changed {
		h.ahead.Store(true)
		o.applyAll(h, h.topic, records[place{h.topic, h.number}], o.buried)
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

// writing takes out of memory what a batch writes of the partition, whose version in memory grows before that is
// written.
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

// writeAll writes in one transaction what batches changed. It fails with errSwitched if the store is not as it was when
// they were applied.
func writeAll(ctx context.Context, db *sqldb.DB, seq, buried int64, all []writing, some []someRows) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning to write: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
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

// as writes the rows of rule_position. It fails with errSwitched if another process has written one of the partitions,
// there are tombstones that were not known when the batches were applied, or one of their topics is joined with
// another.
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
