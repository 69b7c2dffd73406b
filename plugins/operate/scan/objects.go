package scan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"

	"weir/internal/lifecycle"
	"weir/plugins/store/lake"
)

const (
	rowsAtOnce = 16 // a dead letter may have 8 MiB
	relistings = 5
	extension  = ".parquet"
	fleetName  = "fleet"
)

// objects scans the text of every row of a store of objects. If a merge removes an object
// meanwhile, its rows are in another one, which the next listing has.
func (s *scan) objects(ctx context.Context, kind lifecycle.Kind, at string) error {
	store, err := lake.OpenReading(ctx, at)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // it was only read
	if kind.Below != "" {
		return s.listed(ctx, kind, store.Below(kind.Below))
	}
	return s.listed(ctx, kind, store)
}

// listed lists the objects and scans them, until no listed object is missing.
func (s *scan) listed(ctx context.Context, kind lifecycle.Kind, store *lake.Store) error {
	seen := map[string]bool{}
	for try := 0; ; try++ {
		blobs, err := s.list(ctx, kind, store)
		if err != nil {
			return err
		}
		gone := false
		for _, blob := range blobs {
			if seen[blob.Key] {
				continue
			}
			seen[blob.Key] = true
			err := s.object(ctx, kind, store, blob)
			if errors.Is(err, lake.ErrNotFound) {
				gone = true
			} else if err != nil {
				return err
			}
		}
		if !gone {
			return nil
		}
		if try == relistings {
			return fmt.Errorf("listing %s: objects go faster than they are read; scan again", store.Name())
		}
	}
}

// list returns the objects to read. Those of old minutes have other names than those of other stores,
// and are all read.
func (s *scan) list(ctx context.Context, kind lifecycle.Kind, store *lake.Store) (blobs []lake.Blob, err error) {
	if !kind.Place.SQL() {
		objects, err := store.Objects(ctx, lake.Select{WrittenSince: s.Since})
		for _, o := range objects {
			blobs = append(blobs, o.Blob)
		}
		return blobs, err
	}
	return blobs, store.List(ctx, "", func(b lake.Blob) error {
		if strings.HasSuffix(b.Key, extension) {
			blobs = append(blobs, b)
		}
		return nil
	})
}

// column is a column with text.
type column struct {
	index    int
	name     string // of the field
	place    string
	repeated bool
}

func (s *scan) object(ctx context.Context, kind lifecycle.Kind, store *lake.Store, blob lake.Blob) error {
	file, err := store.OpenFile(ctx, blob)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	var columns []column
	fleet := -1
	wanted := make([]bool, len(file.Schema().Columns()))
	for i, path := range file.Schema().Columns() {
		leaf, ok := file.Schema().Lookup(path...)
		if !ok || leaf.Node.Type().Kind() != parquet.ByteArray || slices.Contains(kind.Numbers, path[0]) {
			continue
		}
		if wanted[i] = true; len(path) == 1 && path[0] == fleetName {
			fleet = i
		}
		columns = append(columns, column{i, path[0], strings.Join(path, "."), leaf.MaxRepetitionLevel > 0})
	}
	if s.Fleet != "" && fleet < 0 {
		return fmt.Errorf("reading %s: it has no column %s", blob.Key, fleetName)
	}
	for group := range file.RowGroups() {
		if err := s.group(ctx, file, group, columns, wanted, fleet); err != nil {
			return fmt.Errorf("reading %s: %w", blob.Key, err)
		}
	}
	return nil
}

func (s *scan) group(ctx context.Context, file *lake.File, group int, columns []column, wanted []bool,
	fleet int) error {
	rows, err := file.ReadRows(group, 0, file.RowGroups()[group].NumRows(), wanted)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // it was only read
	for {
		n, err := rows.Next(rowsAtOnce)
		if n == 0 || err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		for row := range n {
			if s.Fleet != "" && string(rows.Column(fleet)[row].ByteArray()) != s.Fleet {
				continue
			}
			s.row()
			for _, c := range columns {
				values := rows.Column(c.index)
				if c.repeated {
					values = rows.Repeated(c.index, row)
				} else {
					values = values[row : row+1]
				}
				for _, v := range values {
					if !v.IsNull() {
						s.value(c.place, c.name, v.ByteArray())
					}
				}
			}
		}
	}
}
