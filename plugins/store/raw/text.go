package raw

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"weir/internal/platform/rawjson"
	"weir/internal/platform/text"
)

// sent decodes AsSent: the event id, "" when the column has it, and numbers by metric.
func (r *Row) sent() (id string, numbers map[string]json.RawMessage, err error) {
	if r.AsSent == nil {
		return "", nil, nil
	}
	var texts struct {
		ID      string                     `json:"event_id"`
		Metrics map[string]json.RawMessage `json:"metrics"`
	}
	if err := json.Unmarshal(r.AsSent, &texts); err != nil {
		return "", nil, fmt.Errorf("reading column as_sent: %w", err)
	}
	return texts.ID, texts.Metrics, nil
}

// appendTimeText appends a time in the form that most devices use: UTC, without a fraction
// or with three, six or nine digits, as few as suffice.
func appendTimeText(b []byte, t time.Time) []byte {
	switch n := t.Nanosecond(); {
	case n == 0:
		return t.UTC().AppendFormat(b, "2006-01-02T15:04:05Z")
	case n%1e6 == 0:
		return t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	case n%1e3 == 0:
		return t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	}
	return t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000000Z")
}

// isTimeText reports whether the column, in microseconds, gives back the text that t was
// parsed from, which is so when the text is as appendTimeText writes it.
func isTimeText(text string, t time.Time) bool {
	n := len(text)
	if n < 20 || text[n-1] != 'Z' || text[10] != 'T' || text[17] == '6' { // second 60: a leap second
		return false
	}
	switch nanos := t.Nanosecond(); n {
	case len("2006-01-02T15:04:05Z"):
		return nanos == 0
	case len("2006-01-02T15:04:05.000Z"):
		return nanos%1e6 == 0 && nanos != 0
	case len("2006-01-02T15:04:05.000000Z"):
		return nanos%1e3 == 0 && nanos%1e6 != 0
	}
	return false
}

func isUUIDText(s string, id [16]byte) bool {
	var b [36]byte
	return string(text.AppendUUID(b[:0], id)) == s
}

// appendNumber appends a double with the fewest digits that parse to the same value.
func appendNumber(b []byte, v float64) []byte {
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(b, v, 'e', -1, 64)
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

// exact reports whether the double prints as the number that was sent: the same value,
// though perhaps not the same text.
func exact(raw []byte, v float64) bool {
	if len(raw) <= 16 && !hasExponent(raw) { // at most 15 digits, or 16 without sign and point
		if len(raw) < 16 || raw[0] == '-' || bytes.IndexByte(raw, '.') >= 0 {
			return true
		}
	}
	digits, exp := decimal(raw)
	var b [32]byte
	shortest, sexp := decimal(strconv.AppendFloat(b[:0], v, 'e', -1, 64))
	return exp == sexp && bytes.Equal(digits, shortest)
}

func hasExponent(number []byte) bool {
	for _, c := range number {
		if c|0x20 == 'e' {
			return true
		}
	}
	return false
}

// decimal splits a JSON number into its significant digits d1d2… and the exponent of
// 0.d1d2…; zero has no digits.
func decimal(raw []byte) (digits []byte, exp int) {
	point := -1
	i := 0
	for ; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '.':
			point = len(digits)
		case c >= '0' && c <= '9':
			digits = append(digits, c)
		case c == 'e' || c == 'E':
			n, err := strconv.Atoi(rawjson.Alias(raw[i+1:]))
			if err != nil { // an exponent too long for an int: the value is, or rounds to, zero
				n = 0
			}
			exp = n
			i = len(raw)
		}
	}
	if point < 0 {
		point = len(digits)
	}
	exp += point
	trimmed := bytes.TrimLeft(digits, "0")
	exp -= len(digits) - len(trimmed)
	if trimmed = bytes.TrimRight(trimmed, "0"); len(trimmed) == 0 {
		return nil, 0
	}
	return trimmed, exp
}
