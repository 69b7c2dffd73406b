package etl

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	"weir/internal/platform/text"
)

// avroName matches the names that Avro allows.
var avroName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// avroBlock is the size in bytes, before compression, at which a block ends.
const avroBlock = 1 << 18

// avroEncoder writes a file of Avro. The marker between its blocks is a hash of the schema and the
// first block, so that the same rows give the same bytes.
type avroEncoder struct {
	w       io.Writer
	columns []column
	schema  []byte
	buf     []byte
	rows    int64
	began   bool
	marker  []byte
	packed  bytes.Buffer
	pack    *flate.Writer
}

func newAvro(columns []column, w io.Writer) (encoder, error) {
	fields := make([]any, len(columns))
	for i, c := range columns {
		fields[i] = map[string]any{"name": c.name, "type": []any{"null", c.of.avro()}, "default": nil}
	}
	schema, err := text.JSON(map[string]any{"type": "record", "name": "row", "fields": fields})
	if err != nil {
		return nil, err
	}
	return newAvroWriter(columns, schema, w)
}

func newAvroWriter(columns []column, schema []byte, w io.Writer) (*avroEncoder, error) {
	pack, err := flate.NewWriter(nil, flate.DefaultCompression)
	return &avroEncoder{w: w, columns: columns, schema: schema, pack: pack}, err
}

// avro returns the type in the form of an Avro schema.
func (t columnType) avro() any {
	logical := func(of, name string) any { return map[string]any{"type": of, "logicalType": name} }
	switch t.kind {
	case kindDecimal:
		return map[string]any{"type": "bytes", "logicalType": "decimal", "precision": t.precision, "scale": t.scale}
	case kindDate:
		return logical("int", "date")
	case kindTimestamp:
		return logical("long", "local-timestamp-micros")
	case kindTimestampTZ:
		return logical("long", "timestamp-micros")
	case kindUUID:
		return logical("string", "uuid")
	}
	return map[kind]string{kindBool: "boolean", kindInt16: "int", kindInt32: "int", kindInt64: "long",
		kindFloat32: "float", kindFloat64: "double", kindText: "string", kindBytes: "bytes", kindJSON: "string"}[t.kind]
}

func (e *avroEncoder) write(r row) (err error) {
	for i, c := range r {
		if c.null {
			e.buf = append(e.buf, 0)
			continue
		}
		e.buf = append(e.buf, 2) // the second type of the union
		if e.buf, err = e.columns[i].of.appendAvro(e.buf, c.text); err != nil {
			return fmt.Errorf("encoding column %q: %w", e.columns[i].name, err)
		}
	}
	if e.rows++; len(e.buf) < avroBlock {
		return nil
	}
	return e.flush()
}

// appendAvro appends a canonical text in Avro's binary encoding.
func (t columnType) appendAvro(b []byte, text string) ([]byte, error) {
	number := func(v int64, err error) ([]byte, error) { return binary.AppendVarint(b, v), err }
	whole := func(raw string) []byte { return append(binary.AppendVarint(b, int64(len(raw))), raw...) }
	switch t.kind {
	case kindBool:
		if text == "true" {
			return append(b, 1), nil
		}
		return append(b, 0), nil
	case kindInt16, kindInt32, kindInt64:
		return number(strconv.ParseInt(text, 10, 64))
	case kindFloat32:
		v, err := strconv.ParseFloat(text, 32)
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v))), err
	case kindFloat64:
		v, err := strconv.ParseFloat(text, 64)
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(v)), err
	case kindDecimal:
		v, ok := new(big.Int).SetString(strings.Replace(text, ".", "", 1), 10)
		if !ok {
			return b, fmt.Errorf("it is no decimal")
		}
		return whole(string(twosComplement(v))), nil
	case kindDate:
		at, err := time.Parse(formDate, text)
		return number(at.Unix()/86400, err)
	case kindTimestamp, kindTimestampTZ:
		at, err := time.Parse(formTimestamp, strings.TrimSuffix(text, "Z"))
		return number(at.UnixMicro(), err)
	}
	return whole(text), nil
}

// twosComplement returns a number in the fewest bytes, big-endian.
func twosComplement(v *big.Int) []byte {
	if v.Sign() >= 0 {
		return append(make([]byte, 1-min(1, v.BitLen()%8)), v.FillBytes(make([]byte, (v.BitLen()+7)/8))...)
	}
	size := new(big.Int).Not(v).BitLen()/8 + 1
	return new(big.Int).Add(v, new(big.Int).Lsh(big.NewInt(1), uint(size)*8)).FillBytes(make([]byte, size))
}

// flush writes a block, after the header if it is the first.
func (e *avroEncoder) flush() error {
	if !e.began {
		sum := sha256.Sum256(append(append([]byte{}, e.schema...), e.buf...))
		e.marker, e.began = sum[:avroMarker], true
		head := []byte(avroMagic)
		head = binary.AppendVarint(head, 2)
		for _, fact := range []string{"avro.codec", "deflate", "avro.schema", string(e.schema)} {
			head = append(binary.AppendVarint(head, int64(len(fact))), fact...)
		}
		head = append(binary.AppendVarint(head, 0), e.marker...)
		if _, err := e.w.Write(head); err != nil {
			return err
		}
	}
	if e.rows == 0 {
		return nil
	}
	e.packed.Reset()
	e.pack.Reset(&e.packed)
	if _, err := e.pack.Write(e.buf); err != nil {
		return fmt.Errorf("packing rows: %w", err)
	}
	if err := e.pack.Close(); err != nil {
		return fmt.Errorf("packing rows: %w", err)
	}
	head := binary.AppendVarint(binary.AppendVarint(nil, e.rows), int64(e.packed.Len()))
	for _, part := range [][]byte{head, e.packed.Bytes(), e.marker} {
		if _, err := e.w.Write(part); err != nil {
			return err
		}
	}
	e.buf, e.rows = e.buf[:0], 0
	return nil
}

func (e *avroEncoder) end() error {
	if e.began && e.rows == 0 {
		return nil
	}
	return e.flush()
}
