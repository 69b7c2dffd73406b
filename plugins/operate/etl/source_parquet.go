package etl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// parquetSource is a Parquet file, which has the types of its columns.
type parquetSource struct{ path, shown string }

func (p *Pipeline) readParquet(r *reader) source {
	s := parquetSource{shown: r.text("path", true)}
	if s.path = s.shown; !filepath.IsAbs(s.path) {
		s.path = filepath.Join(p.dir, s.path)
	}
	return s
}

func (s parquetSource) describe() string { return "parquet file " + s.shown }

// parquetReading reads rows in their order. Its positions are numbers of rows.
type parquetReading struct {
	parquetSource
	file *os.File
	in   *parquet.File
	cols []column
	cell []func(parquet.Value) (string, error)

	rows parquet.Rows
	buf  []parquet.Row
	left []parquet.Row
	at   int64
}

func (s parquetSource) open(context.Context) (_ reading, err error) {
	r := &parquetReading{parquetSource: s, buf: make([]parquet.Row, writeRows)}
	if r.file, err = os.Open(s.path); err != nil {
		return nil, fmt.Errorf("opening the source: %w", err)
	}
	defer func() {
		if err != nil {
			_ = r.file.Close()
		}
	}()
	info, err := r.file.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening the source: %w", err)
	}
	if r.in, err = parquet.OpenFile(r.file, info.Size()); err != nil {
		return nil, dataError{fmt.Errorf("opening %s: it is no whole file of Parquet: %w", s.shown, err)}
	}
	var wrong []error
	for _, f := range r.in.Schema().Fields() {
		of, read, err := parquetType(f)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("column %q: %w", f.Name(), err))
		}
		if indexOf(r.cols, f.Name()) >= 0 {
			wrong = append(wrong, fmt.Errorf("column %q stands twice", f.Name()))
		}
		r.cols, r.cell = append(r.cols, column{f.Name(), of}), append(r.cell, read)
	}
	if len(wrong) > 0 {
		return nil, dataError{errors.Join(wrong...)}
	}
	return r, nil
}

// parquetType returns the type that holds every value of a column, and a func that converts one.
func parquetType(f parquet.Field) (of columnType, read func(parquet.Value) (string, error), err error) {
	if !f.Leaf() || f.Repeated() {
		return of, nil, errors.New("there is no type for lists and groups")
	}
	logical := f.Type().LogicalType()
	if logical == nil {
		logical = &format.LogicalType{}
	}
	physical := f.Type().Kind()
	simple := func(k kind, read func(parquet.Value) string) (columnType, func(parquet.Value) (string, error), error) {
		of := columnType{kind: k}
		return of, func(v parquet.Value) (string, error) { return of.canonical(read(v)) }, nil
	}
	texts := func(v parquet.Value) string { return string(v.ByteArray()) }
	switch {
	case logical.UTF8 != nil, logical.Enum != nil:
		return simple(kindText, texts)
	case logical.Json != nil:
		return simple(kindJSON, texts)
	case logical.UUID != nil:
		return simple(kindUUID, func(v parquet.Value) string {
			s := fmt.Sprintf("%032x", v.ByteArray())
			return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
		})
	case logical.Date != nil:
		return simple(kindDate, func(v parquet.Value) string {
			return time.Unix(int64(v.Int32())*86400, 0).UTC().Format(formDate)
		})
	case logical.Timestamp != nil:
		return parquetTime(logical.Timestamp)
	case logical.Decimal != nil:
		return parquetDecimal(physical, int(logical.Decimal.Precision), int(logical.Decimal.Scale))
	case logical.Integer != nil && !logical.Integer.IsSigned:
		return parquetUnsigned(int(logical.Integer.BitWidth))
	case logical.Integer != nil && logical.Integer.BitWidth <= 16:
		return simple(kindInt16, func(v parquet.Value) string { return strconv.Itoa(int(v.Int32())) })
	case logical.Integer == nil && *logical != (format.LogicalType{}):
		return of, nil, fmt.Errorf("there is no exact type for %s", f.Type())
	}
	switch physical {
	case parquet.Boolean:
		return simple(kindBool, func(v parquet.Value) string { return strconv.FormatBool(v.Boolean()) })
	case parquet.Int32:
		return simple(kindInt32, func(v parquet.Value) string { return strconv.Itoa(int(v.Int32())) })
	case parquet.Int64:
		return simple(kindInt64, func(v parquet.Value) string { return strconv.FormatInt(v.Int64(), 10) })
	case parquet.Float:
		return simple(kindFloat32, func(v parquet.Value) string {
			return strconv.FormatFloat(float64(v.Float()), 'g', -1, 32)
		})
	case parquet.Double:
		return simple(kindFloat64, func(v parquet.Value) string { return strconv.FormatFloat(v.Double(), 'g', -1, 64) })
	case parquet.ByteArray, parquet.FixedLenByteArray:
		return simple(kindBytes, texts)
	}
	return of, nil, fmt.Errorf("there is no exact type for %s", f.Type())
}

func parquetTime(t *format.TimestampType) (columnType, func(parquet.Value) (string, error), error) {
	of, zone := columnType{kind: kindTimestamp}, ""
	if t.IsAdjustedToUTC {
		of, zone = columnType{kind: kindTimestampTZ}, "Z"
	}
	return of, func(v parquet.Value) (string, error) {
		n := v.Int64()
		at := time.UnixMicro(n)
		switch {
		case t.Unit.Millis != nil:
			at = time.UnixMilli(n)
		case t.Unit.Nanos != nil:
			at = time.Unix(0, n)
		}
		return of.canonical(at.UTC().Format("2006-01-02T15:04:05.999999999") + zone)
	}, nil
}

// parquetUnsigned returns the smallest signed type that holds all values of an unsigned one.
func parquetUnsigned(bits int) (columnType, func(parquet.Value) (string, error), error) {
	of := map[int]columnType{8: {kind: kindInt16}, 16: {kind: kindInt32}, 32: {kind: kindInt64},
		64: {kindDecimal, 20, 0}}[bits]
	return of, func(v parquet.Value) (string, error) {
		if bits == 64 {
			return of.canonical(strconv.FormatUint(v.Uint64(), 10))
		}
		return of.canonical(strconv.FormatUint(uint64(v.Uint32()), 10))
	}, nil
}

func parquetDecimal(physical parquet.Kind, precision, scale int) (columnType, func(parquet.Value) (string, error),
	error) {
	of := columnType{kindDecimal, precision, scale}
	if precision > mostDigits || scale > precision {
		return of, nil, fmt.Errorf("%s has more than %d digits", of, mostDigits)
	}
	return of, func(v parquet.Value) (string, error) {
		n := new(big.Int)
		switch physical {
		case parquet.Int32:
			n.SetInt64(int64(v.Int32()))
		case parquet.Int64:
			n.SetInt64(v.Int64())
		default: // two's complement
			raw := v.ByteArray()
			if n.SetBytes(raw); len(raw) > 0 && raw[0] >= 0x80 {
				n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(len(raw))*8))
			}
		}
		digits, negative := strings.CutPrefix(n.String(), "-")
		digits = strings.Repeat("0", max(0, scale+1-len(digits))) + digits
		text := digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
		if negative {
			text = "-" + text
		}
		return of.canonical(text)
	}, nil
}

func (r *parquetReading) columns() []column { return r.cols }

func (r *parquetReading) identity() string { return fileIdentity(r.file) }

func (r *parquetReading) from(_ context.Context, position string) error {
	if position != "" {
		var err error
		if r.at, err = strconv.ParseInt(position, 10, 64); err != nil {
			return fmt.Errorf("reading where the last run ended: %w", err)
		}
	}
	r.rows = parquet.MultiRowGroup(r.in.RowGroups()...).Rows()
	if err := r.rows.SeekToRow(r.at); err != nil {
		return fmt.Errorf("reading the source: %w", err)
	}
	return nil
}

func (r *parquetReading) next() (row, string, error) {
	for len(r.left) == 0 {
		n, err := r.rows.ReadRows(r.buf)
		r.left = r.buf[:n]
		switch {
		case n > 0: // the next call returns the error again
		case errors.Is(err, io.EOF):
			return nil, strconv.FormatInt(r.at, 10), io.EOF
		case err != nil:
			return nil, "", dataError{fmt.Errorf("reading row %d of %s: %w", r.at+1, r.shown, err)}
		}
	}
	given := r.left[0]
	r.left = r.left[1:]
	r.at++
	position := strconv.FormatInt(r.at, 10)
	out := make(row, len(r.cols))
	for _, v := range given {
		i := v.Column()
		if v.IsNull() {
			out[i].null = true
			continue
		}
		var err error
		if out[i].text, err = r.cell[i](v); err != nil {
			return nil, position, &rowError{fmt.Sprintf("column %q: %v", r.cols[i].name, err),
				fmt.Appendf(nil, "row %d of %s", r.at, r.shown)}
		}
	}
	return out, position, nil
}

func (r *parquetReading) count(context.Context) (int64, error) { return countRows(r.in) }

func (r *parquetReading) close() {
	if r.rows != nil {
		_ = r.rows.Close() // it was only read
	}
	_ = r.file.Close()
}
