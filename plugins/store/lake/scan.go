package lake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

// File is an open object.
type File struct {
	*parquet.File
	reader Reader
}

// OpenFile opens the table of an object. It reads the footer; page indexes and bloom filters are
// read on demand.
func (s *Store) OpenFile(ctx context.Context, b Blob) (*File, error) {
	r, err := s.Open(ctx, b)
	if err != nil {
		return nil, err
	}
	if !s.local() && r.Size() <= wholeSize {
		if r, err = whole(r); err != nil {
			return nil, fmt.Errorf("reading %s: %w", b.Key, err)
		}
	}
	file, err := parquet.OpenFile(&tail{r: r, size: r.Size()}, r.Size(),
		parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.SkipMagicBytes(true),
		parquet.ReadBufferSize(s.readBuffer()))
	if err != nil {
		_ = r.Close()
		return nil, fmt.Errorf("reading the footer of %s: %w", b.Key, err)
	}
	return &File{File: file, reader: r}, nil
}

// Close closes the object. Values that were read from it stay valid.
func (f *File) Close() error { return f.reader.Close() }

func (s *Store) local() bool {
	_, ok := s.backend.(*fileStore)
	return ok
}

// readBuffer is how many bytes are read at once at least. Each open column of each open object has
// such a buffer.
func (s *Store) readBuffer() int {
	if s.local() {
		return 4 << 10
	}
	return 256 << 10 // each read is a request
}

// wholeSize is the size up to which an object of a remote store is read with one request.
const wholeSize = 4 << 20

type wholeReader struct{ *bytes.Reader }

func (wholeReader) Close() error { return nil }

func whole(r Reader) (Reader, error) {
	defer r.Close()
	body := make([]byte, r.Size())
	if n, err := r.ReadAt(body, 0); n < len(body) {
		return nil, err
	}
	return wholeReader{bytes.NewReader(body)}, nil
}

// Rows reads rows [from, to) of one row group, some at a time, column by column. Values stay valid
// while they are referred to.
type Rows struct {
	columns []column
	left    int64
	count   int
}

// column reads one leaf column.
type column struct {
	pages    parquet.Pages
	values   parquet.ValueReader // values of the current page
	repeated bool
	out      []parquet.Value
	starts   []int // where the rows begin in out, for a repeated column
	next     []parquet.Value
}

// ReadRows returns a reader of rows [from, to). wanted says which leaf columns are read; nil: all.
// The caller must close it.
func (f *File) ReadRows(group int, from, to int64, wanted []bool) (*Rows, error) {
	chunks := f.RowGroups()[group].ColumnChunks()
	r := &Rows{columns: make([]column, len(chunks)), left: to - from}
	for i, chunk := range chunks {
		if wanted != nil && !wanted[i] {
			continue
		}
		c := &r.columns[i]
		c.repeated = f.isRepeated(i)
		if from > 0 {
			if _, err := chunk.OffsetIndex(); err != nil { // without it, seeking would decode all pages before
				return nil, errors.Join(err, r.Close())
			}
		}
		c.pages = chunk.Pages()
		if from > 0 {
			if err := c.pages.SeekToRow(from); err != nil {
				return nil, errors.Join(fmt.Errorf("seeking to row %d: %w", from, err), r.Close())
			}
		}
	}
	return r, nil
}

func (f *File) isRepeated(leaf int) bool {
	path := f.Schema().Columns()[leaf]
	column, ok := f.Schema().Lookup(path...)
	return ok && column.MaxRepetitionLevel > 0
}

// Next reads up to n more rows, and returns how many; 0 at the end.
func (r *Rows) Next(n int) (int, error) {
	n = int(min(int64(n), r.left))
	for i := range r.columns {
		c := &r.columns[i]
		if c.pages == nil {
			continue
		}
		if err := c.read(n); err != nil {
			return 0, fmt.Errorf("reading column %d: %w", i, err)
		}
	}
	r.left -= int64(n)
	r.count = n
	return n, nil
}

// Column returns the values, one for each row, that Next has read of a flat leaf column; nil for a
// column that the object does not have, because it is older.
func (r *Rows) Column(i int) []parquet.Value {
	if i >= len(r.columns) {
		return nil
	}
	return r.columns[i].out
}

// Repeated returns the values of one row of a repeated leaf column.
func (r *Rows) Repeated(i, row int) []parquet.Value {
	c := &r.columns[i]
	if row+1 < len(c.starts) {
		return c.out[c.starts[row]:c.starts[row+1]]
	}
	return c.out[c.starts[row]:]
}

// batch is rows that Next has read, independent of the reader.
type batch struct {
	values [][]parquet.Value
	starts [][]int // where the rows begin, for a repeated column
}

// Ref is one row of a batch.
type Ref struct {
	batch *batch
	row   int
}

// detach returns what Next has read as a batch.
func (r *Rows) detach() *batch {
	b := &batch{values: make([][]parquet.Value, len(r.columns)), starts: make([][]int, len(r.columns))}
	for i := range r.columns {
		c := &r.columns[i]
		b.values[i] = c.out
		c.out = nil
		if c.repeated {
			b.starts[i] = c.starts
			c.starts = nil
		}
	}
	return b
}

// Value returns the row's value of a flat leaf column; null for a column that the object does not
// have, because it is older.
func (r Ref) Value(col int) parquet.Value {
	if col >= len(r.batch.values) {
		return parquet.Value{}.Level(0, 0, col)
	}
	return r.batch.values[col][r.row]
}

// append appends the row's values of a leaf column, flat or repeated.
func (r Ref) append(dst []parquet.Value, col int) []parquet.Value {
	if col >= len(r.batch.values) {
		return append(dst, r.Value(col))
	}
	starts := r.batch.starts[col]
	switch {
	case starts == nil:
		return append(dst, r.batch.values[col][r.row])
	case r.row+1 < len(starts):
		return append(dst, r.batch.values[col][starts[r.row]:starts[r.row+1]]...)
	}
	return append(dst, r.batch.values[col][starts[r.row]:]...)
}

// Close releases the columns.
func (r *Rows) Close() error {
	var errs []error
	for i := range r.columns {
		if p := r.columns[i].pages; p != nil {
			errs = append(errs, p.Close())
			r.columns[i].pages = nil
		}
	}
	return errors.Join(errs...)
}

func (c *column) read(n int) error {
	if cap(c.out) < n {
		c.out = make([]parquet.Value, 0, n)
	}
	if c.repeated {
		return c.readRepeated(n)
	}
	c.out = c.out[:0]
	for len(c.out) < n {
		if err := c.fill(n - len(c.out)); err != nil {
			return err
		}
	}
	return nil
}

// readRepeated reads until the start of row n+1, or the end.
func (c *column) readRepeated(n int) error {
	c.out = append(c.out[:0], c.next...)
	c.next = c.next[:0]
	c.starts = c.starts[:0]
	for at := 0; ; {
		for ; at < len(c.out); at++ {
			if c.out[at].RepetitionLevel() != 0 {
				continue
			}
			if len(c.starts) == n {
				c.next = append(c.next, c.out[at:]...)
				c.out = c.out[:at]
				return nil
			}
			c.starts = append(c.starts, at)
		}
		err := c.fill(max(n-len(c.starts), 1))
		if errors.Is(err, io.ErrUnexpectedEOF) && len(c.starts) == n {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// fill appends up to n more values to out, and reads the next page if necessary.
func (c *column) fill(n int) error {
	for {
		if c.values == nil {
			page, err := c.pages.ReadPage()
			if errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF
			} else if err != nil {
				return err
			}
			c.values = page.Values()
		}
		have := len(c.out)
		if cap(c.out) < have+n {
			c.out = append(make([]parquet.Value, 0, 2*(have+n)), c.out...)
		}
		got, err := c.values.ReadValues(c.out[have : have+n])
		c.out = c.out[:have+got]
		if errors.Is(err, io.EOF) {
			c.values = nil
			err = nil
		}
		if err != nil || got > 0 {
			return err
		}
	}
}
