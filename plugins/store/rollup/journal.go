package rollup

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// journal is how a database takes what a batch adds before its rows are
// written. Rewriting the row of every device that has sent something costs ten
// times what counting does; an entry for all of the batch, or some, next to
// nothing. So rows are written now and then, and in SQLite before a query reads
// them; see parted for PostgreSQL.
//
// The ledger makes that safe: an entry lists events, and merging it into rows
// that have some of them changes nothing. Who works on the journal does so in a
// term of its own. Who finds another term than its own knows that somebody else
// was here: it merges what the journal has into rows as they are stored, empties
// it, and begins a new term.
//
// Rows are written in the order in which they began to lack something, a few at
// a time, and the journal is emptied from its beginning: an entry goes when all
// rows that it changed have been written since. An entry that is still there may
// be in some rows already, which the ledger tells.
type journal interface {
	// term returns the current term, and whether the journal is empty.
	term(ctx context.Context) (term int64, empty bool, err error)
	// nextTerm begins a new one: what others have in memory is void.
	nextTerm(ctx context.Context) (term int64, err error)
	// append returns the number of a batch's entries, which is above those before.
	append(ctx context.Context, entries []*entryWriter, now time.Time) (seq int64, err error)
	// entries hands on what was appended and is not cleared, in order.
	entries(ctx context.Context, fn func(body []byte, now time.Time) error) error
	// clear removes the entries below a number.
	clear(ctx context.Context, before int64) error
	// stored is the newest minute of which there is a row; later ones come from who
	// has the term alone.
	stored(ctx context.Context) (bucket int64, err error)
}

// resume makes the memory that of the journal, so that adding to one adds to the
// other. Nothing of it is true until the transaction has committed.
func (s *Store) resume(ctx context.Context, t tx) error {
	j := t.journal()
	if j == nil {
		return nil
	}
	term, empty, err := j.term(ctx)
	if err != nil {
		return fmt.Errorf("reading the journal's term: %w", err)
	}
	if term == s.term {
		return nil
	}
	s.forget()
	if !empty {
		err := j.entries(ctx, func(body []byte, now time.Time) error { return s.remerge(ctx, t, body, now) })
		if err != nil {
			return fmt.Errorf("reading the journal: %w", err)
		}
		if err := s.writeOut(ctx, t, all); err != nil {
			return err
		}
	}
	if s.term, err = j.nextTerm(ctx); err != nil {
		return err
	}
	s.owes = false
	if s.cache.lacks, err = j.stored(ctx); err != nil {
		return fmt.Errorf("reading which minutes there are: %w", err)
	}
	return nil
}

// remerge merges an entry into rows as they are stored. What it has was counted:
// a ledger that its row has lost since knew none of it, because rows keep their
// ledgers that were written since the oldest entry was added.
func (s *Store) remerge(ctx context.Context, t tx, body []byte, now time.Time) error {
	windows, err := decodeEntry(body)
	if err != nil {
		return err
	}
	for _, w := range windows {
		w.counted()
	}
	s.now = now
	_, err = s.mergeAll(ctx, t, windows, nil, math.MinInt64, &Result{}, nil)
	return err
}

// counted has events taken as what they are in a journal: not in doubt.
func (w *Window) counted() {
	for i := range w.events {
		w.events[i].replayed = false
	}
}

// enter puts what a batch counts into the journal. The rows that lack nothing
// but this batch are those of s.unwritten from fresh on.
func (s *Store) enter(ctx context.Context, t tx, of *note, now time.Time, fresh int) error {
	entries := of.filled()
	if len(entries) == 0 {
		return nil
	}
	seq, err := t.journal().append(ctx, entries, now)
	if err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	for _, e := range s.unwritten[fresh:] {
		e.seq = seq
	}
	bytes := 0
	for _, e := range entries {
		bytes += len(e.body)
	}
	s.entries = append(s.entries, journaled{seq, bytes})
	s.bytes += bytes
	return nil
}

// writeAlone writes the rows that a batch has not noted, of those from fresh on.
func (s *Store) writeAlone(ctx context.Context, t tx, of *note, fresh int) error {
	if of.alone == nil {
		return nil
	}
	var rows []*entry
	noted := slices.DeleteFunc(s.unwritten[fresh:], func(e *entry) bool {
		alone := of.alone(e.row)
		if alone {
			rows = append(rows, e)
		}
		return alone
	})
	if s.unwritten = s.unwritten[:fresh+len(noted)]; len(rows) == 0 {
		return nil
	}
	return s.writeRows(ctx, t, rows)
}

// writeOut writes rows of a span that are not.
func (s *Store) writeOut(ctx context.Context, t tx, of span) error {
	var rows []*entry
	s.unwritten = slices.DeleteFunc(s.unwritten, func(e *entry) bool {
		if !of.has(e.row.Key) {
			return false
		}
		rows = append(rows, e)
		return true
	})
	return s.writeRows(ctx, t, rows)
}

// writeFirst writes the n rows that have waited for longest.
func (s *Store) writeFirst(ctx context.Context, t tx, n int) error {
	if n == 0 {
		return nil
	}
	rows := slices.Clone(s.unwritten[:n])
	s.unwritten = slices.Delete(s.unwritten, 0, n)
	return s.writeRows(ctx, t, rows)
}

// writeRows writes rows that were in s.unwritten, and removes from the journal
// what no row lacks any more.
func (s *Store) writeRows(ctx context.Context, t tx, entries []*entry) error {
	if err := s.putRows(ctx, t, entries); err != nil || t.journal() == nil {
		return err
	}
	return s.settle(ctx, t.journal())
}

func (s *Store) putRows(ctx context.Context, t tx, entries []*entry) error {
	rows := make([]*windowRow, len(entries))
	for i, e := range entries {
		e.unwritten = false
		e.row.Version++
		rows[i] = e.row
	}
	if len(rows) > 0 {
		slices.SortFunc(rows, func(a, b *windowRow) int { return a.compare(b.Key) }) // two writers lock in one order
		if err := s.store(ctx, t, rows, s.now); err != nil {
			return err
		}
		s.written += int64(len(rows))
	}
	return nil
}

// settle removes from the journal what no row lacks any more.
func (s *Store) settle(ctx context.Context, j journal) error {
	before := int64(math.MaxInt64)
	if len(s.unwritten) > 0 {
		before = s.unwritten[0].seq
	}
	done := 0
	for done < len(s.entries) && s.entries[done].seq < before {
		s.bytes -= s.entries[done].bytes
		done++
	}
	if s.entries = slices.Delete(s.entries, 0, done); done == 0 && len(s.unwritten) > 0 {
		return nil
	}
	if err := j.clear(ctx, before); err != nil {
		return fmt.Errorf("emptying the journal: %w", err)
	}
	return nil
}

// alter runs fn, which changes minutes otherwise than by counting, in one
// transaction that commits when fn returns nil. In SQLite rows hold all that was
// counted before, and nothing that is in memory is true after it. In PostgreSQL
// the versions of rows tell who has them in memory.
func (s *Store) alter(ctx context.Context, fn func(tx) error) error {
	return s.transact(ctx, all, func(t tx) error {
		if err := fn(t); err != nil || t.journal() == nil || s.parted {
			return err
		}
		_, err := t.journal().nextTerm(ctx)
		return err
	})
}

// view runs fn in one transaction that reads, and that sees every event of a
// span whose batch was acknowledged before.
func (s *Store) view(ctx context.Context, of span, fn func(tx) error) error {
	if err := s.current(ctx, of); err != nil {
		return err
	}
	for try := 1; ; try++ {
		if err := s.backend.view(ctx, func(t tx) error {
			if s.parted {
				t = &pendingTx{tx: t, of: of}
			}
			return fn(t)
		}); !errors.Is(err, errMoved) || try == movedMost {
			return err
		}
	}
}

// movedMost is how often a reader begins again because objects of old minutes
// were replaced.
const movedMost = 5

// currentTimeout bounds the writing that a reader waits for.
const currentTimeout = time.Minute

// current writes the rows of a span that are not. Once it has begun it ends, even
// when the reader has left: a write that breaks off voids the memory, which costs
// everybody reading it again.
func (s *Store) current(ctx context.Context, of span) error {
	if !s.journals || s.parted {
		return nil
	}
	var term int64
	var empty bool
	err := s.backend.view(ctx, func(t tx) (err error) {
		term, empty, err = t.journal().term(ctx)
		return err
	})
	if err != nil || empty || s.knows(term, of) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), currentTimeout)
	defer cancel()
	return s.transact(ctx, of, func(tx) error { return nil })
}

// knows tells whether all rows of a span are written.
func (s *Store) knows(term int64, of span) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return term == s.term && !slices.ContainsFunc(s.unwritten, func(e *entry) bool { return of.has(e.row.Key) })
}

// WriteOut writes all rows that are not, of all processes. When it returns nil,
// whoever reads the tables sees every event whose batch was acknowledged before.
func (s *Store) WriteOut(ctx context.Context) error {
	if s.parted {
		return s.foldAll(ctx)
	}
	return s.current(ctx, all)
}

// leave writes the rows that this process still has to.
func (s *Store) leave(ctx context.Context) error {
	if !s.parted {
		return s.current(ctx, all)
	}
	s.mu.Lock()
	began := s.term != 0 || s.owes
	s.mu.Unlock()
	if !began {
		return nil
	}
	return s.retire(ctx)
}

// writeDue writes the rows whose time has come, some in each transaction, so
// that batches wait for few of them.
func (s *Store) writeDue(ctx context.Context) error {
	s.mu.Lock()
	idle := !s.journals || s.term == 0
	if s.parted && (idle && !s.owes || !idle && s.due(s.limits) == 0) {
		s.evicted += int64(s.cache.trim(s.limits.Cache, time.Now().Unix()))
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	if idle && s.parted {
		return s.exclusive(ctx, func(tx) error { return nil }) // which reads its part, and writes it
	}
	if idle {
		return s.WriteOut(ctx)
	}
	for more := true; more; {
		n := 0
		err := s.exclusive(ctx, func(t tx) error {
			due := s.due(s.limits)
			n = min(due, writeMost)
			more = n < due
			if due == 0 { // where no batch comes, nobody else does
				s.evicted += int64(s.cache.trim(s.limits.Cache, time.Now().Unix()))
			}
			return s.writeFirst(ctx, t, n)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// transact runs fn in one transaction in which, in SQLite, the rows of a span hold
// all that was counted.
func (s *Store) transact(ctx context.Context, of span, fn func(tx) error) error {
	if !s.journals || s.parted {
		return s.backend.update(ctx, fn)
	}
	return s.exclusive(ctx, func(t tx) error {
		if err := s.writeOut(ctx, t, of); err != nil {
			return err
		}
		return fn(t)
	})
}

// exclusive runs fn, which may change the memory, in one transaction with it.
func (s *Store) exclusive(ctx context.Context, fn func(tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	written := s.written
	err := s.backend.update(ctx, func(t tx) error {
		if err := s.resume(ctx, t); err != nil {
			return err
		}
		return fn(t)
	})
	if err != nil {
		s.failed(nil, true, written)
	}
	return err
}
