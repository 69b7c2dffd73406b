package rollup

import (
	"context"
	"fmt"
	"math"
	"time"
)

// parted is a journal of which each process has its own part, so that none waits for another.
// Readers merge all parts into the rows they read, see pendingTx, so rows need not be written
// before they are read.
//
// Two processes may both have events of a window, even the same event: when a partition of the
// log is assigned to another process, or to two at once. The rows are correct in the end: the
// process that writes a row second finds a version that it does not expect, forgets its memory,
// and merges its part into rows as they are stored, by their ledgers.
//
// When a process has died, another one merges its part as if it were its own.
type parted interface {
	journal
	// meeting passes the entries of all parts that may have windows of a span to fn, in any order.
	meeting(ctx context.Context, of span, fn func(body []byte) error) error
	// hasBefore reports whether any part has an entry that was added before a time.
	hasBefore(ctx context.Context, before time.Time) (bool, error)
	// writers returns the processes that have a part.
	writers(ctx context.Context) ([]journalWriter, error)
	// take takes over the part of a process. ok is false when another process has done so, or
	// when the process has worked since w was read. After take, the process has to begin a new
	// part. The transaction must clear the part.
	take(ctx context.Context, w journalWriter) (part journal, ok bool, err error)
}

// journalWriter is a process that has a part of the journal.
type journalWriter struct {
	ID      string
	Batches int64 // how often it has worked on its part; -1 in take: any number
}

// fold writes to rows what another process's part of the journal has, and ends the part, which
// invalidates that process's memory. It does nothing when another process has done so, or
// when the process has worked since w was read.
func (s *Store) fold(ctx context.Context, w journalWriter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	written, writes := s.written, s.term != 0
	err := s.backend.update(ctx, func(t tx) error {
		if writes { // its own unwritten rows are merged with them, and written, too
			if err := s.resume(ctx, t); err != nil {
				return err
			}
		}
		part, ok, err := t.journal().(parted).take(ctx, w)
		if err != nil || !ok {
			return err
		}
		if err := part.entries(ctx, func(body []byte, now time.Time) error {
			return s.remerge(ctx, t, body, now)
		}); err != nil {
			return fmt.Errorf("reading the journal of a process: %w", err)
		}
		rows := s.unwritten
		s.unwritten = nil
		if err := s.putRows(ctx, t, rows); err != nil {
			return err
		}
		if writes {
			if err := s.settle(ctx, t.journal()); err != nil {
				return err
			}
		}
		return part.clear(ctx, math.MaxInt64)
	})
	if err != nil {
		s.failed(written)
	} else if !writes {
		s.forget()
	}
	return err
}

// retire writes the unwritten rows of this process, and ends its part.
func (s *Store) retire(ctx context.Context) error {
	return s.again(ctx, func() error {
		return s.exclusive(ctx, func(t tx) error {
			if err := s.writeOut(ctx, t, all); err != nil {
				return err
			}
			_, _, err := t.journal().(parted).take(ctx, journalWriter{s.id, -1}) // which invalidates the memory
			return err
		})
	})
}

// again repeats fn, up to maxAttempts times, while another writer causes a conflict.
func (s *Store) again(ctx context.Context, fn func() error) error {
	for attempt := 1; ; attempt++ {
		err := fn()
		if !isConflict(err) || attempt == maxAttempts || ctx.Err() != nil {
			if err != nil {
				return fmt.Errorf("writing what a journal has: %w", err)
			}
			return nil
		}
	}
}

// foldAll writes to rows what all parts of the journal have. When it returns nil, rows have
// every event whose batch was acknowledged before, and whatever a process had in memory then
// is invalid.
func (s *Store) foldAll(ctx context.Context) error {
	list, err := s.writers(ctx)
	if err != nil {
		return err
	}
	for _, w := range list {
		w.Batches = -1
		end := func() error { return s.again(ctx, func() error { return s.fold(ctx, w) }) }
		if w.ID == s.id {
			end = func() error { return s.retire(ctx) }
		}
		if err := end(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) writers(ctx context.Context) (list []journalWriter, err error) {
	err = s.backend.view(ctx, func(t tx) (err error) {
		list, err = t.journal().(parted).writers(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing journals: %w", err)
	}
	return list, nil
}

// silentFor is how long a process must have been idle before its part of the journal counts as
// left behind. A process with unwritten rows is never idle for more than a few seconds. If it
// was only slow, it reads its rows again.
const silentFor = 30 * time.Second

// silence is what another process's count of batches was, and since when.
type silence struct {
	batches int64
	since   time.Time
}

// adopt folds the parts of processes that have died. It must be called regularly: it recognises
// them by not having worked between calls.
func (s *Store) adopt(ctx context.Context) error {
	if !s.parted {
		return nil
	}
	list, err := s.writers(ctx)
	if err != nil {
		return err
	}
	for _, w := range s.left(list) {
		if err := s.again(ctx, func() error { return s.fold(ctx, w) }); err != nil {
			return err
		}
	}
	return nil
}

// left returns the processes that are silent for silentFor, and notes how often each has worked.
func (s *Store) left(list []journalWriter) (left []journalWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make(map[string]silence, len(list))
	for _, w := range list {
		if w.ID == s.id {
			continue
		}
		of, seen := s.silent[w.ID]
		if !seen || of.batches != w.Batches {
			of = silence{w.Batches, time.Now()}
		}
		if known[w.ID] = of; time.Since(of.since) >= silentFor {
			left = append(left, w)
		}
	}
	s.silent = known
	return left
}
