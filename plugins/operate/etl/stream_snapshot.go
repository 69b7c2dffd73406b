package etl

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// kept are the rows of a delivery that is too large for memory, in blocks on disk.
type kept struct {
	stage             stage
	run               progress
	written, rejected int64
}

// snapshot writes the rows that a table has to the sinks that have nothing, as one batch each, so
// that nobody sees a part. A stream that is killed meanwhile takes another snapshot.
func (st *streamed) snapshot(ctx context.Context, in following, from snapshotting) error {
	rows, to, err := from.snapshot(ctx)
	if err != nil {
		return err
	}
	defer rows.close()
	st.o.Tell("reading the rows of " + st.source.describe())
	if err := st.s.clear(); err != nil {
		return err
	}
	before, counts := st.account.counts(), st.account.counts()
	run := progress{Run: newRun(st.o.Now())}
	for !run.Done {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := st.readSnapshot(rows, &counts, &run); err != nil {
			return err
		}
		st.watch(in, counts, 0)
	}
	run.Ends = []int{run.Blocks}
	if err := st.account.coming(in.stands(), to, counts); err != nil {
		return err
	}
	d := delivery{id: run.Run, to: to, columns: st.columns, now: st.o.Now(), block: &block{},
		kept: &kept{st.s, run, counts.Written - before.Written, counts.Rejected - before.Rejected}}
	for i, sink := range st.sinks {
		if st.marks[i] != nil {
			continue
		}
		if err := sink.bring(ctx, d); err != nil {
			return fmt.Errorf("writing sink %s: %w", st.names[i], err)
		}
		has := to.clone()
		st.marks[i] = &has
		st.o.Tell(fmt.Sprintf("%s has the rows as they were at %s", st.names[i], to))
	}
	st.account.came()
	return st.s.clear()
}

// readSnapshot reads the next rows into a block.
func (st *streamed) readSnapshot(rows snapshotReading, counts *Counts, run *progress) error {
	b := &block{}
	w := into{p: st.p, planned: st.planned, segment: segment{0, len(st.planned.specs)}, counts: counts, b: b}
	for n := 0; n < st.p.block && b.size < mostBlockBytes; n++ {
		r, _, err := rows.next()
		if errors.Is(err, io.EOF) {
			run.Done = true
			break
		}
		var unread *rowError
		if err != nil && !errors.As(err, &unread) {
			return err
		}
		c := change{row: r}
		if unread != nil {
			c.err = unread
		}
		if err := w.change(c); err != nil {
			return err
		}
	}
	if err := st.s.put(run.Blocks, b); err != nil {
		return err
	}
	run.Blocks++
	return nil
}
