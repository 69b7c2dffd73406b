package schemadoc

import (
	"bytes"
	"encoding/json"
	"math/big"
	"net/url"
	"strings"
)

// URL is the base of a schema without $id.
const URL = "weir:///schema.json"

// Resolve returns the absolute form of a reference in a document at base.
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

// Decode decodes JSON keeping numbers as written, since the library uses exact arithmetic. Exponents so small that
// the number is zero as a double are cut: exact arithmetic on them would take gigabytes.
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

// Canonical returns a value as JSON with sorted object keys.
func Canonical(v any) string {
	raw, err := json.Marshal(v)
	if err != nil { // cannot happen: it came from JSON
		return ""
	}
	return string(raw)
}
