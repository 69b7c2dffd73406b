package etl

import (
	"encoding/hex"
	"errors"
	"math/big"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"weir/internal/platform/rawjson"
)

// value converts a canonical text to a Parquet value. Until the rows are written, the value may
// refer to the bytes of text, or to e.fixed.
func (e *parquetEncoder) value(t columnType, text string) (parquet.Value, error) {
	switch t.kind {
	case kindBool:
		return parquet.BooleanValue(text == "true"), nil
	case kindInt16, kindInt32:
		v, err := strconv.ParseInt(text, 10, 32)
		return parquet.Int32Value(int32(v)), err
	case kindInt64:
		v, err := strconv.ParseInt(text, 10, 64)
		return parquet.Int64Value(v), err
	case kindFloat32:
		v, err := strconv.ParseFloat(text, 32)
		return parquet.FloatValue(float32(v)), err
	case kindFloat64:
		v, err := strconv.ParseFloat(text, 64)
		return parquet.DoubleValue(v), err
	case kindDecimal:
		return e.decimal(t, text)
	case kindDate:
		if len(text) != len(formDate) || !plainDate(text) {
			return parquet.Value{}, errors.New("it is no date")
		}
		return parquet.Int32Value(int32(dayOf(text))), nil
	case kindTimestamp, kindTimestampTZ:
		if !t.plain(text) {
			return parquet.Value{}, errors.New("it is no time")
		}
		return parquet.Int64Value(microsOf(text)), nil
	case kindUUID:
		return e.uuid(text)
	}
	return parquet.ByteArrayValue(rawjson.Bytes(text)), nil
}

// fixedBytes returns zeroed room for one value of fixed size.
func (e *parquetEncoder) fixedBytes() []byte {
	from := len(e.fixed)
	e.fixed = append(e.fixed, make([]byte, decimalBytes)...) // when append moves it, earlier values keep the old array
	return e.fixed[from:]
}

func (e *parquetEncoder) uuid(text string) (parquet.Value, error) {
	if !plainUUID(text) {
		return parquet.Value{}, errors.New("it is no UUID")
	}
	var digits [2 * decimalBytes]byte
	copy(digits[:], text[:8])
	copy(digits[8:], text[9:13])
	copy(digits[12:], text[14:18])
	copy(digits[16:], text[19:23])
	copy(digits[20:], text[24:])
	out := e.fixedBytes()
	_, err := hex.Decode(out, digits[:])
	return parquet.FixedLenByteArrayValue(out), err
}

// decimal returns the unscaled number, in two's complement.
func (e *parquetEncoder) decimal(t columnType, text string) (parquet.Value, error) {
	if t.precision <= 18 {
		v, err := unscaled(text)
		if t.precision <= 9 {
			return parquet.Int32Value(int32(v)), err
		}
		return parquet.Int64Value(v), err
	}
	v, ok := new(big.Int).SetString(strings.Replace(text, ".", "", 1), 10)
	if !ok {
		return parquet.Value{}, errNoDecimal
	}
	if v.Sign() < 0 {
		v.Add(v, new(big.Int).Lsh(big.NewInt(1), decimalBytes*8))
	}
	return parquet.FixedLenByteArrayValue(v.FillBytes(e.fixedBytes())), nil
}

var errNoDecimal = errors.New("it is no decimal")

// unscaled returns a decimal of at most 18 digits without its point.
func unscaled(text string) (v int64, err error) {
	digits := strings.TrimPrefix(text, "-")
	if digits == "" || len(digits) > len("0.")+18 {
		return 0, errNoDecimal
	}
	for i := range len(digits) {
		switch c := digits[i]; {
		case c-'0' <= 9:
			v = v*10 + int64(c-'0')
		case c != '.':
			return 0, errNoDecimal
		}
	}
	if len(digits) < len(text) {
		v = -v
	}
	return v, nil
}
