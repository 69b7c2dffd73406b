// Package event defines what all rooms share about events: fields, record headers, coordinates, and the closed list
// of codes. It imports no room of plugins.
package event

import (
	"time"
	"unicode/utf8"

	"weir/internal/platform/rawjson"
	"weir/internal/platform/text"
)

// Event is one event of a device. Its strings and byte slices alias the bytes it was parsed from, which must not
// change while it is in use.
type Event struct {
	ID          string    // event_id as sent
	UUID        [16]byte  // event_id: the event's identity within its fleet
	Device      string    // device_id
	Firmware    string    // device_firmware_version
	Time        time.Time // timestamp, in its own zone
	TimeText    string    // timestamp as sent
	Metrics     []Metric  // in the order sent
	Diagnostics []byte    // raw JSON object, or nil
	Extra       []Field   // unknown top-level fields, in the order sent
}

// Metric is one reading. Raw is the number as sent, Value the nearest float64.
type Metric struct {
	Name  string
	Value float64
	Raw   []byte
}

// Field is a top-level field that weir keeps without interpreting it.
type Field struct {
	Name string
	Raw  []byte
}

// The fields of an event.
const (
	FieldID          = "event_id"
	FieldDevice      = "device_id"
	FieldFirmware    = "device_firmware_version"
	FieldTimestamp   = "timestamp"
	FieldMetrics     = "metrics"
	FieldDiagnostics = "diagnostics"
)

// Parse parses raw into e and reuses e's slices. It checks what every schema version requires - the five required
// fields with their types, and finite numbers as metrics - so that consumers can rely on it for records of any
// producer. The error is always a *Rejection.
func Parse(raw []byte, e *Event) error {
	*e = Event{Metrics: e.Metrics[:0], Extra: e.Extra[:0]}
	p := parser{b: raw, e: e}
	i := rawjson.Space(raw, 0)
	if i >= len(raw) || raw[i] != '{' {
		if err := rawjson.Document(raw); err != nil {
			return Reject(CodeInvalidJSON, "", err.Error())
		}
		return Reject(CodeInvalidEvent, "", "expected an object")
	}
	end, err := rawjson.Object(raw, i, 0, p.field)
	if err == nil {
		if end = rawjson.Space(raw, end); end < len(raw) {
			return Reject(CodeInvalidJSON, "", "unexpected data after the event")
		}
	}
	switch {
	case err != nil && p.bad == nil:
		return Reject(CodeInvalidJSON, "", err.Error())
	case p.bad != nil:
		return p.bad
	}
	return e.complete(p.metrics)
}

// Release lets go of the bytes that e was parsed from. It keeps the memory of e's slices for the next Parse: what they
// held of events before would keep the whole fetches alive that these came in.
func (e *Event) Release() {
	clear(e.Metrics[:cap(e.Metrics)])
	clear(e.Extra[:cap(e.Extra)])
	*e = Event{Metrics: e.Metrics[:0], Extra: e.Extra[:0]}
}

func (e *Event) complete(metrics bool) error {
	if e.ID != "" && e.Device != "" && e.Firmware != "" && e.TimeText != "" && metrics {
		return nil
	}
	r := &Rejection{Code: CodeInvalidEvent}
	missing := func(have bool, name string) {
		if !have {
			r.Errors = append(r.Errors, FieldError{"/" + name, "is required"})
		}
	}
	missing(e.ID != "", FieldID)
	missing(e.Device != "", FieldDevice)
	missing(e.Firmware != "", FieldFirmware)
	missing(e.TimeText != "", FieldTimestamp)
	missing(metrics, FieldMetrics)
	return r
}

type parser struct {
	b       []byte
	e       *Event
	metrics bool // the field was present, perhaps empty
	bad     *Rejection
}

// errStop stops the parser when bad is set.
var errStop = &rawjson.SyntaxError{Msg: "stopped"}

func (p *parser) refuse(i int, pointer, message string) (int, error) {
	if p.bad == nil {
		p.bad = Reject(CodeInvalidEvent, pointer, message)
	}
	return i, errStop
}

func (p *parser) text(i int, name string) (string, int, error) {
	if p.b[i] != '"' {
		end, err := p.refuse(i, "/"+name, "expected a string")
		return "", end, err
	}
	end, plain, err := rawjson.String(p.b, i)
	if err != nil {
		return "", end, err
	}
	return rawjson.Text(p.b[i+1:end-1], plain), end, nil
}

func (p *parser) field(key []byte, plain bool, i int) (end int, err error) {
	if i >= len(p.b) {
		return rawjson.Value(p.b, i, 1)
	}
	name := rawjson.Text(key, plain)
	switch name {
	case FieldID:
		if p.e.ID, end, err = p.text(i, name); err == nil {
			var ok bool
			if p.e.UUID, ok = text.ParseUUID(p.e.ID); !ok {
				return p.refuse(i, "/event_id", "expected a UUID")
			}
		}
	case FieldDevice:
		if p.e.Device, end, err = p.text(i, name); err == nil && !ValidDevice(p.e.Device) {
			return p.refuse(i, "/device_id", "expected 1 to 128 of letters, digits, '.', '_', ':' and '-'")
		}
	case FieldFirmware:
		if p.e.Firmware, end, err = p.text(i, name); err == nil && p.e.Firmware == "" {
			return p.refuse(i, "/device_firmware_version", "expected a version")
		}
	case FieldTimestamp:
		if p.e.TimeText, end, err = p.text(i, name); err == nil {
			var ok bool
			if p.e.Time, ok = text.ParseTime(p.e.TimeText); !ok {
				return p.refuse(i, "/timestamp", "expected an RFC 3339 time with a zone")
			}
		}
	case FieldMetrics:
		if p.b[i] != '{' {
			return p.refuse(i, "/metrics", "expected an object")
		}
		p.metrics = true
		end, err = rawjson.Object(p.b, i, 1, p.metric)
	case FieldDiagnostics:
		if p.b[i] != '{' {
			return p.refuse(i, "/diagnostics", "expected an object")
		}
		if end, err = rawjson.Value(p.b, i, 1); err == nil {
			p.e.Diagnostics = p.b[i:end]
		}
	default:
		if end, err = rawjson.Value(p.b, i, 1); err == nil {
			p.e.Extra = append(p.e.Extra, Field{Name: name, Raw: p.b[i:end]})
		}
	}
	return end, err
}

func (p *parser) metric(key []byte, plain bool, i int) (end int, err error) {
	name := rawjson.Text(key, plain)
	if i < len(p.b) && p.b[i] != '-' && (p.b[i] < '0' || p.b[i] > '9') {
		if end, err = rawjson.Value(p.b, i, 2); err != nil {
			return end, err // invalid JSON is the more precise error
		}
		return p.refuse(i, "/metrics/"+EscapePointer(name), "expected a number")
	}
	if end, err = rawjson.Number(p.b, i); err != nil {
		return end, err
	}
	v, err := rawjson.Float(p.b[i:end])
	if err != nil {
		return p.refuse(i, "/metrics/"+EscapePointer(name), err.Error())
	}
	p.e.Metrics = append(p.e.Metrics, Metric{Name: name, Value: v, Raw: p.b[i:end]})
	return end, nil
}

// At returns the time an event counts at: its timestamp, or the time it was received when its clock runs ahead, so
// that a wrong clock moves no window.
func (e *Event) At(receivedAt time.Time, clockAhead bool) time.Time {
	if clockAhead {
		return receivedAt
	}
	return e.Time
}

// ValidDevice tells whether s is a valid device_id.
func ValidDevice(s string) bool {
	if len(s) == 0 || len(s) > 128 {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9',
			c == '.', c == '_', c == ':', c == '-':
		default:
			return false
		}
	}
	return true
}

// EscapePointer escapes one token of an RFC 6901 JSON pointer. It returns "" for invalid UTF-8.
func EscapePointer(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] == '~' || s[i] == '/' {
			out := make([]byte, 0, len(s)+4)
			for j := 0; j < len(s); j++ {
				switch s[j] {
				case '~':
					out = append(out, "~0"...)
				case '/':
					out = append(out, "~1"...)
				default:
					out = append(out, s[j])
				}
			}
			return string(out)
		}
	}
	if !utf8.ValidString(s) {
		return ""
	}
	return s
}
