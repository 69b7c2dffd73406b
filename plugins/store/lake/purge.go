package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// target is what to delete: everything, or the rows for which gone is true, all
// of them of devices if there are any.
type target struct {
	gone    func(Ref) bool
	devices []string
	all     bool
	stays   func(Ref) bool                   // when set, the rows that stay whatever gone says: their time has not come
	row     func(Ref)                        // called, when set, with each row that is to go
	before  func(o Object, rows int64) error // called, when set, when all those of an object are known
}

// purge deletes rows of one object: the object when all are to go, else it is
// written anew. ErrNotFound says that someone else has changed it meanwhile.
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

// find reads a few columns of an object, and counts the rows that are to go.
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
