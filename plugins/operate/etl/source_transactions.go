package etl

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// transaction is a committed transaction, with its changes of the table, as a database's log has
// it. Positions of the log are numbers that only grow.
type transaction[I any] struct {
	begin int64 // position at which it, or its commit, begins
	end   int64 // position after it
	at    time.Time
	items []I
	bytes int
	err   error // why it cannot be processed

	quiet int64 // with end 0: there is no transaction, and nothing more up to this position
}

const (
	waitTick   = 100 * time.Millisecond // how often a reader that waits for the writer calls meanwhile
	mostQueued = 64 << 20               // bytes that wait for the writer
	valueBytes = 64                     // estimated memory of a value beside its bytes
	mostQuiet  = 16 << 20               // distance in the log without changes, after which sinks record the position
	quietEvery = 60 * time.Second       // how often they do, at most
)

// transactionQueue is between the reader of the log and the writer to the sinks.
type transactionQueue[I any] struct {
	out    chan *transaction[I]
	err    error // why out was closed
	queued atomic.Int64
}

// hand passes a transaction to the writer. It waits while more than mostQueued bytes are queued,
// and calls meanwhile every waitTick. A quiet position is dropped instead of waiting.
func (q *transactionQueue[I]) hand(ctx context.Context, t *transaction[I], meanwhile func() error) error {
	tick := time.NewTicker(waitTick)
	defer tick.Stop()
	for {
		out := q.out
		if q.queued.Load() > mostQueued {
			out = nil
		}
		select {
		case out <- t:
			q.queued.Add(int64(t.bytes))
			return nil
		default:
		}
		if t.end == 0 {
			return nil // the next quiet position includes this one
		}
		select {
		case out <- t:
			q.queued.Add(int64(t.bytes))
			return nil
		case <-tick.C:
			if err := meanwhile(); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stand is the state of a stream in a log of transactions. Its marks have one number: a position at
// which a transaction, or something between two transactions, begins.
type stand[I any] struct {
	log     string
	queue   *transactionQueue[I] // nil: the log is not read yet
	stood   marks
	ends    marks
	seen    int64 // position up to which the log has nothing more for this stream
	flushed int64 // position that all sinks have reached
	noted   time.Time
	held    *transaction[I]
}

func (s *stand[I]) id() string         { return s.log }
func (s *stand[I]) stands() marks      { return s.stood }
func (s *stand[I]) bound() marks       { return s.ends }
func (s *stand[I]) unit() string       { return UnitBytes }
func (s *stand[I]) mark(n int64) marks { return marks{s.log, map[int32]int64{0: n}} }

// reached returns the position up to which the log has nothing that was not read.
func (s *stand[I]) reached() int64 { return max(s.stood.Next[0], s.seen) }

func (s *stand[I]) countBetween(context.Context, marks, marks) (int64, bool, error) {
	return 0, false, nil
}

// lowest returns the position of the sink that is furthest behind, of those that have something;
// -1: none has.
func lowest(sinks []marks) int64 {
	low := int64(-1)
	for _, m := range sinks {
		if at, is := m.Next[0]; is && (low < 0 || at < low) {
			low = at
		}
	}
	return low
}

// take collects whole transactions into a batch. rows converts one to changes; lost says why no
// more come.
func (s *stand[I]) take(ctx context.Context, g trigger, rows func(context.Context, *transaction[I]) ([]change, error),
	lost func(error) error) (*logBatch, error) {
	b := &logBatch{from: s.stood.clone()}
	var all []change
	began, bytes := time.Now(), 0
	for len(all) < g.rows && bytes < g.bytes && !(g.until != nil && s.stood.reached(*g.until)) {
		wait := g.idle
		if len(all) > 0 {
			wait = g.every
		}
		t, err := s.following(ctx, wait-time.Since(began), lost)
		if err != nil {
			return nil, err
		}
		if t == nil {
			break
		}
		if t.end == 0 {
			s.quiet(t.quiet, g.until)
			continue
		}
		if g.until != nil && t.begin >= g.until.Next[0] {
			s.held, s.stood = t, s.mark(g.until.Next[0])
			break
		}
		changes, err := rows(ctx, t)
		if err != nil {
			if s.held = t; len(all) > 0 {
				break // first deliver what was committed before it
			}
			return nil, err
		}
		if len(all) == 0 && len(changes) > 0 {
			began, b.oldest = time.Now(), t.at
		}
		s.stood, s.seen = s.mark(max(t.end, s.stood.Next[0])), max(s.seen, t.end)
		all, bytes = append(all, changes...), bytes+t.bytes
	}
	b.changes = len(all)
	b.due = b.changes == 0 && s.dueQuiet(g.until)
	b.to = s.stood.clone()
	b.each = func(do func(change) error) error {
		for _, c := range all {
			if err := do(c); err != nil {
				return err
			}
		}
		return nil
	}
	return b, nil
}

// following returns the next transaction or quiet position; nil: none came within wait.
func (s *stand[I]) following(ctx context.Context, wait time.Duration, lost func(error) error) (*transaction[I], error) {
	if t := s.held; t != nil {
		s.held = nil
		return t, nil
	}
	timer := time.NewTimer(max(0, wait))
	defer timer.Stop()
	select {
	case t, is := <-s.queue.out:
		if !is {
			return nil, lost(s.queue.err)
		}
		s.queue.queued.Add(-int64(t.bytes))
		return t, nil
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// quiet notes that there is nothing more up to a position.
func (s *stand[I]) quiet(at int64, until *marks) {
	s.seen = max(s.seen, at)
	if until != nil && s.seen >= until.Next[0] && s.stood.Next[0] < until.Next[0] {
		s.stood = s.mark(until.Next[0])
	}
}

// dueQuiet tells whether sinks are to record that there was nothing up to here, so that the log
// need not be kept for them. If it returns true, s.stood is the position to record.
func (s *stand[I]) dueQuiet(until *marks) bool {
	if s.held != nil || s.seen-s.flushed <= mostQuiet || time.Since(s.noted) <= quietEvery {
		return false
	}
	if until == nil {
		s.stood = s.mark(s.seen)
	} else if !s.stood.reached(*until) {
		return false
	}
	s.noted = time.Now()
	return true
}

// changed collects the changes of a transaction, in its order.
type changed struct {
	facts    changeFacts
	end      string // position after the transaction, for rejects
	position string // the same, as a text that sorts like it
	at       time.Time
	all      []change
	n        int // number of changes that sinks which keep all changes get
}

func (c *changed) add(o op, operation string, r row, err error) {
	n := c.n + 1
	if o != opUnseen {
		c.n = n
	}
	one := change{place: c.end + "/" + strconv.Itoa(n), op: o, err: err}
	if err == nil {
		one.row = c.facts.of(r, operation, c.position, int64(n), c.at)
	}
	c.all = append(c.all, one)
}

// row adds the changes that one item of the log makes: for an update that changes the key, a delete
// and an insert. old is nil if the log does not have it.
func (c *changed) row(old, next row, updates, moved bool) {
	switch {
	case next == nil:
		c.add(opGone, operationDelete, old, nil)
		return
	case old != nil && moved:
		c.add(opGone, operationDelete, old, nil)
		c.add(opPut, operationInsert, next, nil)
		return
	case old != nil:
		c.add(opUnseen, operationDelete, old, nil)
	}
	operation := operationInsert
	if updates {
		operation = operationUpdate
	}
	c.add(opPut, operation, next, nil)
}

// sameKey tells whether two rows have the same values in the columns key.
func sameKey(cols []column, key []string, a, b row) bool {
	for i, c := range cols {
		if slices.Contains(key, c.name) && a[i] != b[i] {
			return false
		}
	}
	return true
}

// planReading is a table that is opened for a plan, and not read.
type planReading struct{ asked }

type asked interface {
	columns() []column
	notes() []string // what a user should know before running the pipeline
	known() (columns []string, mend string)
	describe() string
	close()
}

func (planReading) identity() string                   { return "" }
func (planReading) from(context.Context, string) error { return errNotRead }
func (planReading) next() (row, string, error)         { return nil, "", errNotRead }
func (planReading) count(context.Context) (int64, error) {
	return 0, errNotRead
}

var errNotRead = dataError{errors.New("changes are followed by a stream, and not read by a run")}
