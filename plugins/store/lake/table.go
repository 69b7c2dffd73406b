package lake

import (
	"bytes"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"weir/internal/platform/flow"
)

// Keys of the metadata that every object of ours carries.
const (
	metaCoverage = "weir.coverage" // Coverage.encode
	metaTable    = "weir.table"    // name/version of the columns: "raw/1"
)

// Table is the layout of a kind of object: its columns, the order of its rows,
// and the columns that get a bloom filter.
type Table struct {
	Name    string // name/version
	Schema  *parquet.Schema
	Sorting []parquet.SortingColumn
	Bloom   []parquet.BloomFilterColumn

	FleetColumn, DeviceColumn int // leaf columns: whose a row is
	// ReceivedColumns say when a row was received: the first that is not null.
	ReceivedColumns []int
	// Mentions tells of a row without a device whether it speaks of one all the
	// same, by MentionColumns. nil: no row does.
	Mentions func(r Ref, device string) bool
	// Names tells of any row whether it names a person, by MentionColumns. nil: no row
	// does, as far as the table can tell.
	Names          func(r Ref, name string) bool
	MentionColumns []int
	// Compare is the order of the rows of an object; Same tells whether a row
	// repeats the one before it.
	Compare func(a, b Ref) int
	Same    func(a, b Ref) bool
	// At is the time a row's folder and object are named by, in microseconds
	// since 1970; Covers notes the records that a row stands for.
	At     func(Ref) int64
	Covers func(Ref, *Collector)
}

// pageSize is the target of uncompressed bytes per page: what a reader of one
// device has to decode at least.
const pageSize = 64 << 10

// pageRows is how many rows a page holds at most. Pages of all columns begin at
// the same rows, so that one device's rows are few pages of each.
const pageRows = 2048

// Options bound an object.
type Options struct {
	RowGroupRows int // rows per row group; 0 means 128 Ki
}

// Columns yields the values of rows [from, to) of one leaf column, appended to
// dst. The values may alias memory that stays unchanged until Write returns.
type Columns func(dst []parquet.Value, column, from, to int) []parquet.Value

// defaultGroup is the rows of a row group.
const defaultGroup = 128 << 10

// Encode returns rows 0..n-1 as one Parquet object, written column by column.
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

// newWriter starts an object. Nothing of it is valid before Close.
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

// RowGroup writes rows [from, to) as one row group. It goes through the rows a
// page at a time, for all columns, while they are near the processor.
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

// Close writes the footer, with the coverage in it.
func (w *writer) Close(coverage *Coverage) error {
	w.w.SetKeyValueMetadata(metaTable, w.table.Name)
	w.w.SetKeyValueMetadata(metaCoverage, coverage.encode())
	if err := w.w.Close(); err != nil {
		return fmt.Errorf("encoding the footer: %w", err)
	}
	return nil
}
