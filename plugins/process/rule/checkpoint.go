package rule

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"weir/internal/platform/sqldb"
)

// A checkpoint writes the rows of all keys that changed, so that the journal entries from before its beginning can be
// deleted. No batch waits for a checkpoint: it begins with a list of those keys, and each batch that follows writes
// some of their rows, with the state that the keys have after that batch. So the rows of a partition are of different
// moments. The column seq of a row is the last journal entry that its state counts. A process that loads the partition
// replays an entry only for the keys whose rows do not count it yet (replay). When the list is empty, the entries from
// before the checkpoint began are deleted. A crash before that leaves rows and entries that replay to the same state.
//
// A key may end while the journal still has entries with its events. Then its row stays, with an empty state: without
// the row, a replay of these entries would open the key again. Such a row is a grave. It is deleted after the entries
// that it counts.
const (
	// rowsEach is how many rows a batch writes, for the checkpoints of all partitions together.
	rowsEach = 256
	// hurried is the largest factor by which rowsEach is multiplied while the journals together are larger than
	// journalMost. The factor grows with their size, and is largest at twice journalMost.
	hurried = 16
	// passedMost bounds the time for keys of a list that need no row: so many may be skipped for each row.
	passedMost = 16
)

// checkpoint is the progress of a partition's checkpoint.
type checkpoint struct {
	until   int64 // the last entry to delete when the lists are empty; 0: no checkpoint is under way
	began   time.Time
	covered int       // the size in bytes of the entries up to until that are not deleted
	lists   []changes // the keys whose rows are to be written, by rule
	graves  []grave   // sorted by seq
	trimmed int64     // the last entry that was deleted
}

// changes are the changed keys of a rule. They are sorted by name when the first of them is written.
type changes struct {
	op     *operator
	keys   []*keyState
	sorted bool
}

// grave is a row with an empty state: the key has ended, and seq is the last entry that the row counts.
type grave struct {
	op   *operator
	name string
	seq  int64
}

// mark begins a checkpoint of all keys that changed with the current batch or before. The next entry is the first that
// remains in the journal when the checkpoint is complete. A key that exists now, and has ended when its row is due,
// needs a grave even if it never had a row: the remaining entries may have its last events without its first ones.
func (h *held) mark() {
	h.until, h.began, h.covered, h.lag = h.version, time.Now(), h.lag, 0
	for _, op := range h.ops {
		keys := op.takeChanged()
		keys = slices.DeleteFunc(keys, func(k *keyState) bool {
			now := op.keys[k.name]
			k.saved = k.saved || now == k
			return !k.saved || now != nil && now != k // the newer key has a row to come, or an up-to-date one
		})
		if len(keys) > 0 {
			h.lists = append(h.lists, changes{op: op, keys: keys})
		}
	}
}

// takeChanged returns the keys that changed since the last call, without those whose row was written since they
// changed.
func (op *operator) takeChanged() []*keyState {
	keys := op.changed[:0]
	for _, k := range op.changed {
		if k.dirty {
			k.dirty = false
			keys = append(keys, k)
		}
	}
	clear(op.changed[len(keys):])
	op.changed = nil
	return keys
}

// write gives the row of a changed key to a writer: the present state under the key's name, which counts the journal up
// to the entry seq. That may be the state of a newer key of the same name, which began after k ended. The row of k must
// be replaced before the entries with k's end are deleted. If left is true, entries that the row counts may remain in
// the journal, so the row of a key that has ended becomes a grave; else that row is deleted, whatever its seq is.
func (h *held) write(w *rowWriter, op *operator, k *keyState, seq int64, left bool) {
	k.dirty = false
	if op == w.of && k.name == w.name { // lists are sorted: its row was written just before
		return
	}
	_, key, _ := strings.Cut(k.name, "\x00")
	now := op.keys[k.name]
	switch {
	case now != nil:
		from := len(w.states)
		w.states = now.append(w.states)
		w.put(op, now.name, op.device(key), w.states[from:len(w.states):len(w.states)], seq)
		now.dirty, now.saved = false, true
	case !k.saved: // it has no row
		return
	case left:
		k.saved = false
		w.put(op, k.name, op.device(key), []byte{}, seq)
		h.graves = append(h.graves, grave{op, k.name, seq})
	default:
		w.drop(op, k.name, math.MaxInt64)
	}
	w.name = k.name
}

// someRows are rows of a partition that are written in one transaction.
type someRows struct {
	at   place
	rows *rowWriter
	trim int64 // the last entry to delete, because these rows complete the checkpoint; 0: it is not complete
}

// takeRows takes up to so many rows of a checkpoint, with the state after the current batch, and graves that can be
// deleted. n is how much of the batch's budget of rows that uses, at least 1.
func (h *held) takeRows(rows int) (some someRows, n int) {
	w, passed := rowsOf(h.partition), 0
	for len(h.lists) > 0 && w.n < rows && passed < passedMost*rows {
		list := &h.lists[0]
		if !list.sorted { // neighbouring rows share database pages, which are then read and written once
			slices.SortFunc(list.keys, func(a, b *keyState) int { return strings.Compare(a.name, b.name) })
			list.sorted = true
		}
		before := w.n
		h.write(w, list.op, list.keys[0], h.version, true)
		if w.n == before {
			passed++
		}
		list.keys[0] = nil
		if list.keys = list.keys[1:]; len(list.keys) == 0 {
			h.lists[0] = changes{}
			h.lists = h.lists[1:]
		}
	}
	some = someRows{at: place{h.topic, h.number}, rows: w}
	if h.until > 0 && len(h.lists) == 0 {
		some.trim, h.trimmed = h.until, h.until
		h.until, h.covered, h.lists = 0, 0, nil
	}
	for len(h.graves) > 0 && h.graves[0].seq <= h.trimmed && w.n < rows {
		g := &h.graves[0]
		w.drop(g.op, g.name, g.seq)
		*g = grave{}
		h.graves = h.graves[1:]
	}
	return some, max(w.n, passed/passedMost, 1)
}

func (s *someRows) write(ctx context.Context, tx *sql.Tx, most int) error {
	if err := s.rows.flush(ctx, tx, most); err != nil || s.trim == 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM rule_journal WHERE topic = $1 AND part = $2 AND seq <= $3`, s.at.topic,
		s.at.number, s.trim); err != nil {
		return fmt.Errorf("deleting from the journal of %s/%d: %w", s.at.topic, s.at.number, err)
	}
	return nil
}

// takeSomeRows begins a checkpoint of one of the partitions that a batch changed, if one is due. It takes rows of the
// checkpoints under way in these partitions, of the oldest checkpoint first, with the state after the batch. The
// version of each partition must be the one that the batch gets.
func (o *output) takeSomeRows(changed []*held) (all []someRows) {
	lag := o.journaled()
	if due := o.duly(changed, lag); due != nil {
		due.mark()
	}
	left := o.rowsEach
	if more := lag - o.journalMost; more > 0 {
		left *= max(1, min(hurried*more/max(o.journalMost, 1), hurried))
	}
	working := slices.DeleteFunc(slices.Clone(changed), func(h *held) bool { return !h.enters || !h.working() })
	slices.SortFunc(working, func(a, b *held) int {
		return cmp.Or(a.began.Compare(b.began), cmp.Compare(a.number, b.number), cmp.Compare(a.topic, b.topic))
	})
	for _, h := range working {
		if left <= 0 {
			break
		}
		some, n := h.takeRows(left)
		all = append(all, some)
		left -= n
	}
	return all
}

// working reports whether there are rows to write or graves to delete.
func (c *checkpoint) working() bool {
	return c.until > 0 || len(c.graves) > 0 && c.graves[0].seq <= c.trimmed
}

// journaled returns the size in bytes of the journals of the partitions that had a batch in the last 2*rowsEvery.
// Another process may own the others by now.
func (o *output) journaled() (all int) {
	for _, h := range o.places {
		if time.Since(h.arrived) < 2*o.rowsEvery() {
			all += h.lag + h.covered
		}
	}
	return all
}

// duly returns the partition of a batch whose checkpoint is to begin, nil for none: among those whose checkpoint is
// due, the one with the longest journal. A checkpoint is due when all journals together (lag) have reached journalMost,
// or when the oldest entry that no checkpoint covers has waited for rowsEvery.
func (o *output) duly(changed []*held, lag int) (due *held) {
	for _, h := range changed {
		if h.enters && h.until == 0 && h.lag > 0 && (due == nil || h.lag > due.lag) &&
			(lag >= o.journalMost || time.Since(h.since) >= o.rowsEvery()) {
			due = h
		}
	}
	return due
}

// rowsEvery is the age of an entry at which the next batch begins a checkpoint. A query for open windows that another
// process owns has to replay the journal, so with PostgreSQL journals are kept short. With SQLite such queries are
// rare, and a longer time means fewer writes of keys that change all the time.
func (o *output) rowsEvery() time.Duration {
	if o.db.Dialect == sqldb.Postgres {
		return 30 * time.Second
	}
	return 5 * time.Minute
}
