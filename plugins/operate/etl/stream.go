package etl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A stream takes the records of a log into its sinks, batch by batch, until it is stopped. Each
// sink records its position in the log beside the rows, and changes both in one step: whatever was
// killed in between, no row is written twice. A stream that begins asks its sinks for their
// positions, and reads from the one that is furthest behind; a sink that is ahead gets nothing
// until its position is reached. What is in memory when a stream is killed is read again.

// streamSink is where a stream writes its rows.
type streamSink interface {
	// at returns the sink's position in the log; nil: it has nothing of this log.
	at(ctx context.Context, log string) (*marks, error)
	// bring makes rows and the position after them durable, both or none, if the sink's position is
	// d.from. A sink that has reached d.to has the rows already, and is not changed; any other position
	// is an error. After an error, the rows may be there.
	bring(ctx context.Context, d delivery) error
	close() error
}

// delivery is a batch after the steps, for one sink.
type delivery struct {
	id      string // of this attempt to write the batch
	from    *marks // position of the sink when it was last asked or written to; nil: it has nothing
	to      marks
	columns []column
	block   *block
	kept    *kept // rows on disk, instead of block
	now     time.Time
}

// staged returns a delivery in the form of a run's rows: the given ones, or those that are kept on
// disk.
func (d delivery) staged(rows []row) (stage, *progress) {
	if d.kept != nil {
		return d.kept.stage, &d.kept.run
	}
	return stage{held: []*block{{rows: rows, rejects: d.block.rejects}}},
		&progress{Run: d.id, Blocks: 1, Ends: []int{1}, Done: true}
}

// has tells whether the sink has the batch already. If the sink's position is neither before nor
// after the batch, it returns an error: another writer has moved it, and rows might be written
// twice.
func (d delivery) has(is *marks) (bool, error) {
	switch {
	case is != nil && is.reached(d.to):
		return true, nil
	case is.equal(d.from):
		return false, nil
	}
	return false, dataError{fmt.Errorf("it is at %s, and neither where this stream left it (%s) nor behind the batch (%s)"+
		": somebody else writes there under the name of this pipeline", is, d.from, d.to)}
}

// all returns the rows for a sink that keeps all changes.
func (d delivery) all() []row {
	if len(d.block.ops) == 0 {
		return d.block.rows
	}
	var out []row
	for i, r := range d.block.rows {
		if d.block.op(i) != opUnseen {
			out = append(out, r)
		}
	}
	return out
}

// size returns the number of these rows, or, if rejects is set, of rejects.
func (d delivery) size(rejects bool) int64 {
	switch {
	case d.kept != nil && rejects:
		return d.kept.rejected
	case d.kept != nil:
		return d.kept.written
	case rejects:
		return int64(len(d.block.rejects))
	}
	return int64(len(d.all()))
}

// merged is what a delivery does to a table that merges.
type merged struct {
	empty bool  // all rows that the table has are deleted first
	gone  []row // rows whose keys are deleted
	put   []row // rows to write; no two have the same key, and none has one of gone
}

// merged keeps the last of several changes of one key.
func (d delivery) merged(by []string) (m merged) {
	key, err := keyOf(d.columns, by)
	if err != nil { // the sink returns this error, too
		return merged{put: d.block.rows}
	}
	at, last := map[string]int{}, make([]int, 0, len(d.block.rows))
	for i, r := range d.block.rows {
		if d.block.op(i) == opEmpty {
			m.empty, last = true, last[:0]
			clear(at)
			continue
		}
		k, null := key.of(r)
		if n, is := at[k]; is && !null {
			last[n] = i
			continue
		}
		at[k] = len(last)
		last = append(last, i)
	}
	for _, i := range last {
		if d.block.op(i) == opPut {
			m.put = append(m.put, d.block.rows[i])
		} else {
			m.gone = append(m.gone, d.block.rows[i])
		}
	}
	return m
}

// streamed is a stream in progress.
type streamed struct {
	p       *Pipeline
	o       Options
	s       stage
	source  logSource
	planned *planned
	columns []column
	names   []string // of the sinks
	sinks   []streamSink
	marks   []*marks // of the sinks
	account *account
	compact *compactor
	tries   int // attempts since the last batch that was written
	told    time.Time
}

// errColumns ends an attempt because the source has new columns, which are accepted. The next
// attempt begins with them.
var errColumns = errors.New("the source has new columns")

// Stream takes rows from the log into the sinks until ctx is done, or, with UntilEnd, until it has
// read what was there at the beginning. Stopping it is no error: then the sinks have whole batches,
// and the report says up to which position.
func (p *Pipeline) Stream(ctx context.Context, o Options) (*Report, error) {
	s := o.stage(p.Name)
	release, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer release()
	defer p.release(ctx, o, s)
	st := &streamed{p: p, o: o, s: s, source: p.source.(logSource)} // Load has checked it
	if st.account, err = s.openAccount(newRun(o.Now())); err != nil {
		return nil, err
	}
	st.compact = p.compactor(ctx, o)
	defer st.compact.stop()
	for st.tries = 1; ; st.tries++ {
		err = st.try(ctx)
		switch {
		case errors.Is(err, errColumns):
			o.Tell("the source has new columns: going on with them")
			st.tries = 0
			continue
		case Final(err):
			return nil, err
		case ctx.Err() != nil, err == nil: // stopped, or at the end
			return st.ended(ctx)
		case st.tries >= o.Tries:
			return nil, err
		}
		o.Tell(fmt.Sprintf("try %d of %d: %v; again in %s", st.tries, o.Tries, err, o.Pause))
		if o.wait(ctx) != nil {
			return st.ended(ctx)
		}
	}
}

func (st *streamed) ended(ctx context.Context) (*Report, error) {
	if !st.account.began {
		return nil, errors.New("the stream was stopped before it began")
	}
	st.compact.stop()
	if st.o.UntilEnd && ctx.Err() == nil { // it may never run for as long as an interval
		st.compact.all(ctx)
	}
	st.account.compacted(st.compact.take())
	if err := st.account.save(); err != nil {
		return nil, err
	}
	r := st.account.report(st.p, st.columns, st.o.Now())
	return r, st.s.keep(r)
}

// try opens the source and the sinks, and follows the log until something fails.
func (st *streamed) try(ctx context.Context) (err error) {
	id, err := st.s.identity()
	if err != nil {
		return err
	}
	p := st.p
	if err := p.claimAll(ctx, st.o, st.s); err != nil {
		return err
	}
	with, err := p.withTables(ctx, true)
	if err != nil {
		return err
	}
	in, err := st.source.dial(ctx)
	if err != nil {
		return err
	}
	defer in.close()
	earlier, err := st.unchanged(in.columns())
	if err != nil {
		return err
	}
	planned, problems := with.plan(in.columns())
	if len(problems) > 0 {
		return dataError{&ProblemsError{problems}}
	}
	st.planned, st.columns = planned, planned.columns()
	if s, is := in.(snapshotting); is {
		known, mend := s.known()
		if err := p.checkKeys(in.describe(), known, mend); err != nil {
			return err
		}
	}
	for _, t := range p.sinks {
		if err := p.takes(ctx, t, st.columns); err != nil {
			return fmt.Errorf("planning sink %s: %w", t, err)
		}
	}
	st.names, st.sinks = nil, nil
	defer func() {
		for _, sink := range st.sinks {
			err = errors.Join(err, sink.close())
		}
	}()
	for _, t := range p.targets() {
		sink, err := p.streamInto(ctx, t, id)
		if err != nil {
			return fmt.Errorf("opening sink %s: %w", t, err)
		}
		if st.o.wrap != nil {
			sink = st.o.wrap(sink)
		}
		st.names, st.sinks = append(st.names, t.String()), append(st.sinks, sink)
	}
	return st.follow(ctx, in, earlier)
}

// unchanged returns an error if the source's columns differ from those in the account, unless that
// is accepted. earlier tells whether rows with other columns, from before, may come.
func (st *streamed) unchanged(now []column) (earlier bool, err error) {
	last := st.account.Source
	if st.p.columns != nil || last == nil {
		return st.o.Accept, nil
	}
	return true, st.p.asBefore(st.o, last, "when the stream was told last", now)
}

// asked asks all sinks for their positions. A sink that has nothing is not in reached.
func (st *streamed) asked(ctx context.Context, log string) (reached []marks, err error) {
	st.marks = make([]*marks, len(st.sinks))
	for i, sink := range st.sinks {
		if st.marks[i], err = sink.at(ctx, log); err != nil {
			return nil, fmt.Errorf("asking sink %s how far it is: %w", st.names[i], err)
		}
	}
	return st.reached(log), nil
}

func (st *streamed) reached(log string) (all []marks) {
	for _, m := range st.marks {
		if m == nil {
			m = &marks{log, nil}
		}
		all = append(all, *m)
	}
	return all
}

// begin goes to the position of the sinks in the log. If the source has snapshots, sinks that have
// nothing get one first.
func (st *streamed) begin(ctx context.Context, in following, earlier bool) error {
	reached, err := st.asked(ctx, in.id())
	if err != nil {
		return err
	}
	if err := in.begin(ctx, reached, earlier); err != nil {
		return err
	}
	st.account.begin(in.stands(), reached, st.p)
	if st.p.columns == nil {
		st.account.Source = told(in.columns())
	}
	s, is := in.(snapshotting)
	if !is || !slices.Contains(st.marks, nil) {
		return nil
	}
	if err := st.snapshot(ctx, in, s); err != nil {
		return err
	}
	return in.begin(ctx, st.reached(in.id()), earlier)
}

// follow reads the log from where the sinks are.
func (st *streamed) follow(ctx context.Context, in following, earlier bool) error {
	if err := st.begin(ctx, in, earlier); err != nil {
		return err
	}
	st.o.Tell(fmt.Sprintf("reading %s from %s", in.describe(), in.stands()))
	var end *marks
	if st.o.UntilEnd {
		c := in.bound().clone()
		end = &c
	}
	for {
		g := trigger{rows: st.p.block, bytes: mostBlockBytes, every: st.p.every, idle: lagEvery, until: end}
		if top := ceiling(in.stands(), st.known()); top != nil {
			g.until = top
		}
		if end != nil && in.stands().reached(*end) && ceiling(in.stands(), st.known()) == nil {
			return nil
		}
		b, err := in.batch(ctx, g)
		if err != nil {
			return err
		}
		if err := in.look(ctx); err != nil {
			return err
		}
		if b.changes > 0 || b.due {
			if err := st.pass(ctx, b); err != nil {
				return err
			}
			in.came(least(in.stands(), st.known()))
			st.tries = 0
		}
		st.tell(in, b)
	}
}

// known returns the positions of the sinks that have one.
func (st *streamed) known() (all []marks) {
	for _, m := range st.marks {
		if m != nil {
			all = append(all, *m)
		}
	}
	return all
}

// pass takes a batch through the steps into each sink that lacks it. When it returns nil, all sinks
// have it durably.
func (st *streamed) pass(ctx context.Context, b *logBatch) error {
	counts := st.account.counts()
	block := &block{}
	w := into{st.p, st.planned, segment{0, len(st.planned.specs)}, &counts, block, st.p.columns == nil}
	if err := b.each(w.change); err != nil {
		return err
	}
	if err := st.account.coming(b.from, b.to, counts); err != nil {
		return err
	}
	ctx, cancel := outlasting(ctx, stopTimeout)
	defer cancel()
	d := delivery{id: newRun(st.o.Now()), to: b.to, columns: st.columns, block: block, now: st.o.Now()}
	for i, sink := range st.sinks {
		if st.marks[i] != nil && st.marks[i].reached(b.to) {
			continue
		}
		d.from = st.marks[i]
		if err := sink.bring(ctx, d); err != nil {
			return fmt.Errorf("writing sink %s: %w", st.names[i], err)
		}
		to := b.to.clone()
		st.marks[i] = &to
	}
	st.account.came()
	return nil
}

// stopTimeout bounds how long a batch in progress may take after the stream was stopped.
const stopTimeout = 30 * time.Second

// outlasting returns a context that is canceled some time after ctx.
func outlasting(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(by, cancel) })
	return out, func() { stop(); cancel() }
}

// tellEvery is how often a stream tells the user its progress.
const tellEvery = 10 * time.Second

// tell reports the progress of the stream.
func (st *streamed) tell(in following, b *logBatch) {
	st.account.compacted(st.compact.take())
	behind := time.Duration(0)
	if !b.oldest.IsZero() {
		behind = max(0, st.o.Now().Sub(b.oldest))
	}
	st.account.lag, st.account.unit = in.lag(), in.unit()
	all := int64(0)
	for _, n := range st.account.lag {
		all += n
	}
	c := st.account.Counts
	st.watch(in, c, behind)
	if st.told.IsZero() || st.o.Now().Sub(st.told) >= tellEvery {
		st.told = st.o.Now()
		st.o.Tell(fmt.Sprintf("%d read, %d filtered, %d dropped, %d rejected, %d written; lag %d %s; the last batch "+
			"took %s from the first append", c.Read, c.Filtered, c.Dropped, c.Rejected, c.Written, all, in.unit(),
			behind.Round(time.Millisecond)))
	}
}

func (st *streamed) watch(in following, c Counts, behind time.Duration) {
	if st.o.Watch != nil {
		st.o.Watch(Progress{st.account.Run, c, in.lag(), in.unit(), behind, st.account.Batches})
	}
}
