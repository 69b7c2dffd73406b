package event

import (
	"bytes"

	"weir/internal/platform/rawjson"
	"weir/internal/platform/text"
)

// Skim reads what an event is known by into e - the four texts, UUID and Time, in
// UTC - while read takes each of its fields: one pass for both. It is true of
// nothing that Parse refuses. When it is false, the bytes may be an event all the
// same, written in a way that is rare: ask Parse, and read what read was to.
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

// text is a string that has been read, if it is its own value.
func (s *skimmer) text(i, end int, plain bool) (string, bool) {
	if !plain || s.b[i] != '"' {
		return "", false
	}
	content := s.b[i+1 : end-1]
	return rawjson.Alias(content), bytes.IndexByte(content, '\\') < 0
}

// areNumbers tells whether a value that has been read is an object of numbers.
func areNumbers(b []byte) bool {
	if b[0] != '{' {
		return false
	}
	for i := rawjson.Space(b, 1); b[i] != '}'; {
		i, _, _ = rawjson.String(b, i)
		i = rawjson.Space(b, rawjson.Space(b, i)+1) // behind the colon
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
