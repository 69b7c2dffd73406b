package etl

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/linkedin/goavro/v2"
)

// avroValue decodes values of one Avro schema.
type avroValue struct {
	codec  *goavro.Codec
	fields []avroField
	id     int64 // id of the schema in a registry, which precedes each value; 0: nothing precedes it
}

// avroField is a field of the record, and the column that it becomes.
type avroField struct {
	column
	unit time.Duration // unit of a timestamp's number
}

// avroHeader is the length of what precedes a value: a zero byte and the id of its schema.
const avroHeader = 5

// readAvro reads the option "schema" and returns a decoder and the columns of the schema.
func readAvro(r *reader) (*avroValue, []column) {
	id := r.number("schema_id", 0, 1, 1<<31-1)
	at := r.member("schema")
	if at == nil {
		if r.members != nil {
			r.wrong(r.n, `"schema" is missing: a record of Avro`)
		}
		return &avroValue{}, nil
	}
	a, columns, wrong := avroOf(at.plain())
	for _, err := range wrong {
		r.wrong(at, "%v", err)
	}
	a.id = id
	return a, columns
}

// avroOf makes a decoder from a schema, which must be a record, and returns its columns. wrong
// lists what is wrong with the schema, such as every field that has no exact type.
func avroOf(schema any) (a *avroValue, columns []column, wrong []error) {
	a = &avroValue{}
	record, _ := schema.(map[string]any)
	fields, _ := record["fields"].([]any)
	if record["type"] != "record" || len(fields) == 0 {
		return a, nil, []error{errors.New("expected a record of Avro with fields")}
	}
	named := map[string]any{}
	for i, one := range fields {
		field, _ := one.(map[string]any)
		name, _ := field["name"].(string)
		f, err := avroFieldOf(field["type"], named)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("field %d (%q): %w", i+1, name, err))
			continue
		}
		f.name = name
		a.fields, columns = append(a.fields, f), append(columns, f.column)
	}
	// The codec gets the schema without logical types: cells converts times and decimals itself.
	raw, err := json.Marshal(bareAvro(record))
	if err == nil {
		a.codec, err = goavro.NewCodec(string(raw))
	}
	if err != nil {
		wrong = append(wrong, fmt.Errorf("it is no schema of Avro: %w", err))
	}
	return a, columns, wrong
}

// bareAvro returns a copy of a schema without logical types and defaults.
func bareAvro(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, one := range v {
			if name != "logicalType" && name != "default" {
				out[name] = bareAvro(one)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, one := range v {
			out[i] = bareAvro(one)
		}
		return out
	}
	return v
}

// avroFieldOf returns the type that holds every value of a field, or why there is none. It adds the
// named types that it meets to named.
func avroFieldOf(given any, named map[string]any) (f avroField, err error) {
	logical := ""
	switch v := given.(type) {
	case []any: // a union: null and one other
		var others []any
		for _, one := range v {
			if one != "null" {
				others = append(others, one)
			}
		}
		if len(others) != 1 {
			return f, errors.New("a union is exact of null and one other")
		}
		return avroFieldOf(others[0], named)
	case map[string]any:
		name, _ := v["name"].(string)
		if name != "" {
			named[name] = v
			if space, _ := v["namespace"].(string); space != "" {
				named[space+"."+name] = v
			}
		}
		if logical, _ = v["logicalType"].(string); logical == "decimal" {
			f.of, err = parseType(fmt.Sprintf("decimal(%v,%v)", v["precision"], orZero(v["scale"])))
			return f, err
		}
		if inner, is := v["type"].(map[string]any); is {
			return avroFieldOf(inner, named)
		}
		given = v["type"]
	}
	name, _ := given.(string)
	if of, is := named[name]; is {
		return avroFieldOf(of, map[string]any{})
	}
	kinds := map[string]kind{"boolean": kindBool, "int": kindInt32, "long": kindInt64, "float": kindFloat32,
		"double": kindFloat64, "string": kindText, "bytes": kindBytes, "fixed": kindBytes, "enum": kindText,
		"int date": kindDate, "long timestamp-millis": kindTimestampTZ, "long timestamp-micros": kindTimestampTZ,
		"long local-timestamp-millis": kindTimestamp, "long local-timestamp-micros": kindTimestamp, "string uuid": kindUUID}
	of, is := kinds[strings.TrimSpace(name+" "+logical)]
	if !is {
		return f, fmt.Errorf("there is no exact type for %s", strings.TrimSpace(name+" "+logical))
	}
	f.of.kind, f.unit = of, time.Microsecond
	if strings.HasSuffix(logical, "-millis") {
		f.unit = time.Millisecond
	}
	return f, nil
}

func orZero(v any) any {
	if v == nil {
		return 0
	}
	return v
}

// row decodes one value, after a check of the schema's id if values have one.
func (a *avroValue) row(raw []byte) (row, error) {
	if a.id > 0 {
		if len(raw) < avroHeader || raw[0] != 0 {
			return nil, errors.New("it does not begin with the id of a schema")
		}
		if id := int64(binary.BigEndian.Uint32(raw[1:])); id != a.id {
			return nil, fmt.Errorf("it is of schema %d, and not of %d", id, a.id)
		}
		raw = raw[avroHeader:]
	}
	native, rest, err := a.codec.NativeFromBinary(raw)
	if err != nil || len(rest) > 0 {
		return nil, errors.New("it is no value of the schema")
	}
	return a.cells(native)
}

// cells converts a decoded record to a row.
func (a *avroValue) cells(native any) (out row, err error) {
	record, is := native.(map[string]any)
	if !is {
		return nil, errors.New("it is no value of the schema")
	}
	out = make(row, len(a.fields), len(a.fields)+len(recordFacts()))
	for i, f := range a.fields {
		v := record[f.name]
		if union, is := v.(map[string]any); is {
			for _, v = range union { // a union's value is a map with one member
			}
		}
		if v == nil {
			out[i].null = true
			continue
		}
		if out[i].text, err = f.text(v); err != nil {
			return nil, fmt.Errorf("column %q: %w", f.name, err)
		}
	}
	return out, nil
}

// text returns a decoded value as the canonical text of its column.
func (f avroField) text(v any) (string, error) {
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v), nil
	case int32:
		if f.of.kind == kindDate {
			return f.of.canonical(time.Unix(int64(v)*86400, 0).UTC().Format(formDate))
		}
		return strconv.FormatInt(int64(v), 10), nil
	case int64:
		return f.time(v)
	case float32:
		return canonicalFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 32)
	case float64:
		return canonicalFloat(strconv.FormatFloat(v, 'g', -1, 64), 64)
	case string:
		return f.of.canonical(v)
	case []byte:
		if f.of.kind == kindDecimal {
			return f.decimal(v)
		}
		return string(v), nil
	}
	return "", fmt.Errorf("it is no %s", f.of)
}

func (f avroField) time(v int64) (string, error) {
	at, form := time.UnixMicro(v).UTC(), formTimestamp
	if f.unit == time.Millisecond {
		at = time.UnixMilli(v).UTC()
	}
	switch f.of.kind {
	case kindTimestampTZ:
		form += "Z"
	case kindTimestamp:
	default:
		return strconv.FormatInt(v, 10), nil
	}
	if at.Year() < 1 || at.Year() > 9999 {
		return "", errors.New("it is no time of the years 1 to 9999")
	}
	return at.Format(form), nil
}

// decimal decodes an unscaled number in big-endian two's complement.
func (f avroField) decimal(raw []byte) (string, error) {
	n := new(big.Int).SetBytes(raw)
	if len(raw) > 0 && raw[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(len(raw))*8))
	}
	digits := new(big.Int).Abs(n).String()
	if len(digits) <= f.of.scale {
		digits = strings.Repeat("0", f.of.scale+1-len(digits)) + digits
	}
	text := digits[:len(digits)-f.of.scale]
	if f.of.scale > 0 {
		text += "." + digits[len(digits)-f.of.scale:]
	}
	if n.Sign() < 0 {
		text = "-" + text
	}
	return f.of.canonical(text)
}
