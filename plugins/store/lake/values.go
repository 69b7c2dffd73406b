package lake

import (
	"time"
	"unsafe"

	"github.com/parquet-go/parquet-go"
)

// The functions below append the value of one row for a flat leaf column.

// Bytes returns the bytes of a string without copying. They must not be changed.
func Bytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// Required appends a value that every row has.
func Required(dst []parquet.Value, v parquet.Value) []parquet.Value {
	return append(dst, v) // its levels are 0 by default
}

// Optional appends a value, or null if the row has none.
func Optional(dst []parquet.Value, v parquet.Value, have bool, col int) []parquet.Value {
	if !have {
		return append(dst, parquet.Value{})
	}
	return append(dst, v.Level(0, 1, col))
}

// RequiredText appends a text that every row has.
func RequiredText(dst []parquet.Value, s string) []parquet.Value {
	return append(dst, parquet.ByteArrayValue(Bytes(s)))
}

// OptionalText appends a text, or null if it is empty.
func OptionalText(dst []parquet.Value, s string, col int) []parquet.Value {
	return Optional(dst, parquet.ByteArrayValue(Bytes(s)), s != "", col)
}

// OptionalBytes appends bytes, or null if they are nil.
func OptionalBytes(dst []parquet.Value, b []byte, col int) []parquet.Value {
	return Optional(dst, parquet.ByteArrayValue(b), b != nil, col)
}

// Clamp returns t or, if its year is outside 1 to 9999, which names of folders require, the
// nearest time that is not.
func Clamp(t time.Time) time.Time {
	switch y := t.UTC().Year(); {
	case y < 1:
		return time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	case y > 9999:
		return time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	}
	return t
}

// ColumnsOf returns the columns of rows. value appends the values of one row for a leaf column to
// dst.
func ColumnsOf[R any](rows []R, value func(row R, dst []parquet.Value, column int) []parquet.Value) Columns {
	return func(dst []parquet.Value, column, from, to int) []parquet.Value {
		for _, r := range rows[from:to] {
			dst = value(r, dst, column)
		}
		return dst
	}
}
