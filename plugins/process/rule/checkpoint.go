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

// A checkpoint writes the rows of all keys that changed, so that the journal up to there
// can go. Nothing waits for it: it begins with a list of these keys, and each batch that
// follows writes some of their rows, as they are with that batch. So rows are of different
// moments, and each says of which: `seq` is the last entry of the journal that it counts.
// Who reads a partition anew counts an entry again for those keys alone whose row does not
// count it yet (replay). When the list is empty, the entries from before it was made go.
//
// A key that is gone while its row is still there leaves a row without a state: without
// it, the entries that made the key go would make it anew. It is a grave, and is deleted
// when the entries that it counts are gone.
const (
	// rowsEach is how many rows a batch writes, of all partitions' checkpoints together.
	rowsEach = 256
	// hurried is how many times as many it writes where journals grow faster than rows are
	// written: all of it when they have twice journalMost.
	hurried = 16
	// passedMost is how many keys of a list without a row to write are passed over for each
	// row.
	passedMost = 16
)

// checkpoint is how far the rows of a partition are written.
type checkpoint struct {
	until   int64 // the entries up to this one go when the lists are empty; 0: none is under way
	began   time.Time
	covered int       // bytes of these entries
	lists   []changes // what is to be written, by rule: each is put in order when its turn comes
	graves  []grave   // in the order of their seq
	trimmed int64     // the entries up to this one are gone
}

// changes are the keys of a rule that changed.
type changes struct {
	op     *operator
	keys   []*keyState
	sorted bool
}

// grave is a row without a state.
type grave struct {
	op   *operator
	name string
	seq  int64
}

// mark begins a checkpoint of all that changed with the batch at hand and before. The next
// entry is the first that is left of the journal when it ends. A key that is open now, and
// gone when its turn comes, needs a grave, whether it had a row or not: what is left may be
// the end of it without its beginning.
func (h *held) mark() {
	h.until, h.began, h.covered, h.lag = h.version, time.Now(), h.lag, 0
	for _, op := range h.ops {
		keys := op.takeChanged()
		keys = slices.DeleteFunc(keys, func(k *keyState) bool {
			now := op.keys[k.name]
			k.saved = k.saved || now == k
			return !k.saved || now != nil && now != k // that is in the list, or its row is right
		})
		if len(keys) > 0 {
			h.lists = append(h.lists, changes{op: op, keys: keys})
		}
	}
}

// takeChanged is which keys changed since it was last called, and have no row since.
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

// write gives the row of a key that changed to a writer: what there is now of its name, with
// the entry seq. That may be another key, which began when this one was gone; the row of the
// old one must not outlive the entries that made it go. left says that entries which a row
// counts may stay, so that one of a key that is gone is a grave; else no row of it stays,
// whatever that counts.
func (h *held) write(w *rowWriter, op *operator, k *keyState, seq int64, left bool) {
	k.dirty = false
	if op == w.of && k.name == w.name { // lists are in the order of names
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

// someRows are rows of a partition that are written together.
type someRows struct {
	at   place
	rows *rowWriter
	trim int64 // the entries up to this one go: the checkpoint is whole; 0: none
}

// takeRows takes rows of a checkpoint, as they are with the batch at hand, and graves that
// may go.
func (h *held) takeRows(rows int) (some someRows, n int) {
	w, passed := rowsOf(h.partition), 0
	for len(h.lists) > 0 && w.n < rows && passed < passedMost*rows {
		list := &h.lists[0]
		if !list.sorted { // pages that rows share are read and written once
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

// takeSomeRows begins a checkpoint of one of the partitions that a batch changed, if one
// is due, and takes rows of those that are under way, the oldest first, as they are with
// the batch, whose version is counted already.
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

// working tells whether rows are to be written, or graves to go.
func (c *checkpoint) working() bool {
	return c.until > 0 || len(c.graves) > 0 && c.graves[0].seq <= c.trimmed
}

// journaled is how many bytes the journals of the partitions have for which something
// still comes: one that had nothing for long may be another process's by now.
func (o *output) journaled() (all int) {
	for _, h := range o.places {
		if time.Since(h.arrived) < 2*o.rowsEvery() {
			all += h.lag + h.covered
		}
	}
	return all
}

// duly is of which of the partitions of a batch a checkpoint is to begin: one at a time,
// of which the journal is the longest.
func (o *output) duly(changed []*held, lag int) (due *held) {
	for _, h := range changed {
		if h.enters && h.until == 0 && h.lag > 0 && (due == nil || h.lag > due.lag) &&
			(lag >= o.journalMost || time.Since(h.since) >= o.rowsEvery()) {
			due = h
		}
	}
	return due
}

// rowsEvery is how long an entry waits at most for the next batch to begin a checkpoint.
// Who asks another process what is open counts the journal again; with a file that is
// seldom, and keys that change all the time are rows once in that time.
func (o *output) rowsEvery() time.Duration {
	if o.db.Dialect == sqldb.Postgres {
		return 30 * time.Second
	}
	return 5 * time.Minute
}
