package etl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parquet-go/parquet-go"

	"weir/plugins/operate/etl/delta"
	"weir/plugins/store/lake"
)

// deltaSource is a Delta Lake table, in the version that is current when a run begins.
type deltaSource struct {
	p  *Pipeline
	in target
}

func (p *Pipeline) readDeltaSource(r *reader) source {
	s := deltaSource{p, target{format: deltaFormat, url: r.text("url", true), object: r.text("table", true)}}
	p.checkPlace(r, s.in, "table", "a folder, such as sales/orders")
	return s
}

func (s deltaSource) describe() string { return "delta table " + s.in.object }

// deltaReading reads the files of one version in the order of their names. Its position is the
// index of a file and the number of rows read from it.
type deltaReading struct {
	at       delta.Table
	snapshot *delta.Snapshot
	cols     []column
	places   []delta.Place // of the columns in the files
	files    []delta.Add
	file     int
	in       *deltaPart // the open file; nil: none
}

func (s deltaSource) open(ctx context.Context) (reading, error) {
	at, err := s.p.deltaAt(ctx, s.in, lake.OpenReading)
	if err != nil {
		return nil, err
	}
	r, err := readDeltaTable(ctx, at)
	if err != nil {
		return nil, errors.Join(unknownIsFinal(err), at.Store.Close())
	}
	return r, nil
}

func readDeltaTable(ctx context.Context, at delta.Table) (*deltaReading, error) {
	snapshot, err := at.Read(ctx, nil)
	if err != nil {
		return nil, err
	}
	return readingOf(at, snapshot)
}

// readingOf returns a reading of one version of a table.
func readingOf(at delta.Table, snapshot *delta.Snapshot) (*deltaReading, error) {
	if snapshot.Version < 0 {
		return nil, dataError{fmt.Errorf("there is no table of Delta Lake in %s", at.Folder)}
	}
	if err := snapshot.Readable(); err != nil {
		return nil, err
	}
	fields, err := snapshot.Fields()
	if err != nil {
		return nil, dataError{err}
	}
	places, err := snapshot.Places(fields)
	if err != nil {
		return nil, dataError{err}
	}
	r := &deltaReading{at: at, snapshot: snapshot, places: places}
	var wrong []error
	for _, f := range fields {
		of, err := ofDelta(f.Type)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("column %q: %w", f.Name, err))
		}
		r.cols = append(r.cols, column{f.Name, of})
	}
	if len(wrong) > 0 {
		return nil, dataError{errors.Join(wrong...)}
	}
	for _, name := range sortedKeys(snapshot.Files) {
		r.files = append(r.files, snapshot.Files[name])
	}
	return r, nil
}

func (r *deltaReading) columns() []column { return r.cols }

func (r *deltaReading) identity() string {
	return fmt.Sprintf("%s version %d", r.snapshot.Metadata.ID, r.snapshot.Version)
}

func (r *deltaReading) from(ctx context.Context, position string) error {
	if position == "" {
		return nil
	}
	file, row, _ := strings.Cut(position, ":")
	number, err := strconv.Atoi(file)
	at, rowErr := strconv.ParseInt(row, 10, 64)
	if err := errors.Join(err, rowErr); err != nil || number > len(r.files) {
		return fmt.Errorf("reading where the last run ended: %w", err)
	}
	if r.file = number; number == len(r.files) {
		return nil
	}
	if r.in, err = r.part(ctx, r.files[number]); err != nil {
		return err
	}
	return r.in.skip(at)
}

func (r *deltaReading) position() string {
	if r.in == nil {
		return strconv.Itoa(r.file) + ":0"
	}
	return fmt.Sprintf("%d:%d", r.file, r.in.at)
}

func (r *deltaReading) next() (row, string, error) {
	for ; r.file < len(r.files); r.file++ {
		if r.in == nil {
			var err error
			if r.in, err = r.part(context.Background(), r.files[r.file]); err != nil {
				return nil, "", err
			}
		}
		one, err := r.in.next()
		if !errors.Is(err, io.EOF) {
			return one, r.position(), err
		}
		r.in.close()
		r.in = nil
	}
	return nil, r.position(), io.EOF
}

func (r *deltaReading) count(ctx context.Context) (all int64, err error) {
	for _, f := range r.files {
		part, err := r.part(ctx, f)
		if err != nil {
			return 0, err
		}
		n, err := countRows(part.file)
		part.close()
		if err != nil {
			return 0, err
		}
		if all += n; f.DeletionVector != nil {
			all -= f.DeletionVector.Cardinality
		}
	}
	return all, nil
}

func (r *deltaReading) close() {
	if r.in != nil {
		r.in.close()
	}
	_ = r.at.Store.Close() // it was only read
}

// deltaPart is a data file of a table.
type deltaPart struct {
	shown  string
	cols   []column
	blob   *readNoted
	file   *parquet.File
	rows   parquet.Rows
	fixed  row   // values of the partition; null for columns that the file has, or lacks
	places []int // for each leaf of the file: the index of the column, or -1
	cell   []func(parquet.Value) (string, error)
	gone   []uint64 // a bit for each row that a deletion vector deletes; nil: none
	buf    []parquet.Row
	left   []parquet.Row
	at     int64
}

func (r *deltaReading) part(ctx context.Context, f delta.Add) (_ *deltaPart, err error) {
	key, err := r.at.Key(f.Path)
	if err != nil {
		return nil, dataError{err}
	}
	d := &deltaPart{shown: f.Path, cols: r.cols, fixed: make(row, len(r.cols)), buf: make([]parquet.Row, writeRows)}
	blob, err := r.at.Store.Open(ctx, lake.Blob{Key: key, Size: f.Size})
	if err != nil {
		return nil, err
	}
	d.blob = &readNoted{Reader: blob}
	defer func() {
		if err != nil {
			_ = d.blob.Close() // it was only read
		}
	}()
	if d.file, err = parquet.OpenFile(d.blob, d.blob.Size()); d.blob.failed() != nil {
		return nil, fmt.Errorf("opening %s: %w", d.shown, d.blob.failed())
	} else if err != nil {
		return nil, dataError{fmt.Errorf("opening %s: it is no whole file of Parquet: %w", d.shown, err)}
	}
	d.places = make([]int, len(d.file.Schema().Columns()))
	d.cell = make([]func(parquet.Value) (string, error), len(d.places))
	for i := range d.places {
		d.places[i] = -1
	}
	for i, c := range r.cols {
		if d.fixed[i].null = true; slices.Contains(r.snapshot.Metadata.PartitionColumns, c.name) {
			if d.fixed[i], err = partitionCell(c, f.PartitionValues[r.places[i].Name]); err != nil {
				return nil, dataError{fmt.Errorf("the partition of %s: column %q: %w", d.shown, c.name, err)}
			}
			continue
		}
		if err := d.place(i, c, r.places[i]); err != nil {
			return nil, dataError{fmt.Errorf("%s: column %q: %w", d.shown, c.name, err)}
		}
	}
	if d.gone, err = r.at.Deleted(ctx, f, d.file.NumRows()); err != nil {
		return nil, unknownIsFinal(err)
	}
	d.rows = parquet.MultiRowGroup(d.file.RowGroups()...).Rows()
	return d, nil
}

// place finds a column in the file. A column that the file lacks is null in all its rows.
func (d *deltaPart) place(i int, c column, at delta.Place) error {
	ids := false
	for _, f := range d.file.Schema().Fields() {
		ids = ids || f.ID() != 0
		if !at.ByID && f.Name() != at.Name || at.ByID && f.ID() != at.ID {
			continue
		}
		of, read, err := parquetType(f)
		if f.Leaf() && f.Type().Kind() == parquet.Int96 && c.of.kind == kindTimestampTZ {
			of, read, err = c.of, int96Time, nil
		}
		if err != nil {
			return err
		}
		leaf, _ := d.file.Schema().Lookup(f.Name()) // it exists: f is one of the fields
		d.places[leaf.ColumnIndex], d.cell[leaf.ColumnIndex] = i, read
		if of != c.of {
			d.cell[leaf.ColumnIndex] = func(v parquet.Value) (string, error) {
				text, err := read(v)
				if err != nil {
					return "", err
				}
				return c.of.canonical(text)
			}
		}
	}
	if at.ByID && !ids {
		return errors.New("the file has no ids of columns, by which the table finds them")
	}
	return nil
}

func partitionCell(c column, value *string) (cell, error) {
	if value == nil || *value == "" {
		return cell{null: true}, nil
	}
	given := *value
	switch c.of.kind {
	case kindBytes:
		return cell{}, errors.New("there is no exact text of bytes")
	case kindTimestamp:
		given = strings.Replace(given, " ", "T", 1)
	case kindTimestampTZ:
		if !strings.HasSuffix(given, "Z") {
			return cell{}, fmt.Errorf("%s has no zone, and is of the one in which it was written", given)
		}
	}
	text, err := c.of.canonical(given)
	return cell{text: text}, err
}

// int96Time converts a time in the form of older engines: nanoseconds of a day, and the Julian day.
func int96Time(v parquet.Value) (string, error) {
	const epoch, firstSure = 2_440_588, 2_415_021 // Julian days of 1970-01-01 and 1900-01-01; before, calendars differ
	n := v.Int96()
	if n[2] < firstSure {
		return "", errors.New("a time before 1900 in an old form (INT96), of which nobody knows the calendar")
	}
	at := time.Unix((int64(n[2])-epoch)*86_400, int64(uint64(n[1])<<32|uint64(n[0]))).UTC()
	return columnType{kind: kindTimestampTZ}.canonical(at.Format("2006-01-02T15:04:05.999999999") + "Z")
}

// readNoted keeps the last error of reading an object, because a decoder replaces it with its own.
// It is safe for concurrent use.
type readNoted struct {
	lake.Reader
	mu  sync.Mutex
	err error
}

func (r *readNoted) ReadAt(p []byte, at int64) (int, error) {
	n, err := r.Reader.ReadAt(p, at)
	if err != nil && !errors.Is(err, io.EOF) {
		r.mu.Lock()
		r.err = err
		r.mu.Unlock()
	}
	return n, err
}

func (r *readNoted) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (d *deltaPart) skip(rows int64) error {
	if err := d.rows.SeekToRow(rows); err != nil {
		return fmt.Errorf("reading the source: %w", err)
	}
	d.at = rows
	return nil
}

func (d *deltaPart) next() (row, error) {
	given, err := d.nextLive()
	if err != nil {
		return nil, err
	}
	out := slices.Clone(d.fixed)
	for _, v := range given {
		i := d.places[v.Column()]
		if i < 0 || v.IsNull() {
			continue
		}
		text, err := d.cell[v.Column()](v)
		if err != nil {
			return nil, &rowError{fmt.Sprintf("column %q: %v", d.cols[i].name, err), fmt.Appendf(nil, "row %d of %s", d.at,
				d.shown)}
		}
		out[i] = cell{text: text}
	}
	return out, nil
}

// nextLive returns the next row that is not deleted.
func (d *deltaPart) nextLive() (parquet.Row, error) {
	for {
		for len(d.left) == 0 {
			n, err := d.rows.ReadRows(d.buf)
			d.left = d.buf[:n]
			switch {
			case n > 0: // the next call returns the error again
			case errors.Is(err, io.EOF):
				return nil, io.EOF
			case d.blob.failed() != nil: // an error of the store, which may pass
				return nil, fmt.Errorf("reading %s: %w", d.shown, d.blob.failed())
			case err != nil:
				return nil, dataError{fmt.Errorf("reading row %d of %s: %w", d.at+1, d.shown, err)}
			}
		}
		given, at := d.left[0], d.at
		d.left = d.left[1:]
		if d.at++; at/64 >= int64(len(d.gone)) || d.gone[at/64]&(1<<(at%64)) == 0 {
			return given, nil
		}
	}
}

func (d *deltaPart) close() { _ = errors.Join(d.rows.Close(), d.blob.Close()) } // it was only read
