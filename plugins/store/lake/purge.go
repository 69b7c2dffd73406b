package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// target says which rows to delete: all, or those for which gone is true. If devices are given,
// all of those are rows of these devices.
type target struct {
	gone    func(Ref) bool
	devices []string
	all     bool
	stays   func(Ref) bool                   // if set: rows that must not be deleted yet, whatever gone says
	row     func(Ref)                        // if set: called with each row that will be deleted
	before  func(o Object, rows int64) error // if set: called after row, before an object is changed
}

// purge deletes rows of one object. It deletes the object if that are all rows, else it replaces
// it by one without these rows. It returns ErrNotFound if the object was deleted or replaced
// meanwhile.
func (s *Store) purge(ctx context.Context, t *Table, o Object, w target, dry bool, removed *Removed) error {
	footer, err := s.readFooter(ctx, o)
	if err != nil {
		return err
	}
	rows, staying := footer.Rows, int64(0)
	if !w.all {
		counting := w
		if w.stays != nil {
			counting.stays = func(r Ref) bool {
				stays := w.stays(r)
				if stays {
					staying++
				}
				return stays
			}
		}
		if rows, err = s.find(ctx, t, o, counting); err != nil {
			return err
		}
	}
	if rows > 0 && w.before != nil && !dry {
		if err := w.before(o, rows); err != nil {
			return err
		}
	}
	if !dry {
		switch {
		case w.all:
			err = s.Remove(ctx, o.Key)
		case rows > 0:
			_, err = s.rewrite(ctx, rewriting{Table: t, Folder: o.Folder, Inputs: []Object{o}, MayDrop: true,
				Parts: []Part{{Keep: func(r Ref) bool { return !w.goes(r) }}}})
		}
		if err != nil {
			return err
		}
	}
	removed.Rows += rows
	if w.all || rows == footer.Rows && footer.Rows > 0 {
		removed.Objects++
		removed.Bytes += o.Size
	} else if rows > 0 {
		removed.Changed++
	}
	removed.Kept += footer.Rows - rows - staying
	return nil
}

func (w target) goes(r Ref) bool { return (w.stays == nil || !w.stays(r)) && w.gone(r) }

func textOf(v parquet.Value) string {
	if v.IsNull() {
		return ""
	}
	return string(v.ByteArray())
}

// find counts the rows of an object that are to be deleted. It reads only the columns that decide
// it.
func (s *Store) find(ctx context.Context, t *Table, o Object, w target) (n int64, err error) {
	f, err := s.OpenFile(ctx, o.Blob)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	wanted := make([]bool, len(f.Schema().Columns()))
	for _, columns := range [][]int{{t.FleetColumn, t.DeviceColumn}, t.ReceivedColumns, t.MentionColumns} {
		for _, c := range columns {
			wanted[c] = true
		}
	}
	for g, group := range f.RowGroups() {
		if len(w.devices) > 0 && t.Mentions == nil {
			bloom, err := f.Bloom(g, t.DeviceColumn)
			if err != nil {
				return 0, err
			}
			if !slices.ContainsFunc(w.devices, func(device string) bool { return bloom.MayHold(Bytes(device)) }) {
				continue
			}
		}
		rows, err := f.ReadRows(g, 0, group.NumRows(), wanted)
		if err != nil {
			return 0, err
		}
		found, err := w.pick(rows)
		if n += found; err != nil {
			return 0, fmt.Errorf("reading %s: %w", o.Key, err)
		}
	}
	return n, nil
}

func (w target) pick(rows *Rows) (found int64, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for {
		n, err := rows.Next(pageRows)
		if err != nil || n == 0 {
			return found, err
		}
		batch := rows.detach()
		for i := range n {
			r := Ref{batch, i}
			if !w.goes(r) {
				continue
			}
			if found++; w.row != nil {
				w.row(r)
			}
		}
	}
}
