package rollup

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// journal stores what a batch adds before its rows are written. Rewriting the row of every
// device that sent an event costs about ten times as much as counting the event; one or a few
// entries for the whole batch cost almost nothing. So rows are written from time to time and, in
// SQLite, before a query reads them. For PostgreSQL see parted.
//
// The ledger makes this safe: an entry lists events, and merging it into rows that have
// some of them already changes nothing. A process works on the journal in a term of its own.
// When it finds another term, another process was at work: it then merges the entries into rows
// as they are stored, empties the journal, and begins a new term.
//
// Rows are written in the order in which they first lacked something, a few at a time. The
// journal is emptied from its beginning: an entry is removed when all rows that it changed have
// been written since. Some rows may have events of an entry that is still there; merging it
// again finds them in the ledger.
type journal interface {
	// term returns the current term, and whether the journal is empty.
	term(ctx context.Context) (term int64, empty bool, err error)
	// nextTerm begins a new term: what other processes have in memory becomes invalid.
	nextTerm(ctx context.Context) (term int64, err error)
	// append adds the entries of a batch under one number, higher than all before, and returns it.
	append(ctx context.Context, entries []*entryWriter, now time.Time) (seq int64, err error)
	// entries passes the entries to fn in order.
	entries(ctx context.Context, fn func(body []byte, now time.Time) error) error
	// clear removes the entries with lower numbers.
	clear(ctx context.Context, before int64) error
	// stored returns the newest minute that may have a row. Rows of later minutes can only
	// come from the process that has the term.
	stored(ctx context.Context) (bucket int64, err error)
}

// resume makes the memory agree with the journal, so that whatever is added to one is added
// to the other. The memory is only valid if the transaction commits.
func (s *Store) resume(ctx context.Context, t tx) error {
	j := t.journal()
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

// remerge merges an entry into rows as they are stored. Its events were counted when the entry
// was added. That a row has dropped its ledger since cannot lead to counting them twice: the
// ledger of a row that was written after the oldest entry was added is not dropped.
func (s *Store) remerge(ctx context.Context, t tx, body []byte, now time.Time) error {
	windows, err := decodeEntry(body)
	if err != nil {
		return err
	}
	for _, w := range windows {
		w.counted()
	}
	s.now = now
	return s.mergeAll(ctx, t, windows, nil, math.MinInt64, &Result{}, nil)
}

// counted clears the replayed flag of all events: those of a journal were accepted already.
func (w *Window) counted() {
	for i := range w.events {
		w.events[i].replayed = false
	}
}

// enter adds the note of a batch to the journal. The rows from s.unwritten[fresh] on lack
// nothing but this batch.
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

// writeAlone writes those rows from s.unwritten[fresh] on that the batch has not noted.
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

// writeOut writes the unwritten rows of a span.
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

// writeFirst writes the n rows that have been unwritten for longest.
func (s *Store) writeFirst(ctx context.Context, t tx, n int) error {
	if n == 0 {
		return nil
	}
	rows := slices.Clone(s.unwritten[:n])
	s.unwritten = slices.Delete(s.unwritten, 0, n)
	return s.writeRows(ctx, t, rows)
}

// writeRows writes rows that were removed from s.unwritten, and removes from the journal the
// entries that no row lacks any more.
func (s *Store) writeRows(ctx context.Context, t tx, entries []*entry) error {
	if err := s.putRows(ctx, t, entries); err != nil {
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
		slices.SortFunc(rows, func(a, b *windowRow) int { return a.compare(b.Key) }) // two writers lock in the same order
		if err := s.store(ctx, t, rows, s.now); err != nil {
			return err
		}
		s.written += int64(len(rows))
	}
	return nil
}

// settle removes from the journal the entries that no row lacks any more.
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

// alter runs fn, which changes minutes in other ways than counting, in one transaction that
// commits when fn returns nil. In SQLite, all that was counted before is in rows, and the
// memory is invalid afterwards. In PostgreSQL, the versions of rows show which rows in memory
// are outdated.
func (s *Store) alter(ctx context.Context, fn func(tx) error) error {
	return s.transact(ctx, all, func(t tx) error {
		if err := fn(t); err != nil || s.parted {
			return err
		}
		_, err := t.journal().nextTerm(ctx)
		return err
	})
}

// view runs fn in one read transaction. It sees every event of the span whose batch was
// acknowledged before. fn may be called more than once, when objects are replaced meanwhile.
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

// movedMost is how often view tries when objects of old minutes are replaced meanwhile.
const movedMost = 5

// currentTimeout bounds how long a reader waits for rows to be written.
const currentTimeout = time.Minute

// current writes the unwritten rows of a span. Once begun, it is not cancelled with ctx: an
// interrupted write invalidates the memory, and all rows would have to be read again.
func (s *Store) current(ctx context.Context, of span) error {
	if s.parted {
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

// knows reports whether all rows of a span are written.
func (s *Store) knows(term int64, of span) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return term == s.term && !slices.ContainsFunc(s.unwritten, func(e *entry) bool { return of.has(e.row.Key) })
}

// WriteOut writes all unwritten rows of all processes. When it returns nil, the tables contain
// every event whose batch was acknowledged before.
func (s *Store) WriteOut(ctx context.Context) error {
	if s.parted {
		return s.foldAll(ctx)
	}
	return s.current(ctx, all)
}

// leave writes the unwritten rows of this process, before it ends.
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

// writeDue writes the rows that are due, some in each transaction, so that batches do not wait
// for all of them.
func (s *Store) writeDue(ctx context.Context) error {
	s.mu.Lock()
	idle := s.term == 0
	if s.parted && (idle && !s.owes || !idle && s.due(s.limits) == 0) {
		s.evicted += int64(s.cache.trim(s.limits.Cache, time.Now().Unix()))
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	if idle && s.parted {
		return s.exclusive(ctx, func(tx) error { return nil }) // resume reads its part of the journal and writes it
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
			if due == 0 { // trim here, because no batch may come that does
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

// transact runs fn in one transaction. In SQLite, rows of the span have all that was counted
// when fn runs.
func (s *Store) transact(ctx context.Context, of span, fn func(tx) error) error {
	if s.parted {
		return s.backend.update(ctx, fn)
	}
	return s.exclusive(ctx, func(t tx) error {
		if err := s.writeOut(ctx, t, of); err != nil {
			return err
		}
		return fn(t)
	})
}

// exclusive runs fn in one transaction while it holds the lock of the memory, which fn may
// change. When the transaction fails, the memory is forgotten.
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
		s.failed(written)
	}
	return err
}
