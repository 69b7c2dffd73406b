package lake

import (
	"bytes"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"weir/internal/platform/flow"
)

// Keys of the metadata that every object has.
const (
	metaCoverage = "weir.coverage" // Coverage.encode
	metaTable    = "weir.table"    // name and version of the table: "raw/1"
)

// Table describes a kind of object: its columns, the order of its rows, and the columns that have
// a bloom filter.
type Table struct {
	Name    string // name/version
	Schema  *parquet.Schema
	Sorting []parquet.SortingColumn
	Bloom   []parquet.BloomFilterColumn

	FleetColumn, DeviceColumn int // leaf columns with the fleet and the device of a row
	// ReceivedColumns have the time at which a row was received: in the first that is not null.
	ReceivedColumns []int
	// Mentions reports, by MentionColumns, whether a row without a device mentions one. nil: no
	// row does.
	Mentions func(r Ref, device string) bool
	// Names reports, by MentionColumns, whether a row names a person. nil: no row does, as far as
	// is known.
	Names          func(r Ref, name string) bool
	MentionColumns []int
	// Compare is the order of the rows of an object. Same reports whether a row repeats the one
	// before it.
	Compare func(a, b Ref) int
	Same    func(a, b Ref) bool
	// At returns the time of a row, by which its folder and object are named, in microseconds
	// since 1970. Covers adds the records for which a row exists.
	At     func(Ref) int64
	Covers func(Ref, *Collector)
}

// pageSize is the target size of a page in uncompressed bytes: a reader of one device has to
// decode at least a page.
const pageSize = 64 << 10

// pageRows is how many rows a page has at most. The pages of all columns begin at the same rows,
// so the rows of one device are in few pages of each.
const pageRows = 2048

// Options of an object.
type Options struct {
	RowGroupRows int // rows per row group; 0 means 128 Ki
}

// Columns appends the values of rows [from, to) of one leaf column to dst. The values may share
// memory, which must not change until the write returns.
type Columns func(dst []parquet.Value, column, from, to int) []parquet.Value

// defaultGroup is the default number of rows in a row group.
const defaultGroup = 128 << 10

// Encode returns rows 0 to n-1 as one Parquet object.
func (t *Table) Encode(n int, opt Options, coverage *Coverage, columns Columns) ([]byte, error) {
	var body bytes.Buffer
	w := t.newWriter(&body)
	group := opt.RowGroupRows
	if group <= 0 {
		group = defaultGroup
	}
	for from := 0; from < n; from += group {
		if err := w.RowGroup(from, min(n, from+group), columns); err != nil {
			return nil, err
		}
	}
	err := w.Close(coverage)
	return body.Bytes(), err
}

// writer writes one object, a row group at a time.
type writer struct {
	table *Table
	w     *parquet.GenericWriter[any]
	buf   []parquet.Value
}

// newWriter begins an object. It is not valid before Close.
func (t *Table) newWriter(w io.Writer) *writer {
	return &writer{table: t, w: parquet.NewGenericWriter[any](w, t.Schema,
		parquet.Compression(compression),
		parquet.PageBufferSize(pageSize),
		parquet.WriteBufferSize(0),
		parquet.DataPageStatistics(true),
		parquet.BloomFilters(t.Bloom...),
		parquet.SortingWriterConfig(parquet.SortingColumns(t.Sorting...)),
		parquet.CreatedBy("weir", t.Name, ""),
	)}
}

// RowGroup writes rows [from, to) as one row group. It encodes all columns of one page of rows
// before it continues, while the rows are in the processor's cache.
func (w *writer) RowGroup(from, to int, columns Columns) error {
	var loop flow.Yielder
	writers := w.w.ColumnWriters()
	for at := from; at < to; at += pageRows {
		loop.Yield()
		for i, column := range writers {
			w.buf = columns(w.buf[:0], i, at, min(to, at+pageRows))
			if _, err := column.WriteRowValues(w.buf); err != nil {
				return fmt.Errorf("encoding column %d: %w", i, err)
			}
			if err := column.Flush(); err != nil {
				return fmt.Errorf("encoding column %d: %w", i, err)
			}
		}
	}
	if err := w.w.Flush(); err != nil {
		return fmt.Errorf("encoding a row group: %w", err)
	}
	return nil
}

// Close writes the footer with the coverage.
func (w *writer) Close(coverage *Coverage) error {
	w.w.SetKeyValueMetadata(metaTable, w.table.Name)
	w.w.SetKeyValueMetadata(metaCoverage, coverage.encode())
	if err := w.w.Close(); err != nil {
		return fmt.Errorf("encoding the footer: %w", err)
	}
	return nil
}
