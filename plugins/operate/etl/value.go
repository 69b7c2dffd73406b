package etl

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Layouts of times in canonical text: up to microseconds, without zeros at the end.
const (
	formDate      = "2006-01-02"
	formTimestamp = "2006-01-02T15:04:05.999999"
)

// canonical returns the only canonical text of a value, or an error that says what is wrong with
// the value and does not quote it. Nothing is rounded, cut or guessed.
func (t columnType) canonical(text string) (string, error) {
	if t.plain(text) {
		return text, nil
	}
	return t.careful(text)
}

// careful parses a text that plain does not accept.
func (t columnType) careful(text string) (string, error) {
	switch t.kind {
	case kindBool:
		switch text {
		case "true", "t":
			return "true", nil
		case "false", "f":
			return "false", nil
		}
		return "", errors.New("it is neither true nor false")
	case kindInt16, kindInt32, kindInt64:
		v, err := strconv.ParseInt(text, 10, bits(t.kind))
		if errors.Is(err, strconv.ErrRange) {
			return "", fmt.Errorf("it does not fit into an %s", t.kind)
		}
		if err != nil || strings.HasPrefix(text, "+") {
			return "", errors.New("it is no whole number")
		}
		return strconv.FormatInt(v, 10), nil
	case kindFloat32, kindFloat64:
		return canonicalFloat(text, bits(t.kind))
	case kindDecimal:
		return t.canonicalDecimal(text)
	case kindText:
		if !utf8.ValidString(text) {
			return "", errors.New("it is not UTF-8")
		}
		return text, nil
	case kindDate:
		at, err := time.Parse(formDate, text)
		if err != nil || at.Year() < 1 {
			return "", errors.New("it is no date of the years 1 to 9999")
		}
		return at.Format(formDate), nil
	case kindTimestamp:
		at, err := parseTime(text, "2006-01-02T15:04:05")
		return at.Format(formTimestamp), err
	case kindTimestampTZ:
		at, err := parseTime(text, "2006-01-02T15:04:05Z07:00")
		return at.UTC().Format(formTimestamp) + "Z", err
	case kindUUID:
		return canonicalUUID(text)
	case kindJSON:
		if !json.Valid([]byte(text)) {
			return "", errors.New("it is no JSON")
		}
	}
	return text, nil
}

func bits(k kind) int {
	switch k {
	case kindInt16:
		return 16
	case kindInt32, kindFloat32:
		return 32
	}
	return 64
}

// canonicalFloat returns the shortest text that parses to the same number.
func canonicalFloat(text string, size int) (string, error) {
	if strings.ContainsAny(text, "_xXpP") {
		return "", errors.New("it is no number")
	}
	v, err := strconv.ParseFloat(text, size)
	switch {
	case errors.Is(err, strconv.ErrRange) && math.IsInf(v, 0):
		return "", fmt.Errorf("it does not fit into a float%d", size)
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return "", errors.New("it is no number")
	case math.IsInf(v, 1):
		return "Infinity", nil
	case math.IsInf(v, -1):
		return "-Infinity", nil
	}
	return strconv.FormatFloat(v, 'g', -1, size), nil
}

// canonicalDecimal returns a text with exactly t.scale digits behind the point.
func (t columnType) canonicalDecimal(text string) (string, error) {
	digits, negative := strings.CutPrefix(text, "-")
	whole, part, _ := strings.Cut(digits, ".")
	if whole+part == "" || strings.ContainsFunc(whole+part, func(r rune) bool { return r < '0' || r > '9' }) {
		return "", errors.New("it is no decimal number")
	}
	whole = strings.TrimLeft(whole, "0")
	if len(part) > t.scale {
		if strings.Trim(part[t.scale:], "0") != "" {
			return "", fmt.Errorf("it has more digits behind the point than %s", t)
		}
		part = part[:t.scale]
	}
	part += strings.Repeat("0", t.scale-len(part))
	if len(whole) > t.precision-t.scale {
		return "", fmt.Errorf("it does not fit into %s", t)
	}
	out := whole
	if whole == "" {
		out = "0"
	}
	if part != "" {
		out += "." + part
	}
	if negative && strings.Trim(out, "0.") != "" {
		out = "-" + out
	}
	return out, nil
}

// parseTime parses a time with a 'T' or a blank after the date, and with microseconds at most.
func parseTime(text, form string) (time.Time, error) {
	if len(text) > 10 && text[10] == ' ' {
		text = text[:10] + "T" + text[11:]
	}
	if n := len(text); strings.HasSuffix(form, "07:00") && n > 3 && (text[n-3] == '+' || text[n-3] == '-') {
		text += ":00" // PostgreSQL writes +00
	}
	at, err := time.Parse(form, text)
	switch {
	case err != nil || at.UTC().Year() < 1 || at.UTC().Year() > 9999:
		return time.Time{}, errors.New("it is no time of the years 1 to 9999, such as 2026-11-27T09:00:00" +
			strings.TrimSuffix(form[19:], "07:00"))
	case at.Nanosecond()%1000 != 0:
		return time.Time{}, errors.New("it is finer than a microsecond")
	}
	return at, nil
}

func canonicalUUID(text string) (string, error) {
	text = strings.ToLower(text)
	for i, c := range []byte(text) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && !strings.ContainsRune("0123456789abcdef", rune(c)) {
			return "", errors.New("it is no UUID")
		}
	}
	if len(text) != 36 {
		return "", errors.New("it is no UUID")
	}
	return text, nil
}
