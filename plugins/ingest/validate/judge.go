package validate

import (
	"fmt"
	"time"

	"weir/internal/event"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/schemadoc"
	"weir/internal/platform/text"
)

// verdict is the result of schema_validate for one event. Its strings and slices share the event's
// memory, and are overwritten by the judge's next verdict.
type verdict struct {
	Rejection *event.Rejection // nil: the event is valid, and the rest is set
	Schema    *planned
	Device    string
	Time      time.Time
	Metrics   [][]byte // metric names that the schema does not declare
	Fields    [][]byte // top-level names that the schema does not declare
}

// judge validates events by rules. It is not safe for concurrent use; make one
// per goroutine, it is small.
type judge struct {
	rules *rules
	hint  *planned // the schema of the last event: the next is likely of the same

	walk  walk
	right *planned // the schema of the firmware that the walk met
	event event.Event
}

func newJudge(r *rules) *judge {
	j := &judge{rules: r}
	if len(r.schemas) > 0 {
		j.hint = r.schemas[0]
	}
	j.walk.choose = func(firmware []byte) bool {
		j.right = r.forFirmware(firmware)
		return j.right == j.hint
	}
	return j
}

// judge gives the verdict on an event's bytes. Valid events of a schema that
// has a plan take one pass over the bytes and no allocation; all others are
// decoded and judged by the library.
func (j *judge) judge(raw []byte) verdict {
	if v, ok := j.quick(raw); ok {
		return v
	}
	return j.slow(raw)
}

func (j *judge) quick(raw []byte) (verdict, bool) {
	for range 2 { // again when the firmware turns out to be another schema's
		if j.hint == nil || j.hint.plan == nil {
			return verdict{}, false
		}
		j.right = nil
		if j.walk.document(raw, j.hint.plan) {
			w := &j.walk
			return verdict{Schema: j.hint, Device: rawjson.Alias(w.device), Time: w.timestamp, Metrics: w.metrics,
				Fields: w.fields}, true
		}
		if j.right == nil || j.right == j.hint {
			return verdict{}, false
		}
		j.hint = j.right
	}
	return verdict{}, false
}

func (j *judge) slow(raw []byte) verdict {
	if err := rawjson.Document(raw); err != nil {
		return reject(event.Reject(event.CodeInvalidJSON, "", err.Error()))
	}
	firmware, bad := firmwareOf(raw)
	if bad != nil {
		return reject(bad)
	}
	schema := j.rules.forFirmware([]byte(firmware))
	if schema == nil {
		return reject(event.Reject(event.CodeUnknownFirmware, "/"+event.FieldFirmware,
			fmt.Sprintf("no schema for firmware %s: %s", text.Shorten(fmt.Sprintf("%q", firmware)), j.rules.set.Ranges())))
	}
	j.hint = schema
	doc, err := schemadoc.Decode(raw)
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

func reject(r *event.Rejection) verdict { return verdict{Rejection: r} }

// facts returns the verdict on a valid event that was parsed.
func (j *judge) facts(schema *planned) verdict {
	e := &j.event
	v := verdict{Schema: schema, Device: e.Device, Time: e.Time}
	for _, m := range e.Metrics {
		if !schema.DeclaresMetric(m.Name) {
			v.Metrics = append(v.Metrics, []byte(m.Name))
		}
	}
	for _, f := range e.Extra {
		if !schema.DeclaresField(f.Name) {
			v.Fields = append(v.Fields, []byte(f.Name))
		}
	}
	return v
}

// firmwareOf returns the firmware, which chooses the schema. If it is missing, the rejection lists
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
		r.Errors = append(r.Errors, event.FieldError{Pointer: "/" + event.FieldFirmware,
			Message: "expected a version: it chooses the schema"})
		return "", r
	}
	return "", event.Reject(event.CodeInvalidEvent, "/"+event.FieldFirmware, "expected a version: it chooses the schema")
}
