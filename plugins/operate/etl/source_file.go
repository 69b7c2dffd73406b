package etl

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"weir/internal/platform/text"
)

// reading is an open source. It is read in order, from a position to its end. It is not for
// concurrent use.
type reading interface {
	// columns returns the columns of its rows.
	columns() []column
	// identity changes when positions may have another meaning. A run continues at its position
	// only if it is the same; "": it never is.
	identity() string
	// from goes to a position; "" is the beginning.
	from(ctx context.Context, position string) error
	// next returns the next row and the position after it, or io.EOF at the end. After a *rowError,
	// which concerns this row alone, reading can go on.
	next() (row, string, error)
	// count returns how many rows the source has now.
	count(ctx context.Context) (int64, error)
	close()
}

// rowError is why a row cannot be read. The reason names the column, not the value. raw is the row
// as the source has it.
type rowError struct {
	reason string
	raw    []byte
}

func (e *rowError) Error() string { return e.reason }

// fileSource is a file of records.
type fileSource struct {
	path, shown, format string
	columns             []column
	missing             bool // a column that an object lacks is null
	ignore              bool // a name that is no column is skipped
}

func (p *Pipeline) readFile(r *reader) (source, []column) {
	f := fileSource{shown: r.text("path", true), format: r.members["type"].value.(string)}
	f.path = f.shown
	if !filepath.IsAbs(f.path) {
		f.path = filepath.Join(p.dir, f.path)
	}
	f.columns = readColumns(r)
	if f.format == "ndjson" {
		f.missing = r.oneOf("missing", "refuse", "null") == "null"
		f.ignore = r.oneOf("unknown", "refuse", "ignore") == "ignore"
	}
	return f, f.columns
}

func (f fileSource) describe() string { return f.format + " file " + f.shown }

// mostRecord bounds the bytes of one record.
const mostRecord = 64 << 20

// fileReading reads a file record by record. Its positions are byte offsets.
type fileReading struct {
	fileSource
	file    *os.File
	in      *bufio.Reader
	offset  int64
	objects *objectReader // ndjson
	order   []int         // csv: the column's index for each field of a record
}

func (f fileSource) open(context.Context) (reading, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("opening the source: %w", err)
	}
	return &fileReading{fileSource: f, file: file,
		objects: newObjectReader("the line", f.columns, f.missing, f.ignore)}, nil
}

func (f *fileReading) columns() []column { return f.fileSource.columns }

func (f *fileReading) close() { _ = f.file.Close() } // it was only read

func (f *fileReading) identity() string { return fileIdentity(f.file) }

// fileIdentity returns the file's size and time of change: it differs when the file was written
// since.
func fileIdentity(file *os.File) string {
	info, err := file.Stat()
	if err != nil {
		return "" // reading it returns the error
	}
	return fmt.Sprintf("%d bytes of %s", info.Size(), info.ModTime().UTC().Format("2006-01-02T15:04:05.999999999Z"))
}

func (f *fileReading) from(_ context.Context, position string) error {
	if err := f.begin(); err != nil {
		return err
	}
	if position == "" {
		return nil
	}
	at, err := strconv.ParseInt(position, 10, 64)
	if err != nil {
		return fmt.Errorf("reading where the last run ended: %w", err)
	}
	if _, err := f.file.Seek(at, io.SeekStart); err != nil {
		return fmt.Errorf("reading the source: %w", err)
	}
	f.in.Reset(f.file)
	f.offset = at
	return nil
}

// begin goes to the first record, after a byte order mark and a header.
func (f *fileReading) begin() error {
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading the source: %w", err)
	}
	f.in, f.offset = bufio.NewReaderSize(f.file, 1<<20), 0
	if start, _ := f.in.Peek(3); len(start) > len(text.WithoutBOM(start)) { // an error is returned by the next read
		f.offset = 3
		_, _ = f.in.Discard(3)
	}
	if f.format != "csv" {
		return nil
	}
	header, err := f.record()
	if err != nil {
		return fmt.Errorf("reading the header of %s: %w", f.shown, err)
	}
	f.order = make([]int, len(header))
	found := map[string]bool{}
	for i, name := range header {
		f.order[i] = indexOf(f.fileSource.columns, name.text)
		if f.order[i] < 0 || found[name.text] {
			return dataError{fmt.Errorf("reading the header of %s: %q stands twice, or is none of the pipeline's columns",
				f.shown, name.text)}
		}
		found[name.text] = true
	}
	for _, c := range f.fileSource.columns {
		if !found[c.name] {
			return dataError{fmt.Errorf("reading the header of %s: it has no column %q", f.shown, c.name)}
		}
	}
	return nil
}

func (f *fileReading) next() (row, string, error) {
	var r row
	var err error
	if f.format == "csv" {
		r, err = f.csvRow()
	} else {
		r, err = f.jsonRow()
	}
	return r, strconv.FormatInt(f.offset, 10), err
}

func (f *fileReading) count(ctx context.Context) (n int64, err error) {
	if err := f.begin(); err != nil {
		return 0, err
	}
	for ; ; n++ {
		if n%1000 == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		_, _, err := f.next()
		var one *rowError
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil && !errors.As(err, &one):
			return 0, err
		}
	}
}

// line reads a line with its line feed; the last one may have none.
func (f *fileReading) line() ([]byte, error) {
	var whole []byte
	for {
		part, err := f.in.ReadSlice('\n')
		f.offset += int64(len(part))
		whole = append(whole, part...)
		switch {
		case len(whole) > mostRecord:
			return nil, dataError{fmt.Errorf("reading %s: a record has more than 64 MiB", f.shown)}
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(whole) > 0:
			return whole, nil
		case err != nil && !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("reading the source: %w", err)
		}
		return whole, err
	}
}

// jsonRow reads one object and skips empty lines.
func (f *fileReading) jsonRow() (row, error) {
	for {
		raw, err := f.line()
		if err != nil {
			return nil, err
		}
		if raw = trimmed(raw); len(raw) == 0 {
			continue
		}
		r, err := f.jsonCells(raw)
		if err != nil {
			return nil, &rowError{err.Error(), raw}
		}
		return r, nil
	}
}

func (f *fileReading) jsonCells(raw []byte) (row, error) {
	return f.objects.read(raw, 0)
}

// objectCells returns the values of an object by the names of columns. With missing, a column that
// it lacks is null; with ignore, a name that is no column is skipped. Otherwise either is an error.
func objectCells(n *node, columns []column, missing, ignore bool) (row, error) {
	members, is := n.value.(map[string]*node)
	if !is {
		return nil, errors.New("it is no object")
	}
	r := make(row, len(columns))
	used := 0
	for i, c := range columns {
		m := members[c.name]
		switch {
		case m == nil && !missing:
			return nil, fmt.Errorf("column %q is missing", c.name)
		case m == nil:
			r[i].null = true
			continue
		}
		used++
		var err error
		if r[i], err = c.of.fromJSON(m); err != nil {
			return nil, fmt.Errorf("column %q: %w", c.name, err)
		}
	}
	if used < len(members) && !ignore {
		for _, name := range sortedKeys(members) {
			if indexOf(columns, name) < 0 {
				return nil, fmt.Errorf("there is no column %q", name)
			}
		}
	}
	return r, nil
}

// fromJSON converts a JSON value. Numbers are converted from their text, not through a float.
func (t columnType) fromJSON(n *node) (c cell, err error) {
	switch v := n.value.(type) {
	case nil:
		return cell{null: true}, nil
	case string:
		return t.fromText(v)
	case json.Number:
		return t.fromNumber(v.String())
	case bool:
		return t.fromBool(v)
	}
	if t.kind != kindJSON {
		return c, fmt.Errorf("a list or an object is no %s", t)
	}
	return marshalled(n.plain())
}

func (t columnType) fromText(v string) (c cell, err error) {
	switch t.kind {
	case kindBytes:
		c.text, err = fromBase64(v)
	case kindBool, kindInt16, kindInt32, kindInt64, kindFloat32, kindFloat64:
		err = fmt.Errorf("a text is no %s", t)
	case kindJSON:
		return marshalled(v)
	default:
		c.text, err = t.canonical(v)
	}
	return c, err
}

func (t columnType) fromNumber(v string) (c cell, err error) {
	switch t.kind {
	case kindJSON:
		c.text = v
	case kindText:
		err = errors.New("a number is no text")
	default:
		c.text, err = t.number(v)
	}
	return c, err
}

func (t columnType) fromBool(v bool) (cell, error) {
	if t.kind != kindBool && t.kind != kindJSON {
		return cell{}, fmt.Errorf("true and false are no %s", t)
	}
	return cell{text: strconv.FormatBool(v)}, nil
}

func marshalled(v any) (cell, error) {
	raw, err := text.JSON(v)
	return cell{text: string(raw)}, err
}
