package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"weir/internal/platform/flow"
)

// rewriting replaces objects of one folder by others with the same rows, except those to be
// deleted.
type rewriting struct {
	Table        *Table
	Folder       string
	Inputs       []Object
	Parts        []Part // each is written to outputs of its own; they must not overlap
	MayDrop      bool   // if false, losing a row is an error and nothing changes
	RowGroupRows int    // rows in memory at a time; 0: 64 Ki
	MaxRows      int    // rows of one object at most; 0: 2 Mi
}

// Part selects rows: those whose time, by the table, is in [From, To), where a zero time is no
// bound, and for which Keep is true; nil accepts all.
type Part struct {
	From, To time.Time
	Keep     func(Ref) bool
}

// Rewritten says what a rewriting did.
type Rewritten struct {
	Inputs, Outputs int
	Rows            int64 // in the outputs
	Repeats         int64 // rows of deliveries that were stored twice
	Dropped         int64
	BytesIn         int64
}

// rewrite writes the outputs and then deletes the inputs. The outputs have the coverage of the
// inputs. That of rows which are deleted goes, as erased, to an object without rows, so no record
// of the log becomes unaccounted for. After a crash in between, rows exist twice, which readers
// and the next rewriting treat as one. An error before the deletion leaves the inputs unchanged.
func (s *Store) rewrite(ctx context.Context, r rewriting) (Rewritten, error) {
	done := Rewritten{Inputs: len(r.Inputs)}
	guard, err := s.newGuard(ctx)
	if err != nil {
		return done, fmt.Errorf("rewriting %s: %w", r.Folder, err)
	}
	var before, inherited Coverage // inherited: coverage that does not depend on rows
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
			written = o.Written // of the newest input: Memory forgets coverage by this time
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
	if err != nil { // outputs repeat the inputs, so it does not matter if they cannot be deleted
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

// rewritePart writes the objects of one part to dst, and returns their keys, also after an error.
// The first object that is written takes the inherited coverage.
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

// put writes one object, beginning with row, and returns the first row of the next object. It
// fails if something is erased meanwhile.
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

// narrow returns the inputs that can have rows of the part, and the range of their times within
// it.
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

// fill writes one object: row and those that follow it, up to MaxRows. It returns the first row of
// the next object; ok is false if there is none.
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
	aside, ok := flow.AsideOf(ctx), true
	for n := 0; ok && n < maxRows; n++ {
		r.Table.Covers(row, &covers)
		if group = append(group, row); len(group) == groupRows {
			if err := errors.Join(out.RowGroup(0, len(group), refColumns(group)), ctx.Err()); err != nil {
				return row, false, err
			}
			clear(group)
			group = group[:0]
		}
		if n%pageRows == pageRows-1 {
			aside.Step(pageRows)
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
