package event

import (
	"bytes"

	"weir/internal/platform/rawjson"
	"weir/internal/platform/text"
)

// Skim parses the identifying fields into e (the four texts, UUID, and Time in UTC) and calls read for each field, in
// one pass. It returns true only for events that Parse accepts. On false the bytes may still be a valid event in an
// unusual notation: call Parse, and discard what read was given.
func Skim(raw []byte, e *Event, read rawjson.Field) bool {
	*e = Event{Metrics: e.Metrics[:0], Extra: e.Extra[:0]}
	i := rawjson.Space(raw, 0)
	if i >= len(raw) || raw[i] != '{' {
		return false
	}
	s := skimmer{b: raw, e: e, read: read}
	end, err := rawjson.Object(raw, i, 0, s.field)
	return err == nil && rawjson.Space(raw, end) == len(raw) && e.ID != "" && e.Device != "" && e.Firmware != "" &&
		e.TimeText != "" && s.metrics
}

type skimmer struct {
	b       []byte
	e       *Event
	read    rawjson.Field
	metrics bool
}

func (s *skimmer) field(key []byte, plain bool, i int) (end int, err error) {
	if end, err = s.read(key, plain, i); err != nil {
		return end, err
	}
	ok := plain
	switch string(key) {
	case FieldID:
		if s.e.ID, ok = s.text(i, end, plain); ok {
			s.e.UUID, ok = text.ParseUUID(s.e.ID)
		}
	case FieldDevice:
		if s.e.Device, ok = s.text(i, end, plain); ok {
			ok = ValidDevice(s.e.Device)
		}
	case FieldFirmware:
		s.e.Firmware, ok = s.text(i, end, plain)
	case FieldTimestamp:
		if s.e.TimeText, ok = s.text(i, end, plain); ok {
			s.e.Time, ok = text.ParseInstant(s.e.TimeText)
		}
	case FieldMetrics:
		ok, s.metrics = plain && areNumbers(s.b[i:end]), true
	case FieldDiagnostics:
		ok = plain && s.b[i] == '{'
	}
	if !ok {
		return i, errStop
	}
	return end, nil
}

// text returns the content of a string that has been scanned, and whether it has no escapes.
func (s *skimmer) text(i, end int, plain bool) (string, bool) {
	if !plain || s.b[i] != '"' {
		return "", false
	}
	content := s.b[i+1 : end-1]
	return rawjson.Alias(content), bytes.IndexByte(content, '\\') < 0
}

// areNumbers tells whether a scanned value is an object of numbers.
func areNumbers(b []byte) bool {
	if b[0] != '{' {
		return false
	}
	for i := rawjson.Space(b, 1); b[i] != '}'; {
		i, _, _ = rawjson.String(b, i)
		i = rawjson.Space(b, rawjson.Space(b, i)+1) // after the colon
		if b[i] != '-' && (b[i] < '0' || b[i] > '9') {
			return false
		}
		for b[i] != ',' && b[i] != '}' {
			i++
		}
		if b[i] == ',' {
			i = rawjson.Space(b, i+1)
		}
	}
	return true
}
