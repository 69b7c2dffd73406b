package etl

import "strings"

// plain tells, without allocating, whether a text is canonical. It may say no of a canonical text,
// never yes of another.
func (t columnType) plain(text string) bool {
	switch t.kind {
	case kindInt16:
		return plainInteger(text, 4) // digits that fit whatever they are
	case kindInt32:
		return plainInteger(text, 9)
	case kindInt64:
		return plainInteger(text, 18)
	case kindFloat32:
		return plainFloat(text, 6)
	case kindFloat64:
		return plainFloat(text, 15)
	case kindDecimal:
		return plainDecimal(text, t.precision-t.scale, t.scale)
	case kindDate:
		return len(text) == len(formDate) && plainDate(text)
	case kindTimestamp:
		return plainTime(text)
	case kindTimestampTZ:
		local, is := strings.CutSuffix(text, "Z")
		return is && plainTime(local)
	case kindUUID:
		return plainUUID(text)
	}
	return false
}

// digitsOf returns the number of digits that a text begins with.
func digitsOf(text string) int {
	n := 0
	for n < len(text) && text[n]-'0' <= 9 {
		n++
	}
	return n
}

// plainInteger accepts integers of at most most digits, except -0.
func plainInteger(text string, most int) bool {
	digits := strings.TrimPrefix(text, "-")
	n := digitsOf(digits)
	return n == len(digits) && n > 0 && n <= most && (digits[0] != '0' || len(text) == 1)
}

func plainDecimal(text string, whole, scale int) bool {
	digits := strings.TrimPrefix(text, "-")
	n := digitsOf(digits)
	if n == 0 || digits[0] == '0' && n > 1 || digits[0] != '0' && n > whole {
		return false
	}
	if len(digits) != len(text) && digits[0] == '0' { // it may be -0
		return false
	}
	if scale == 0 {
		return n == len(digits)
	}
	return len(digits) == n+1+scale && digits[n] == '.' && digitsOf(digits[n+1:]) == scale
}

// plainFloat accepts numbers without an exponent, and with so few digits that each is the shortest
// text of its float.
func plainFloat(text string, most int) bool {
	digits := strings.TrimPrefix(text, "-")
	n := digitsOf(digits)
	if n == 0 || n > 6 || digits[0] == '0' && n > 1 {
		return false
	}
	if n == len(digits) {
		return n <= most
	}
	part := digits[n+1:]
	if digits[n] != '.' || part == "" || digitsOf(part) != len(part) || part[len(part)-1] == '0' || n+len(part) > most {
		return false
	}
	return digits[0] != '0' || strings.TrimLeft(part[:min(4, len(part))], "0") != ""
}

// two returns the number that two digits make, or 1000 if they are not digits.
func two(text string) int {
	a, b := text[0]-'0', text[1]-'0'
	if a > 9 || b > 9 {
		return 1000
	}
	return int(a)*10 + int(b)
}

// plainDate accepts the dates of the years 1 to 9999.
func plainDate(text string) bool {
	if text[4] != '-' || text[7] != '-' {
		return false
	}
	century, rest, month, day := two(text), two(text[2:]), two(text[5:]), two(text[8:])
	year := century*100 + rest
	if century > 99 || rest > 99 || year == 0 || month < 1 || month > 12 || day < 1 {
		return false
	}
	return day <= daysIn(year, month)
}

func daysIn(year, month int) int {
	switch {
	case month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0):
		return 29
	case month == 2:
		return 28
	case month == 4 || month == 6 || month == 9 || month == 11:
		return 30
	}
	return 31
}

func plainTime(text string) bool {
	const seconds = len("2006-01-02T15:04:05")
	if len(text) < seconds || text[10] != 'T' || text[13] != ':' || text[16] != ':' || !plainDate(text[:10]) ||
		two(text[11:]) > 23 || two(text[14:]) > 59 || two(text[17:]) > 59 {
		return false
	}
	part := text[seconds:]
	return part == "" || len(part) > 1 && len(part) <= 7 && part[0] == '.' && digitsOf(part[1:]) == len(part)-1 &&
		part[len(part)-1] != '0'
}

func plainUUID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i := range len(text) {
		c := text[i]
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (c == '-') ||
			!dash && c-'0' > 9 && c-'a' > 5 {
			return false
		}
	}
	return true
}

// dayOf returns the day of a canonical date, counted from 1970-01-01.
func dayOf(text string) int64 {
	year, month, day := int64(two(text)*100+two(text[2:])), int64(two(text[5:])), int64(two(text[8:]))
	if month <= 2 { // years are counted from March, so that a leap day is the last day
		year, month = year-1, month+12
	}
	return 365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 719469
}

// microsOf returns the microseconds of a canonical time since 1970.
func microsOf(text string) int64 {
	seconds := ((dayOf(text)*24+int64(two(text[11:])))*60+int64(two(text[14:])))*60 + int64(two(text[17:]))
	micros := int64(0)
	for i := 20; i < 26; i++ {
		micros *= 10
		if i < len(text) && text[i]-'0' <= 9 {
			micros += int64(text[i] - '0')
		}
	}
	return seconds*1e6 + micros
}
