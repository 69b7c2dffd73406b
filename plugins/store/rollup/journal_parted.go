package rollup

import (
	"context"
	"fmt"
	"math"
	"time"
)

// parted is a journal of which each process has a part of its own, so that none
// waits for another. Readers merge what the parts have into what they read of
// rows, see pendingTx; nobody has rows written to read them.
//
// Two processes may both have something of a window, and each may count an event
// that the other one has: when a log's partition changes hands, or when both are
// given it. The rows agree in the end: who writes one of them second finds another
// version than it knows, forgets what it has in memory, and merges its part into
// rows as they are stored, by their ledgers.
//
// What a process leaves that died, another one merges as if it were its own.
type parted interface {
	journal
	// meeting hands on, in any order, what the parts have that may be of a span.
	meeting(ctx context.Context, of span, fn func(body []byte) error) error
	// hasBefore tells whether there is an entry that was added before a time.
	hasBefore(ctx context.Context, before time.Time) (bool, error)
	// writers lists the processes that have a part.
	writers(ctx context.Context) ([]journalWriter, error)
	// take takes a part over, unless somebody else has or its process has worked
	// since: that begins anew. The transaction must clear it.
	take(ctx context.Context, w journalWriter) (part journal, ok bool, err error)
}

// journalWriter is a process that has a part.
type journalWriter struct {
	ID      string
	Batches int64 // how often it was at work; -1: however often
}

// fold writes the rows that another process's part of the journal has, and ends the
// part, so that its memory is void. It does nothing when that was done by somebody
// else, or the process has worked since.
func (s *Store) fold(ctx context.Context, w journalWriter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	written, writes := s.written, s.term != 0
	err := s.backend.update(ctx, func(t tx) error {
		if writes { // its own rows are merged with, and written, too
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
		s.failed(nil, true, written)
	} else if !writes {
		s.forget()
	}
	return err
}

// retire writes the rows that this process has to, and ends its part.
func (s *Store) retire(ctx context.Context) error {
	return s.again(ctx, func() error {
		return s.exclusive(ctx, func(t tx) error {
			if err := s.writeOut(ctx, t, all); err != nil {
				return err
			}
			_, _, err := t.journal().(parted).take(ctx, journalWriter{s.id, -1}) // which voids the memory
			return err
		})
	})
}

// again does what another writer may come in between.
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

// foldAll writes the rows of all journals. When it returns nil, rows have every
// event whose batch was acknowledged before, and what any process had in memory
// then is void.
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

// silentFor is for how long a process has done nothing when its part of the journal
// is taken for left behind. One that has something in memory does something each
// few seconds; where it was only slow, it reads its rows again.
const silentFor = 30 * time.Second

// silence is since when a process has done nothing, as another one sees it.
type silence struct {
	batches int64
	since   time.Time
}

// adopt merges what processes have left behind. It is called again and again:
// that a process is silent shows in time.
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

// left lists the processes that are silent, and notes what all of them have done.
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
