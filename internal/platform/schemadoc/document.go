package schemadoc

import (
	"bytes"
	"encoding/json"
	"math/big"
	"net/url"
	"strings"
)

// URL is the base of a schema that has no $id of its own.
const URL = "weir:///schema.json"

// Resolve returns the absolute form of a reference within a document at base.
func Resolve(base, ref string) string {
	b, err := url.Parse(base)
	if err != nil {
		return ref
	}
	r, err := url.Parse(ref)
	if err != nil {
		return ref
	}
	return b.ResolveReference(r).String()
}

// Decode reads JSON with its numbers as they are written, for the library,
// which does arithmetic on exact numbers: exponents so small that the number is
// zero to a double are cut, or they would take gigabytes.
func Decode(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var doc any
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	return tame(doc), nil
}

func tame(v any) any {
	switch v := v.(type) {
	case json.Number:
		if strings.ContainsAny(v.String(), "eE") {
			if f, err := v.Float64(); err == nil && f == 0 {
				return json.Number("0")
			}
			if _, ok := new(big.Rat).SetString(v.String()); !ok {
				return json.Number("0")
			}
		}
	case []any:
		for i := range v {
			v[i] = tame(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = tame(v[k])
		}
	}
	return v
}

// Canonical is the JSON of a value with its object keys in order.
func Canonical(v any) string {
	raw, err := json.Marshal(v)
	if err != nil { // it came from JSON
		return ""
	}
	return string(raw)
}
