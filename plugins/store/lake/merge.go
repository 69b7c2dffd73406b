package lake

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/parquet-go/parquet-go"
)

// mergeRows is how many rows of an object are read at a time for merging.
const mergeRows = 512

// source reads all rows of one object, in their order.
type source struct {
	key   string
	file  *File
	group int
	rows  *Rows
	batch *batch
	n, at int
}

func (s *source) next() (Ref, bool, error) {
	for s.at == s.n {
		if s.rows == nil {
			if s.group == len(s.file.RowGroups()) {
				return Ref{}, false, nil
			}
			var err error
			if s.rows, err = s.file.ReadRows(s.group, 0, s.file.RowGroups()[s.group].NumRows(), nil); err != nil {
				return Ref{}, false, fmt.Errorf("reading %s: %w", s.key, err)
			}
			s.group++
		}
		n, err := s.rows.Next(mergeRows)
		if err != nil {
			return Ref{}, false, fmt.Errorf("reading %s: %w", s.key, err)
		}
		if n == 0 {
			if err := s.rows.Close(); err != nil {
				return Ref{}, false, fmt.Errorf("reading %s: %w", s.key, err)
			}
			s.rows = nil
			continue
		}
		s.batch, s.n, s.at = s.rows.detach(), n, 0
	}
	s.at++
	return Ref{s.batch, s.at - 1}, true, nil
}

func (s *source) close() error {
	var err error
	if s.rows != nil {
		err = s.rows.Close()
	}
	return errors.Join(err, s.file.Close())
}

// merging merges the sorted rows of several objects into one sorted sequence.
type merging struct {
	table *Table
	heads []mergeHead
}

type mergeHead struct {
	row Ref
	src *source
}

func (m *merging) Len() int           { return len(m.heads) }
func (m *merging) Less(i, j int) bool { return m.table.Compare(m.heads[i].row, m.heads[j].row) < 0 }
func (m *merging) Swap(i, j int)      { m.heads[i], m.heads[j] = m.heads[j], m.heads[i] }
func (m *merging) Push(x any)         { m.heads = append(m.heads, x.(mergeHead)) }
func (m *merging) Pop() any {
	last := m.heads[len(m.heads)-1]
	m.heads = m.heads[:len(m.heads)-1]
	return last
}

// merge opens objects for merging. The caller must close the result.
func (s *Store) merge(ctx context.Context, t *Table, objects []Object) (*merging, error) {
	m := &merging{table: t}
	for _, o := range objects {
		file, err := s.OpenFile(ctx, o.Blob)
		if err != nil {
			return nil, errors.Join(err, m.close())
		}
		src := &source{key: o.Key, file: file}
		row, ok, err := src.next()
		if !ok || err != nil {
			if err = errors.Join(err, src.close()); err != nil {
				return nil, errors.Join(err, m.close())
			}
			continue
		}
		heap.Push(m, mergeHead{row, src})
	}
	return m, nil
}

func (m *merging) next() (Ref, bool, error) {
	if len(m.heads) == 0 {
		return Ref{}, false, nil
	}
	top := &m.heads[0]
	row := top.row
	following, ok, err := top.src.next()
	if err != nil {
		return row, false, err
	}
	if !ok {
		gone := heap.Pop(m).(mergeHead)
		return row, true, gone.src.close()
	}
	top.row = following
	heap.Fix(m, 0)
	return row, true, nil
}

func (m *merging) close() error {
	var errs []error
	for _, h := range m.heads {
		errs = append(errs, h.src.close())
	}
	m.heads = nil
	return errors.Join(errs...)
}

// sieve passes on the wanted rows of a merge, each delivery once.
type sieve struct {
	in      *merging
	keep    func(Ref) bool
	last    Ref
	kept    int64
	dropped int64 // rows that are not wanted
	repeats int64
}

func (s *sieve) next() (Ref, bool, error) {
	for {
		row, ok, err := s.in.next()
		switch {
		case !ok || err != nil:
			return row, false, err
		case !s.keep(row):
			s.dropped++
		case s.last.batch != nil && s.in.table.Same(s.last, row):
			s.repeats++
		default:
			s.kept++
			s.last = row
			return row, true, nil
		}
	}
}

func refColumns(rows []Ref) Columns {
	return func(dst []parquet.Value, col, from, to int) []parquet.Value {
		for _, r := range rows[from:to] {
			dst = r.append(dst, col)
		}
		return dst
	}
}

// Scan passes the rows of objects whose time is in [from, to) to each, hour by hour, within an
// hour in the table's order, each delivery once. A zero time is no bound. Up to FanIn objects are
// open at a time. Rows stay valid after the call.
func (s *Store) Scan(ctx context.Context, t *Table, objects []Object, from, to time.Time, each func(Ref) error) error {
	for _, h := range hoursOf(objects) {
		part := Part{From: h, To: h.Add(time.Hour)}
		if !from.IsZero() && part.From.Before(from) {
			part.From = from
		}
		if !to.IsZero() && part.To.After(to) {
			part.To = to
		}
		if !part.From.Before(part.To) {
			continue
		}
		if err := s.scanPart(ctx, t, objects, part, each); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) scanPart(ctx context.Context, t *Table, objects []Object, part Part, each func(Ref) error) (err error) {
	inputs, _, _ := part.narrow(objects)
	from, inputs, release, err := s.Reduce(ctx, t, inputs, part, FanIn)
	if err != nil {
		return err
	}
	defer release()
	m, err := from.merge(ctx, t, inputs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	in := &sieve{in: m, keep: part.wants(t)}
	for {
		row, ok, err := in.next()
		if !ok || err != nil {
			return err
		}
		if err := errors.Join(each(row), ctx.Err()); err != nil {
			return err
		}
	}
}
