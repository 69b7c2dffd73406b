// Package text parses and formats identifiers and times.
package text

import (
	"encoding/hex"
	"time"
	"unicode/utf8"
)

// ParseUUID parses the 36-character form of a UUID of any version and case.
func ParseUUID(s string) (id [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, false
	}
	for n, i := 0, 0; n < 16; n, i = n+1, i+2 {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			i++
		}
		hi, lo := unhex[s[i]], unhex[s[i+1]]
		if hi|lo > 15 {
			return id, false
		}
		id[n] = hi<<4 | lo
	}
	return id, true
}

// AppendUUID appends the lower-case form of a UUID.
func AppendUUID(b []byte, id [16]byte) []byte {
	b = append(hex.AppendEncode(b, id[:4]), '-')
	b = append(hex.AppendEncode(b, id[4:6]), '-')
	b = append(hex.AppendEncode(b, id[6:8]), '-')
	b = append(hex.AppendEncode(b, id[8:10]), '-')
	return hex.AppendEncode(b, id[10:])
}

var unhex = func() (t [256]byte) {
	for c := range t {
		switch {
		case c >= '0' && c <= '9':
			t[c] = byte(c - '0')
		case c >= 'a' && c <= 'f':
			t[c] = byte(c - 'a' + 10)
		case c >= 'A' && c <= 'F':
			t[c] = byte(c - 'A' + 10)
		default:
			t[c] = 0xff
		}
	}
	return t
}()

// ParseTime parses an RFC 3339 date-time and keeps its zone. It drops digits beyond nanoseconds and treats a leap
// second as the following second.
func ParseTime(s string) (time.Time, bool) {
	t, offset, ok := parseTime(s)
	if ok && offset != 0 {
		t = t.In(time.FixedZone("", offset))
	}
	return t, ok
}

// ParseInstant is ParseTime with the result in UTC. It does not allocate.
func ParseInstant(s string) (time.Time, bool) {
	t, _, ok := parseTime(s)
	return t, ok
}

// parseTime parses YYYY-MM-DDThh:mm:ss[.fraction](Z|+hh:mm|-hh:mm); the letters may be lower case. Years start at 1.
func parseTime(s string) (t time.Time, offset int, ok bool) {
	if len(s) < 20 || s[4] != '-' || s[7] != '-' || s[10]|0x20 != 't' || s[13] != ':' || s[16] != ':' {
		return t, 0, false
	}
	year := two(s, 0)*100 + two(s, 2)
	month, day, hour, minute, second := two(s, 5), two(s, 8), two(s, 11), two(s, 14), two(s, 17)
	if year < 1 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 23 ||
		minute < 0 || minute > 59 || second < 0 || second > 60 || two(s, 0) < 0 || two(s, 2) < 0 ||
		day > 28 && day > daysIn(month, year) {
		return t, 0, false
	}
	nanos, i := 0, 19
	if s[i] == '.' {
		scale := 100_000_000
		for i++; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
			nanos += int(s[i]-'0') * scale
			scale /= 10
		}
		if i == 20 {
			return t, 0, false
		}
	}
	switch zone := s[i:]; {
	case len(zone) == 1 && zone[0]|0x20 == 'z':
	case len(zone) == 6 && zone[3] == ':' && (zone[0] == '+' || zone[0] == '-'):
		h, m := two(zone, 1), two(zone, 4)
		if h < 0 || h > 23 || m < 0 || m > 59 {
			return t, 0, false
		}
		offset = (h*60 + m) * 60
		if zone[0] == '-' {
			offset = -offset
		}
	default:
		return t, 0, false
	}
	at := daysFromCivil(year, month, day)*86400 + int64(hour*3600+minute*60+second-offset)
	if second == 60 && at%86400 != 0 {
		return t, 0, false // leap seconds occur only at the end of a UTC day
	}
	return time.Unix(at, int64(nanos)).UTC(), offset, true
}

// two parses the two digits at i. It returns a negative number if they are not digits.
func two(s string, i int) int {
	hi, lo := s[i]-'0', s[i+1]-'0'
	if hi > 9 || lo > 9 {
		return -1 << 16
	}
	return int(hi)*10 + int(lo)
}

func daysIn(month, year int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// daysFromCivil returns the number of days since 1970-01-01 in the Gregorian calendar: whole 400-year eras of 146,097
// days, with years that begin in March so that the leap day comes last.
func daysFromCivil(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	ofEra := year - era*400
	ofYear := (153*(month-3)+2)/5 + day - 1
	return int64(era*146097+ofEra*365+ofEra/4-ofEra/100+ofYear) - 719468
}

// shortMax is the number of bytes that Shorten keeps.
const shortMax = 200

// Shorten cuts a text for a message to its first 200 bytes, at the end of a
// rune, and shows that it did.
func Shorten(s string) string { return Cut(s, shortMax) }

// Cut cuts a text to its first bytes, at most so many, at the end of a rune, and shows
// by "…" that it did.
func Cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	n := most
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
