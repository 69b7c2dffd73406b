package etl

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"weir/plugins/store/lake"
)

// dataError is an error that a retry does not mend: the pipeline or the data is wrong.
type dataError struct{ error }

// Unwrap returns the cause.
func (e dataError) Unwrap() error { return e.error }

// Final tells whether an error is one of the data or the pipeline: a retry without a change would
// fail again.
func Final(err error) bool { return errors.As(err, new(dataError)) }

// Options configure a run.
type Options struct {
	State    string            // folder of the states of all pipelines
	Fresh    bool              // start anew, even if an interrupted run could continue
	TakeOver bool              // take sinks from another pipeline or state that has claimed them
	Accept   bool              // accept changed columns of the source
	Tries    int               // most attempts
	Pause    time.Duration     // between attempts
	Tell     func(line string) // is called with each event worth telling the user
	Now      func() time.Time  // the clock

	UntilEnd bool                        // of a stream: end at the position where the log ended at the start
	Watch    func(Progress)              // is called after each batch of a stream and each block of a run; nil: not
	wrap     func(streamSink) streamSink // for tests
}

func (o Options) stage(name string) stage { return stage{dir: filepath.Join(o.State, name)} }

// Run carries out the pipeline and returns its report. When it returns nil, every sink has all rows
// of the run, durably. After an error each sink has all of them or none. Errors that are not final
// are retried, and a retry, like the next Run, continues from the last durable block.
func (p *Pipeline) Run(ctx context.Context, o Options) (*Report, error) {
	s := o.stage(p.Name)
	release, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer release()
	defer p.release(ctx, o, s)
	if o.Fresh {
		at, err := s.load()
		if err != nil {
			return nil, err
		}
		for _, table := range p.appended(at) {
			o.Tell(fmt.Sprintf("run %s has, or may have, appended to %s: its rows come there a second time", at.Run, table))
		}
		if err := s.clear(); err != nil {
			return nil, err
		}
	}
	for try := 1; ; try++ {
		report, err := p.try(ctx, o, s)
		if err == nil || Final(err) || try >= o.Tries || ctx.Err() != nil {
			return report, err
		}
		o.Tell(fmt.Sprintf("try %d of %d: %v; again in %s", try, o.Tries, err, o.Pause))
		if err := o.wait(ctx); err != nil {
			return nil, err
		}
	}
}

func (o Options) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(o.Pause):
		return nil
	}
}

// try continues the interrupted run in the state, or begins one.
func (p *Pipeline) try(ctx context.Context, o Options, s stage) (*Report, error) {
	at, err := s.load()
	if err != nil {
		return nil, err
	}
	switch {
	case at == nil:
	case at.Pipeline != p.hash():
		if tables := p.appended(at); len(tables) > 0 {
			return nil, dataError{fmt.Errorf("the pipeline has changed since run %s was interrupted, and that one has, or may "+
				"have, appended to %s: end it with the pipeline as it was, or look what is there and begin anew with --fresh",
				at.Run, strings.Join(tables, ", "))}
		}
		o.Tell("the pipeline has changed since the run that was interrupted: beginning anew")
		at = nil
	case s.reported(at.Run): // it had finished, but its state was not removed yet
		at = nil
	}
	if err := p.claimAll(ctx, o, s); err != nil {
		return nil, err
	}
	columns, at, err := p.stageRows(ctx, o, s, at)
	if err != nil {
		return nil, err
	}
	if err := p.loadSinks(ctx, o, s, at, columns); err != nil {
		return nil, err
	}
	report := p.report(at, o.Now())
	if err := s.keep(report); err != nil {
		return nil, err
	}
	return report, s.clear()
}

// appended returns the tables to which an interrupted run has appended rows, or may have. A run
// that has not read its source to the end has written nothing.
func (p *Pipeline) appended(at *progress) (tables []string) {
	if at == nil || !at.Done {
		return nil
	}
	for _, sink := range at.Sinks {
		if sink.Mode == modeAppend {
			tables = append(tables, sink.Object)
		}
	}
	if len(at.Sinks) < len(p.sinks) { // the next sink may be written and only the note of it be missing
		if t := p.sinks[len(at.Sinks)]; t.table != nil && t.table.mode == modeAppend ||
			t.delta != nil && t.delta.mode == modeAppend || t.topic != nil {
			tables = append(tables, t.object)
		}
	}
	return tables
}

// stageRows writes the rows for the sinks to blocks: it reads the source to its end, unless that
// was done before, and then runs the gathering steps. When it returns nil, the blocks are durable.
func (p *Pipeline) stageRows(ctx context.Context, o Options, s stage, at *progress) (
	columns []column, _ *progress, err error) {
	if at == nil || !at.Done || len(at.Ends) < p.segments() {
		if p, err = p.withTables(ctx, true); err != nil {
			return nil, nil, err
		}
	}
	if at == nil || !at.Done {
		at, err = p.extract(ctx, o, s, at)
	} else {
		o.Tell(fmt.Sprintf("going on with run %s, which has read its source: %d rows", at.Run, at.Counts.Read))
		o.watch(at)
	}
	if err == nil {
		err = p.gatherAll(ctx, o, s, at)
	}
	if err != nil {
		return nil, nil, err
	}
	columns, err = columnsOf(at.Columns)
	return columns, at, err
}

// extract reads the source to its end, into blocks of the first segment.
func (p *Pipeline) extract(ctx context.Context, o Options, s stage, at *progress) (*progress, error) {
	in, err := p.source.open(ctx)
	if err != nil {
		return nil, err
	}
	defer in.close()
	planned, problems := p.plan(in.columns())
	if len(problems) > 0 {
		return nil, dataError{&ProblemsError{problems}}
	}
	columns := planned.columns()
	for _, t := range p.sinks {
		if err := p.takes(ctx, t, columns); err != nil {
			return nil, fmt.Errorf("planning sink %s: %w", t, err)
		}
	}
	if err := p.unchanged(o, s, in.columns()); err != nil {
		return nil, err
	}
	identity := in.identity()
	if identity != "" {
		identity += p.toldTables()
	}
	switch {
	case at != nil && identity != "" && at.Source == identity:
		o.Tell(fmt.Sprintf("going on with run %s after %d rows", at.Run, at.Counts.Read))
	default:
		if at != nil {
			o.Tell("the source cannot be gone on with: beginning anew")
		}
		if err := s.clear(); err != nil {
			return nil, err
		}
		at = &progress{Run: newRun(o.Now()), Pipeline: p.hash(), Source: identity}
		at.Counts.Steps = make([]StepCounts, len(p.steps))
	}
	at.From, at.Columns = told(in.columns()), told(columns)
	if err := in.from(ctx, at.Position); err != nil {
		return nil, err
	}
	o.watch(at)
	if err := p.keepBlocks(ctx, o, s, in, planned, at); err != nil {
		return nil, err
	}
	return at, nil
}

// keepBlocks writes each block while the next one is read. When it returns, no write is in
// progress; when it returns nil, all blocks are durable.
func (p *Pipeline) keepBlocks(ctx context.Context, o Options, s stage, in reading, planned *planned,
	at *progress) (err error) {
	kept := make(chan error, 1)
	kept <- nil
	defer func() { err = errors.Join(err, <-kept) }()
	for !at.Done {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := p.readBlock(in, planned, at)
		if err != nil {
			return err
		}
		n := at.Blocks
		if at.Blocks++; at.Done {
			at.Ends = []int{at.Blocks}
		}
		raw, err := at.marshal()
		if err != nil {
			return err
		}
		if err := <-kept; err != nil {
			kept <- nil // it is returned once
			return err
		}
		go func() {
			err := s.put(n, b)
			if err == nil {
				err = s.saveRaw(raw)
			}
			kept <- err
		}()
		o.watch(at)
	}
	return nil
}

func (o Options) watch(at *progress) {
	if o.Watch != nil {
		o.Watch(Progress{Run: at.Run, Counts: at.Counts})
	}
}

// mostBlockBytes is the size at which a block ends, however few rows it has, because it is held in
// memory as a whole.
const mostBlockBytes = 32 << 20

// readBlock reads rows, passes them through the steps of the first segment into a block, and counts
// them in at.
func (p *Pipeline) readBlock(in reading, planned *planned, at *progress) (*block, error) {
	b := &block{}
	w := into{p: p, planned: planned, segment: planned.segments()[0], counts: &at.Counts, b: b}
	log, placed := in.(logReading)
	defer func() {
		if placed {
			at.Position = log.position()
		}
	}()
	for n := 0; n < p.block && b.size < mostBlockBytes; n++ {
		r, position, err := in.next()
		if errors.Is(err, io.EOF) {
			at.Done = true
			return b, nil
		}
		var unread *rowError
		if err != nil && !errors.As(err, &unread) {
			return nil, err
		}
		at.Position = position
		at.Counts.Read++
		one := numbered{row: r, number: at.Counts.Read}
		if placed {
			one.place, at.Position = log.place(), "" // the position at the block's end is used instead
		}
		if unread != nil {
			err = w.fail(one, -1, unread.reason, p.onFailure, unread.raw)
		} else {
			err = w.take(one)
		}
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

// newRun returns the id of a run: the time it began, so that ids sort by time, and random digits.
func newRun(now time.Time) string {
	var chance [3]byte
	_, _ = rand.Read(chance[:]) // never fails
	return now.UTC().Format("20060102T150405.000000Z") + "-" + hex.EncodeToString(chance[:])
}

// loadSinks writes each sink that at.Sinks does not list yet.
func (p *Pipeline) loadSinks(ctx context.Context, o Options, s stage, at *progress, columns []column) error {
	id, err := s.identity()
	if err != nil {
		return err
	}
	targets := p.targets()
	for i := len(at.Sinks); i < len(targets); i++ {
		sink, err := p.loadSink(ctx, o, s, at, columns, targets[i], i == len(p.sinks), id)
		if Final(err) {
			return fmt.Errorf("writing sink %s: %w; what was read is kept: run again when it can be written, or --fresh to "+
				"read the source again, which brings appended rows a second time", targets[i], err)
		}
		if err != nil {
			return fmt.Errorf("writing sink %s: %w", targets[i], err)
		}
		at.Sinks = append(at.Sinks, sink)
		if err := s.save(at); err != nil {
			return err
		}
		o.Tell(fmt.Sprintf("%s: %d rows, %d bytes", targets[i], sink.Rows, sink.Bytes))
	}
	return nil
}

// loadSink writes one sink, which appears as a whole. When it returns nil, it is durable.
func (p *Pipeline) loadSink(ctx context.Context, o Options, s stage, at *progress, columns []column, t target,
	rejects bool, id string) (Sink, error) {
	if t.table != nil {
		return t.table.load(ctx, p, s, at, columns, id)
	}
	if t.topic != nil {
		return p.loadTopic(ctx, s, at, columns, t, id)
	}
	if err := p.onClaim(ctx, t, func(store *lake.Store) error { return p.mine(ctx, store, t, id) }); err != nil {
		return Sink{}, err
	}
	if t.delta != nil {
		return p.loadDelta(ctx, o, s, at, columns, t, id)
	}
	sink := Sink{Format: t.format, URL: t.url, Object: t.object, Rejects: rejects}
	store, err := lake.Open(ctx, p.storeURL(t.url))
	if err != nil {
		return sink, err
	}
	err = store.Write(ctx, t.object, func(w io.Writer) error {
		sink.Rows = 0
		d := newDigest(w)
		buffered := bufio.NewWriterSize(d, 1<<18)
		if err := p.encode(ctx, s, at, columns, &sink, buffered); err != nil {
			return err
		}
		if err := buffered.Flush(); err != nil {
			return err
		}
		sink.Bytes, sink.SHA256 = d.bytes, d.hex()
		return nil
	})
	return sink, errors.Join(err, store.Close())
}

func (p *Pipeline) encode(ctx context.Context, s stage, at *progress, columns []column, sink *Sink, w io.Writer) error {
	if sink.Rejects {
		return s.blocks(ctx, at, 0, func(b *block) error {
			for _, line := range b.rejects {
				sink.Rows++
				if _, err := w.Write(line); err != nil {
					return err
				}
			}
			return nil
		})
	}
	e, err := newEncoder(sink.Format, columns, w)
	if err != nil {
		return err
	}
	return p.encodeRows(ctx, s, at, sink, e)
}

// storeError is an error of where rows are written, and not of the rows.
type storeError struct{ error }

// Unwrap returns the cause.
func (e storeError) Unwrap() error { return e.error }

// encodeRows writes the rows of the last segment, and ends the encoder.
func (p *Pipeline) encodeRows(ctx context.Context, s stage, at *progress, sink *Sink, e encoder) error {
	if err := s.blocks(ctx, at, at.begins(), func(b *block) error {
		for _, r := range b.rows {
			sink.Rows++
			switch err := e.write(r); {
			case errors.As(err, new(storeError)):
				return err
			case err != nil:
				return dataError{err}
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return e.end()
}

// blocks calls do for each block from first on, and reads one block ahead.
func (s stage) blocks(ctx context.Context, at *progress, first int, do func(*block) error) error {
	type got struct {
		b   *block
		err error
	}
	next, end := make(chan got, 1), at.Blocks
	read := func(n int) {
		if n < end {
			b, err := s.get(n)
			next <- got{b, err}
		}
	}
	go read(first)
	for n := first; n < end; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		now := <-next
		if now.err != nil {
			return now.err
		}
		go read(n + 1)
		if err := do(now.b); err != nil {
			return err
		}
	}
	return nil
}
