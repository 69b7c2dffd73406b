package simulate

import "fmt"

// Format is the encoding of a request's events.
type Format string

// The formats.
const (
	JSON   Format = "json"   // an object, or an array of them
	NDJSON Format = "ndjson" // one object a line
)

// ParseFormat reads a format's name.
func ParseFormat(s string) (Format, error) {
	if f := Format(s); f == JSON || f == NDJSON {
		return f, nil
	}
	return "", fmt.Errorf("format %q: expected %s or %s", s, JSON, NDJSON)
}

func (f Format) mediaType() string {
	if f == NDJSON {
		return "application/x-ndjson"
	}
	return "application/json"
}

// open, between and close frame the events of a request of n.
func (f Format) open(b []byte, n int) []byte {
	if f == NDJSON || n == 1 {
		return b
	}
	return append(b, '[')
}

func (f Format) between(b []byte) []byte {
	if f == NDJSON {
		return append(b, '\n')
	}
	return append(b, ',')
}

func (f Format) close(b []byte, n int) []byte {
	switch {
	case f == NDJSON:
		return append(b, '\n')
	case n == 1:
		return b
	}
	return append(b, ']')
}
