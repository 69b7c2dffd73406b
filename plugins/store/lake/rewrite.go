package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"time"
)

// rewriting replaces objects of one folder by others that hold the same rows,
// less those that are to go.
type rewriting struct {
	Table        *Table
	Folder       string
	Inputs       []Object
	Parts        []Part // what each output holds; their rows must not overlap
	MayDrop      bool   // without it, losing a row is an error and changes nothing
	RowGroupRows int    // 0 means 64 Ki: what is held in memory
	MaxRows      int    // of one object; 0 means 2 Mi
}

// Part is a share of the rows: those of [From, To) by the table's time, a zero
// time being no bound, that Keep accepts; nil accepts all.
type Part struct {
	From, To time.Time
	Keep     func(Ref) bool
}

// Rewritten tells what a rewriting did.
type Rewritten struct {
	Inputs, Outputs int
	Rows            int64 // in the outputs
	Repeats         int64 // rows of a delivery that was stored twice
	Dropped         int64
	BytesIn         int64
}

// rewrite writes the outputs, then deletes the inputs. What the inputs say of
// the log goes on in the outputs, and, of rows that are no more, in an object of
// its own: nothing that was explained becomes unexplained. A crash in between leaves rows twice, which readers and the
// next
// rewriting see once; an error before the deletion leaves the inputs as they
// were.
func (s *Store) rewrite(ctx context.Context, r rewriting) (Rewritten, error) {
	done := Rewritten{Inputs: len(r.Inputs)}
	guard, err := s.newGuard(ctx)
	if err != nil {
		return done, fmt.Errorf("rewriting %s: %w", r.Folder, err)
	}
	var before, inherited Coverage // inherited: what needs no row
	var kept Coverage
	rows := int64(0)
	written := time.Time{}
	for _, o := range r.Inputs {
		f, err := s.readFooter(ctx, o)
		if err != nil {
			return done, fmt.Errorf("rewriting %s: %w", r.Folder, err)
		}
		before.Merge(f.Coverage)
		rows += f.Rows
		done.BytesIn += o.Size
		if o.Written.After(written) {
			written = o.Written // the youngest: Known relies on it
		}
	}
	inherited.Merge(Coverage{Duplicates: before.Duplicates, Erased: before.Erased})
	var outputs []string
	err = func() error {
		for _, part := range r.Parts {
			keys, err := s.rewritePart(ctx, s, guard, r, part, written, &inherited, &kept, &done)
			outputs = append(outputs, keys...)
			if err != nil {
				return err
			}
		}
		if lost := rows - done.Rows - done.Repeats; !r.MayDrop && lost != 0 {
			return fmt.Errorf("%d rows of %d would be lost", lost, rows)
		} else if r.MayDrop {
			done.Dropped = lost
		}
		inherited.Merge(before.lost(kept))
		if inherited.Empty() {
			return nil
		}
		key := NewName(path.Join(DuplicatesFolder, DateFolder(written)), written, written, written).Path()
		body, err := r.Table.Encode(0, Options{}, &inherited, refColumns(nil))
		if err == nil {
			err = s.PutBytes(ctx, key, body)
		}
		return err
	}()
	if err != nil { // what was written repeats the inputs: it may go, and may stay
		return done, errors.Join(fmt.Errorf("rewriting %s: %w", r.Folder, err), s.Remove(context.WithoutCancel(ctx),
			outputs...))
	}
	done.Outputs = len(outputs)
	for _, o := range r.Inputs {
		if err := s.Remove(ctx, o.Key); err != nil {
			return done, fmt.Errorf("rewriting %s: %w", r.Folder, err)
		}
	}
	return done, nil
}

// rewritePart writes the objects of one part to dst. The first object of all
// takes the inherited coverage.
func (s *Store) rewritePart(ctx context.Context, dst *Store, g *guard, r rewriting, part Part, written time.Time,
	inherited, kept *Coverage, done *Rewritten) (keys []string, err error) {
	inputs, first, last := part.narrow(r.Inputs)
	if len(inputs) == 0 {
		return nil, nil
	}
	m, err := s.merge(ctx, r.Table, inputs)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	in := &sieve{in: m, keep: part.wants(r.Table)}
	row, ok, err := in.next()
	for ok && err == nil {
		key := NewName(r.Folder, written, first, last).Path()
		keys = append(keys, key)
		row, ok, err = r.put(ctx, dst, g, key, row, in, inherited, kept)
	}
	done.Rows += in.kept
	done.Repeats += in.repeats
	return keys, err
}

// put writes one object, from row on, unless something is erased meanwhile. It
// returns the first row of the next object.
func (r rewriting) put(ctx context.Context, dst *Store, g *guard, key string, row Ref, in *sieve, inherited,
	kept *Coverage) (next Ref, ok bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var timer *time.Timer
	defer func() {
		if timer != nil {
			timer.Stop()
		}
	}()
	err = dst.put(ctx, key, func(w io.Writer) (err error) {
		if next, ok, err = r.fill(ctx, w, row, in, inherited, kept); err != nil || g == nil {
			return err
		}
		timer, err = g.check(ctx, cancel)
		return err
	})
	return next, ok, err
}

// narrow returns the inputs that can have rows of the part, and the bounds of
// their times.
func (p Part) narrow(objects []Object) (inputs []Object, first, last time.Time) {
	for _, o := range objects {
		if !o.overlaps(p.From, p.To) {
			continue
		}
		if len(inputs) == 0 || o.Min.Before(first) {
			first = o.Min
		}
		if len(inputs) == 0 || o.Max.After(last) {
			last = o.Max
		}
		inputs = append(inputs, o)
	}
	if !p.From.IsZero() && first.Before(p.From) {
		first = p.From
	}
	if !p.To.IsZero() && !last.Before(p.To) {
		last = p.To.Add(-time.Microsecond)
	}
	return inputs, first, last
}

func (p Part) wants(t *Table) func(Ref) bool {
	return func(r Ref) bool {
		at := t.At(r)
		return (p.From.IsZero() || at >= p.From.UnixMicro()) && (p.To.IsZero() || at < p.To.UnixMicro()) &&
			(p.Keep == nil || p.Keep(r))
	}
}

// fill writes one object: row, and what follows it, up to the most an object
// may hold. It returns the first row of the next object.
func (r rewriting) fill(ctx context.Context, w io.Writer, row Ref, in *sieve, inherited, kept *Coverage) (Ref, bool,
	error) {
	groupRows, maxRows := r.RowGroupRows, r.MaxRows
	if groupRows <= 0 {
		groupRows = 64 << 10
	}
	if maxRows <= 0 {
		maxRows = 2 << 20
	}
	out := r.Table.newWriter(w)
	var covers Collector
	var group []Ref
	ok := true
	for n := 0; ok && n < maxRows; n++ {
		r.Table.Covers(row, &covers)
		if group = append(group, row); len(group) == groupRows {
			if err := errors.Join(out.RowGroup(0, len(group), refColumns(group)), ctx.Err()); err != nil {
				return row, false, err
			}
			clear(group)
			group = group[:0]
		}
		var err error
		if row, ok, err = in.next(); err != nil {
			return row, false, err
		}
	}
	if len(group) > 0 {
		if err := out.RowGroup(0, len(group), refColumns(group)); err != nil {
			return row, false, err
		}
	}
	coverage := covers.Coverage()
	kept.Merge(coverage)
	coverage.Merge(*inherited)
	*inherited = Coverage{}
	return row, ok, out.Close(&coverage)
}
