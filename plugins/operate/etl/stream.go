package etl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A stream takes the records of a log into its sinks, batch by batch, until it is
// stopped. Each sink keeps beside the rows how far it is, and changes both at once:
// what it has, nobody brings it again, whatever was killed in between. A stream that
// begins asks its sinks, and goes on where the one that is furthest behind is; those
// that are ahead are met where they stand. What is in memory when a stream is killed
// is read again.

// streamSink is where a stream brings its rows.
type streamSink interface {
	// at is how far the sink is; nil: it has nothing of the log.
	at(ctx context.Context, log string) (*marks, error)
	// bring makes rows and the marks behind them durable, both or none, when the sink
	// is where the rows begin. One that is at their end already has them, and is left
	// alone; at any other place it is an error. After an error, they may have come.
	bring(ctx context.Context, d delivery) error
	close() error
}

// delivery is a batch behind the steps, for one sink.
type delivery struct {
	id      string // of the batch, and of this try
	from    *marks // where the sink was when it was last asked, or brought to
	to      marks
	columns []column
	block   *block
	kept    *kept // in its place
	now     time.Time
}

// staged is a delivery as a run has its rows: these, or those that are kept.
func (d delivery) staged(rows []row) (stage, *progress) {
	if d.kept != nil {
		return d.kept.stage, &d.kept.run
	}
	return stage{held: []*block{{rows: rows, rejects: d.block.rejects}}},
		&progress{Run: d.id, Blocks: 1, Ends: []int{1}, Done: true}
}

// has tells whether a sink has the batch already, or takes it. A sink that is at any
// other place has been brought there by somebody else: with its rows, these might
// come twice.
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

// all are the rows of who keeps all changes.
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

// size is how many of these there are; or how many rejects.
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

// merged is what a delivery is to a table that merges.
type merged struct {
	empty bool  // all rows that are there go first
	gone  []row // the rows with their keys go
	put   []row // each has a key of its own, and is of none that goes
}

// merged takes the last of several rows with one key.
func (d delivery) merged(by []string) (m merged) {
	key, err := keyOf(d.columns, by)
	if err != nil { // the sink says it, too
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

// streamed is a stream that goes on.
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
	tries   int // since the last batch that came
	told    time.Time
}

// errColumns ends a try whose source has other columns by now, which may come: the
// next begins with them.
var errColumns = errors.New("the source has new columns")

// Stream takes rows from the log into the sinks until the context ends, or, with
// UntilEnd, until what was there at the beginning has come. A stream that was stopped
// has brought whole batches; its report says how far.
func (p *Pipeline) Stream(ctx context.Context, o Options) (*Report, error) {
	s := o.stage(p.Name)
	release, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer release()
	defer p.release(ctx, o, s)
	st := &streamed{p: p, o: o, s: s, source: p.source.(logSource)} // as Load has seen to
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
		case ctx.Err() != nil, err == nil: // stopped; or at the end
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
	if st.o.UntilEnd && ctx.Err() == nil { // it may never go on for as long as it takes to the next time
		st.compact.all(ctx)
	}
	st.account.compacted(st.compact.take())
	if err := st.account.save(); err != nil {
		return nil, err
	}
	r := st.account.report(st.p, st.columns, st.o.Now())
	return r, st.s.keep(r)
}

// try opens all that the stream needs, and goes on until something fails.
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

// unchanged tells whether the source has the columns that the account knows; and
// whether, as it was before, it may have had others.
func (st *streamed) unchanged(now []column) (earlier bool, err error) {
	last := st.account.Source
	if st.p.columns != nil || last == nil {
		return st.o.Accept, nil
	}
	return true, st.p.asBefore(st.o, last, "when the stream was told last", now)
}

// asked are the marks of all sinks; those of one that has nothing say nothing.
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

// begin goes to where the sinks are in the log, and brings a snapshot to those that
// have nothing, when there is one.
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

// known are the marks of the sinks that have some.
func (st *streamed) known() (all []marks) {
	for _, m := range st.marks {
		if m != nil {
			all = append(all, *m)
		}
	}
	return all
}

// pass takes a batch through the steps into each sink that lacks it. When it returns
// without an error, all of them have it.
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

// stopTimeout is how long a batch that is on its way may take when the stream is
// stopped.
const stopTimeout = 30 * time.Second

// outlasting is a context that ends some time after another.
func outlasting(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(by, cancel) })
	return out, func() { stop(); cancel() }
}

// tellEvery is how often a stream says how far it is.
const tellEvery = 10 * time.Second

// tell says how far the stream is.
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
