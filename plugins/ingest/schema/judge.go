package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	"weir/internal/event"
	"weir/internal/platform/rawjson"
)

// Verdict is what schema_validate finds out about one event. Its strings and
// slices share the event's memory, and are overwritten by the judge's next
// verdict.
type Verdict struct {
	Rejection *event.Rejection // nil: the event is valid, and the rest is set
	Schema    *Schema
	Device    string
	Time      time.Time
	Metrics   [][]byte // metric names that the schema does not declare
	Fields    [][]byte // top-level names that the schema does not declare
}

// Judge validates events by a set. It is not safe for concurrent use; make one
// per goroutine, it is small.
type Judge struct {
	set  *Set
	hint *Schema // the schema of the last event: the next is likely of the same

	walk  walk
	right *Schema // the schema of the firmware that the walk met
	event event.Event
}

// NewJudge returns a judge over the set.
func NewJudge(set *Set) *Judge {
	j := &Judge{set: set}
	if len(set.schemas) > 0 {
		j.hint = set.schemas[0]
	}
	j.walk.choose = func(firmware []byte) bool {
		j.right = set.ForFirmware(firmware)
		return j.right == j.hint
	}
	return j
}

// Judge gives the verdict on an event's bytes. Valid events of a schema that
// has a plan take one pass over the bytes and no allocation; all others are
// decoded and judged by the library.
func (j *Judge) Judge(raw []byte) Verdict {
	if v, ok := j.quick(raw); ok {
		return v
	}
	return j.slow(raw)
}

func (j *Judge) quick(raw []byte) (Verdict, bool) {
	for range 2 { // again when the firmware turns out to be another schema's
		if j.hint == nil || j.hint.plan == nil {
			return Verdict{}, false
		}
		j.right = nil
		if j.walk.document(raw, j.hint.plan) {
			w := &j.walk
			return Verdict{Schema: j.hint, Device: rawjson.Alias(w.device), Time: w.timestamp, Metrics: w.metrics, Fields: w.fields}, true
		}
		if j.right == nil || j.right == j.hint {
			return Verdict{}, false
		}
		j.hint = j.right
	}
	return Verdict{}, false
}

func (j *Judge) slow(raw []byte) Verdict {
	if err := rawjson.Document(raw); err != nil {
		return reject(event.Reject(event.CodeInvalidJSON, "", err.Error()))
	}
	firmware, bad := firmwareOf(raw)
	if bad != nil {
		return reject(bad)
	}
	schema := j.set.ForFirmware([]byte(firmware))
	if schema == nil {
		return reject(event.Reject(event.CodeUnknownFirmware, "/"+event.FieldFirmware,
			fmt.Sprintf("no schema for firmware %s: %s", shorten(fmt.Sprintf("%q", firmware)), j.set.describeRanges())))
	}
	j.hint = schema
	doc, err := decode(raw)
	if err != nil { // rawjson accepted it: both read the same JSON
		return reject(event.Reject(event.CodeInvalidJSON, "", err.Error()))
	}
	if bad := schema.violation(doc); bad != nil {
		return reject(bad)
	}
	if err := event.Parse(raw, &j.event); err != nil {
		return reject(err.(*event.Rejection))
	}
	return j.facts(schema)
}

func reject(r *event.Rejection) Verdict { return Verdict{Rejection: r} }

// facts is the verdict on a valid event that was parsed.
func (j *Judge) facts(schema *Schema) Verdict {
	e := &j.event
	v := Verdict{Schema: schema, Device: e.Device, Time: e.Time}
	for _, m := range e.Metrics {
		if !schema.metrics[m.Name] {
			v.Metrics = append(v.Metrics, []byte(m.Name))
		}
	}
	for _, f := range e.Extra {
		if !schema.fields[f.Name] {
			v.Fields = append(v.Fields, []byte(f.Name))
		}
	}
	return v
}

// firmwareOf reads what chooses the schema. Where there is none, it says
// everything that the event lacks.
func firmwareOf(raw []byte) (string, *event.Rejection) {
	i := rawjson.Space(raw, 0)
	if raw[i] != '{' {
		return "", event.Reject(event.CodeInvalidEvent, "", "expected an object")
	}
	var firmware string
	_, err := rawjson.Object(raw, i, 0, func(key []byte, plain bool, i int) (int, error) {
		end, err := rawjson.Value(raw, i, 1)
		if err == nil && raw[i] == '"' && rawjson.Text(key, plain) == event.FieldFirmware {
			firmware = rawjson.Text(raw[i+1:end-1], false)
		}
		return end, err
	})
	if err == nil && firmware != "" {
		return firmware, nil
	}
	var e event.Event
	if err := event.Parse(raw, &e); err != nil {
		r := err.(*event.Rejection)
		for _, fe := range r.Errors {
			if fe.Pointer == "/"+event.FieldFirmware {
				return "", r
			}
		}
		r.Errors = append(r.Errors, event.FieldError{Pointer: "/" + event.FieldFirmware, Message: "expected a version: it chooses the schema"})
		return "", r
	}
	return "", event.Reject(event.CodeInvalidEvent, "/"+event.FieldFirmware, "expected a version: it chooses the schema")
}

// decode reads a document for the library, which does arithmetic on exact
// numbers: exponents so small that the number is zero to a double are cut, or
// they would take gigabytes.
func decode(raw []byte) (any, error) {
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
