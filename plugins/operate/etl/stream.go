package etl

import (
	"context"
	"errors"
	"fmt"
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
	now     time.Time
}

// staged is a delivery as a run has its rows.
func (d delivery) staged(rows []row) (stage, *progress) {
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

// lastOf are rows of which each has a key of its own: of several, the last.
func lastOf(rows []row, columns []column, by []string) []row {
	key, err := keyOf(columns, by)
	if err != nil { // the sink says it, too
		return rows
	}
	at, out := map[string]int{}, make([]row, 0, len(rows))
	for _, r := range rows {
		k, null := key.of(r)
		if i, is := at[k]; is && !null {
			out[i] = r
			continue
		}
		at[k] = len(out)
		out = append(out, r)
	}
	return out
}

// streamed is a stream that goes on.
type streamed struct {
	p       *Pipeline
	o       Options
	s       stage
	source  kafkaSource
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
	st := &streamed{p: p, o: o, s: s, source: p.source.(kafkaSource)} // as Load has seen to
	if st.account, err = s.openAccount(newRun(o.Now())); err != nil {
		return nil, err
	}
	st.compact = p.compactor(ctx, o)
	defer st.compact.stop()
	for st.tries = 1; ; st.tries++ {
		err = st.try(ctx)
		switch {
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
	planned, problems := with.plan(p.columns)
	if len(problems) > 0 {
		return dataError{&ProblemsError{problems}}
	}
	st.planned, st.columns = planned, planned.columns()
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
	return st.follow(ctx)
}

// follow reads the log from where the sinks are.
func (st *streamed) follow(ctx context.Context) error {
	asked, err := st.source.dial(ctx)
	if err != nil {
		return err
	}
	log := asked.log
	asked.close()
	var reached []marks
	st.marks = make([]*marks, len(st.sinks))
	for i, sink := range st.sinks {
		if st.marks[i], err = sink.at(ctx, log); err != nil {
			return fmt.Errorf("asking sink %s how far it is: %w", st.names[i], err)
		}
		if st.marks[i] == nil {
			reached = append(reached, marks{log, nil})
		} else {
			reached = append(reached, *st.marks[i])
		}
	}
	in, err := st.source.follow(ctx, reached)
	if err != nil {
		return err
	}
	defer in.close()
	st.account.begin(in.next, reached, st.p)
	st.o.Tell(fmt.Sprintf("reading topic %s from %s", st.source.topic, in.next))
	var end *marks
	if st.o.UntilEnd {
		c := in.ends.clone()
		end = &c
	}
	for {
		g := trigger{rows: st.p.block, bytes: mostBlockBytes, every: st.p.every, idle: lagEvery, until: end}
		if top := ceiling(in.next, st.known()); top != nil {
			g.until = top
		}
		if end != nil && in.next.reached(*end) && ceiling(in.next, st.known()) == nil {
			return nil
		}
		b, err := in.batch(ctx, g)
		if err != nil {
			return err
		}
		if err := in.look(ctx); err != nil {
			return err
		}
		if len(b.records) > 0 {
			if err := st.pass(ctx, b); err != nil {
				return err
			}
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
	w := into{st.p, st.planned, segment{0, len(st.planned.specs)}, &counts, block}
	for _, rec := range b.records {
		counts.Read++
		one, err := numbered{number: counts.Read, place: placeOf(rec)}, error(nil)
		var unread *rowError
		if one.row, err = st.source.row(rec); errors.As(err, &unread) {
			err = w.fail(one, -1, unread.reason, st.p.onFailure, unread.raw)
		} else if err == nil {
			err = w.take(one)
		}
		if err != nil {
			return err
		}
	}
	if err := st.account.coming(b.from, b.to, counts); err != nil {
		return err
	}
	ctx, cancel := outlasting(ctx, stopTimeout)
	defer cancel()
	d := delivery{newRun(st.o.Now()), nil, b.to, st.columns, block, st.o.Now()}
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
func (st *streamed) tell(in *logStream, b *logBatch) {
	st.account.compacted(st.compact.take())
	lag, behind := in.lag(), time.Duration(0)
	for _, rec := range b.records {
		behind = max(behind, st.o.Now().Sub(rec.Timestamp))
	}
	st.account.lag = lag
	all := int64(0)
	for _, n := range lag {
		all += n
	}
	c := st.account.Counts
	if st.o.Watch != nil {
		st.o.Watch(Progress{st.account.Run, c, lag, behind, st.account.Batches})
	}
	if st.told.IsZero() || st.o.Now().Sub(st.told) >= tellEvery {
		st.told = st.o.Now()
		st.o.Tell(fmt.Sprintf("%d read, %d filtered, %d dropped, %d rejected, %d written; lag %d records; the last batch "+
			"took %s from the first append", c.Read, c.Filtered, c.Dropped, c.Rejected, c.Written, all,
			behind.Round(time.Millisecond)))
	}
}
