package etl

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"weir/internal/platform/rawjson"
	"weir/plugins/operate/etl/delta"
)

// encoder writes rows in a format. The same rows always give the same bytes.
type encoder interface {
	write(row) error
	end() error
}

func newEncoder(format string, columns []column, w io.Writer) (encoder, error) {
	switch format {
	case "csv":
		e := &textEncoder{w: w, columns: columns, append: appendCSVRow}
		header := make([]cell, len(columns))
		for i, c := range columns {
			header[i].text = c.name
		}
		_, err := w.Write(appendCSV(nil, header))
		return e, err
	case "ndjson":
		return &textEncoder{w: w, columns: columns, append: appendJSON}, nil
	case avroFormat:
		return newAvro(columns, w)
	case postgresFormat: // without a table, for tests
		return newTableEncoder(columns, make([]int, len(columns))), nil
	case mysqlFormat:
		return newMySQLRows(columns), nil
	}
	return newParquet(columns, nil, w)
}

// takes returns an error that names the columns a sink cannot hold; it asks the server of a table.
func (p *Pipeline) takes(ctx context.Context, t target, columns []column) error {
	if t.delta != nil && p.mocked { // as if the table did not exist yet
		_, err := t.delta.check(&delta.Snapshot{Version: -1}, columns)
		return err
	}
	if t.topic != nil {
		if err := t.topic.check(columns); err != nil || p.mocked {
			return err
		}
		return t.topic.there(ctx)
	}
	if t.table != nil && p.mocked {
		return nil
	}
	if t.delta != nil {
		return p.checkDelta(ctx, t, columns)
	}
	if t.table == nil {
		if err := checkFormat(t.format, columns); err != nil {
			return dataError{err}
		}
		return nil
	}
	return t.table.asked(ctx, columns)
}

// checkFormat returns an error that names a column which the format cannot hold.
func checkFormat(format string, columns []column) error {
	for _, c := range columns {
		if format == "parquet" && strings.ContainsAny(c.name, "\x00") {
			return fmt.Errorf("column %q cannot be a name in Parquet", c.name)
		}
		if format == avroFormat && !avroName.MatchString(c.name) {
			return fmt.Errorf("column %q cannot be a name in Avro, which has letters, digits and '_': rename it", c.name)
		}
	}
	return nil
}

type textEncoder struct {
	w       io.Writer
	columns []column
	buf     []byte
	append  func([]byte, []column, row) []byte
}

func (e *textEncoder) write(r row) error {
	e.buf = e.append(e.buf[:0], e.columns, r)
	_, err := e.w.Write(e.buf)
	return err
}

func (e *textEncoder) end() error { return nil }

func appendCSVRow(b []byte, columns []column, r row) []byte {
	cells := make([]cell, len(r))
	for i, c := range r {
		if columns[i].of.kind == kindBytes && !c.null {
			c.text = base64.StdEncoding.EncodeToString([]byte(c.text))
		}
		cells[i] = c
	}
	return appendCSV(b, cells)
}

// appendJSON appends a row as an object and a line feed. Decimals are strings, because most readers
// of JSON would round a number.
func appendJSON(b []byte, columns []column, r row) []byte {
	b = append(b, '{')
	for i, c := range columns {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(rawjson.AppendString(b, c.name), ':')
		v := r[i]
		switch {
		case v.null:
			b = append(b, "null"...)
		case c.of.kind == kindBool, c.of.kind == kindInt16, c.of.kind == kindInt32, c.of.kind == kindInt64:
			b = append(b, v.text...)
		case c.of.kind == kindJSON:
			b = append(b, strings.NewReplacer("\n", " ", "\r", " ").Replace(v.text)...) // only between its values
		case (c.of.kind == kindFloat32 || c.of.kind == kindFloat64) && !strings.ContainsAny(v.text, "IN"):
			b = append(b, v.text...)
		case c.of.kind == kindBytes:
			b = rawjson.AppendString(b, base64.StdEncoding.EncodeToString([]byte(v.text)))
		default:
			b = rawjson.AppendString(b, v.text)
		}
	}
	return append(b, "}\n"...)
}

// ordered is a group that keeps the order of its fields; parquet.Group sorts them.
type ordered struct {
	parquet.Group
	order []string
}

func (o ordered) Fields() []parquet.Field {
	byName := map[string]parquet.Field{}
	for _, f := range o.Group.Fields() {
		byName[f.Name()] = f
	}
	all := make([]parquet.Field, len(o.order))
	for i, name := range o.order {
		all[i] = byName[name]
	}
	return all
}

// rowGroup is the number of rows in each row group of a Parquet object but the last.
const rowGroup = 100_000

type parquetEncoder struct {
	columns []column
	w       *parquet.GenericWriter[any]
	buf     []parquet.Row // rows not written yet; their bytes are in the texts of the rows, or in fixed
	next    int           // index of the next free row in buf
	fixed   []byte
	rows    int
}

// newParquet returns an encoder to Parquet; ids are the field ids of the columns, or nil.
func newParquet(columns []column, ids []int, w io.Writer) (encoder, error) {
	group := parquet.Group{}
	for i, c := range columns {
		if group[c.name] = parquet.Optional(c.of.parquet()); ids != nil {
			group[c.name] = parquet.FieldID(group[c.name], ids[i])
		}
	}
	schema := parquet.NewSchema("rows", ordered{group, names(columns)})
	e := &parquetEncoder{columns: columns, w: newParquetWriter(w, schema), buf: make([]parquet.Row, writeRows)}
	values := make([]parquet.Value, writeRows*len(columns))
	for i := range e.buf {
		e.buf[i] = values[i*len(columns) : (i+1)*len(columns)]
	}
	return e, nil
}

func newParquetWriter(w io.Writer, schema *parquet.Schema) *parquet.GenericWriter[any] {
	return parquet.NewGenericWriter[any](w, schema, parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}),
		parquet.DataPageStatistics(true), parquet.CreatedBy("weir", "etl", ""))
}

func (t columnType) parquet() parquet.Node {
	switch t.kind {
	case kindBool:
		return parquet.Leaf(parquet.BooleanType)
	case kindInt16:
		return parquet.Int(16)
	case kindInt32:
		return parquet.Int(32)
	case kindInt64:
		return parquet.Int(64)
	case kindFloat32:
		return parquet.Leaf(parquet.FloatType)
	case kindFloat64:
		return parquet.Leaf(parquet.DoubleType)
	case kindDecimal:
		switch {
		case t.precision <= 9:
			return parquet.Decimal(t.scale, t.precision, parquet.Int32Type)
		case t.precision <= 18:
			return parquet.Decimal(t.scale, t.precision, parquet.Int64Type)
		}
		return parquet.Decimal(t.scale, t.precision, parquet.FixedLenByteArrayType(decimalBytes))
	case kindBytes:
		return parquet.Leaf(parquet.ByteArrayType)
	case kindDate:
		return parquet.Date()
	case kindTimestamp:
		return parquet.TimestampAdjusted(parquet.Microsecond, false)
	case kindTimestampTZ:
		return parquet.TimestampAdjusted(parquet.Microsecond, true)
	case kindUUID:
		return parquet.UUID()
	case kindJSON:
		return parquet.JSON()
	}
	return parquet.String()
}

const decimalBytes = 16

const writeRows = 256

func (e *parquetEncoder) write(r row) error {
	out := e.buf[e.next]
	for i, c := range r {
		if c.null {
			out[i] = parquet.NullValue().Level(0, 0, i)
			continue
		}
		v, err := e.value(e.columns[i].of, c.text)
		if err != nil {
			return fmt.Errorf("encoding column %q: %w", e.columns[i].name, err)
		}
		out[i] = v.Level(0, 1, i)
	}
	e.next++
	e.rows++
	if e.next < writeRows {
		return nil
	}
	return e.flush(e.rows%rowGroup < writeRows)
}

func (e *parquetEncoder) flush(group bool) error {
	if _, err := e.w.WriteRows(e.buf[:e.next]); err != nil {
		return fmt.Errorf("encoding rows: %w", err)
	}
	e.next, e.fixed = 0, e.fixed[:0]
	if !group {
		return nil
	}
	return e.w.Flush()
}

func (e *parquetEncoder) end() error {
	if err := e.flush(false); err != nil {
		return err
	}
	return e.w.Close()
}
