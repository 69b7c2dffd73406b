package schemadoc

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
)

// The character classes of ECMA-262 as ranges for use in brackets, and their complements.
const (
	setDigit    = `0-9`
	setNotDigit = `\x{0}-/:-\x{10ffff}`
	setWord     = `0-9A-Z_a-z`
	setNotWord  = `\x{0}-/:-@\[-\^` + "`" + `\{-\x{10ffff}`
	setSpace    = `\t-\r \x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}`
	setNotSpace = `\x{0}-\x{8}\x{e}-\x{1f}!-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}` +
		`\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{fefe}\x{ff00}-\x{10ffff}`
	setAll = `\x{0}-\x{10ffff}`
)

// member is a character or a set of characters.
type member struct {
	char rune
	set  string // for use in brackets; "": a character
}

// class parses a class up to its closing bracket and returns it with brackets.
func (t *translator) class() (string, error) {
	negated := t.take("^")
	var set strings.Builder
	for !t.take("]") {
		if t.end() {
			return "", fmt.Errorf("a [ is not closed")
		}
		from, err := t.classMember()
		if err != nil {
			return "", err
		}
		if !t.has("-") || t.has("-]") {
			set.WriteString(from.ranged())
			continue
		}
		t.take("-")
		if t.end() {
			return "", fmt.Errorf("a [ is not closed")
		}
		to, err := t.classMember()
		switch {
		case err != nil:
			return "", err
		case from.set != "" || to.set != "": // a set cannot bound a range: the hyphen is literal
			set.WriteString(from.ranged() + quoted('-') + to.ranged())
		case from.char > to.char:
			return "", fmt.Errorf("the range %c-%c is out of order", from.char, to.char)
		default:
			set.WriteString(quoted(from.char) + "-" + quoted(to.char))
		}
	}
	switch {
	case set.Len() == 0 && negated:
		return "[" + setAll + "]", nil
	case set.Len() == 0:
		return "[^" + setAll + "]", nil
	case negated:
		return "[^" + set.String() + "]", nil
	}
	return "[" + set.String() + "]", nil
}

func (m member) ranged() string {
	if m.set != "" {
		return m.set
	}
	return quoted(m.char)
}

func (t *translator) classMember() (member, error) {
	if t.has(`\`) {
		return t.escape(true)
	}
	return member{char: t.next()}, nil
}

// escape parses a backslash and what it escapes.
func (t *translator) escape(inClass bool) (member, error) {
	t.take(`\`)
	if t.end() {
		return member{}, fmt.Errorf(`it ends with \`)
	}
	c := t.next()
	if set, ok := map[rune]string{'d': setDigit, 'D': setNotDigit, 'w': setWord, 'W': setNotWord, 's': setSpace,
		'S': setNotSpace}[c]; ok {
		return member{set: set}, nil
	}
	if char, ok := map[rune]rune{'t': '\t', 'n': '\n', 'v': '\v', 'f': '\f', 'r': '\r'}[c]; ok {
		return member{char: char}, nil
	}
	switch {
	case c == 'b' && inClass:
		return member{char: '\b'}, nil
	case c == 'p' || c == 'P':
		return t.property(c == 'P')
	case c == 'c':
		if !t.end() {
			if l := t.next(); l >= 'a' && l <= 'z' || l >= 'A' && l <= 'Z' {
				return member{char: l % 32}, nil
			}
		}
		return member{}, fmt.Errorf(`\c needs a letter`)
	case c == '0' && (t.end() || t.in[t.at] < '0' || t.in[t.at] > '9'):
		return member{char: 0}, nil
	case c >= '1' && c <= '9' && !inClass, c == 'k':
		return member{}, fmt.Errorf(`a back reference (\%c) is not supported: it cannot be matched in linear time`, c)
	case c == 'x':
		char, err := t.hex(2)
		return member{char: char}, err
	case c == 'u':
		char, err := t.codePoint()
		return member{char: char}, err
	case c < 0x80 && (unicode.IsLetter(c) || unicode.IsDigit(c)):
		return member{}, fmt.Errorf(`\%c is no escape of ECMA-262`, c)
	}
	return member{char: c}, nil
}

func (t *translator) hex(n int) (rune, error) {
	if t.at+n <= len(t.in) {
		if v, err := strconv.ParseUint(t.in[t.at:t.at+n], 16, 32); err == nil {
			t.at += n
			return rune(v), nil
		}
	}
	return 0, fmt.Errorf("an escape needs %d hexadecimal digits", n)
}

// codePoint parses what follows \u: four digits, a surrogate pair, or braces.
func (t *translator) codePoint() (rune, error) {
	if t.take("{") {
		inside, _, closed := strings.Cut(t.in[t.at:], "}")
		v, err := strconv.ParseUint(inside, 16, 32)
		if !closed || err != nil || v > unicode.MaxRune {
			return 0, fmt.Errorf(`\u{%s} is no code point`, inside)
		}
		t.at += len(inside) + 1
		return whole(rune(v))
	}
	v, err := t.hex(4)
	if err == nil && utf16.IsSurrogate(v) && t.take(`\u`) {
		low, err := t.hex(4)
		if err != nil {
			return 0, err
		}
		if both := utf16.DecodeRune(v, low); both != unicode.ReplacementChar {
			return both, nil
		}
	}
	if err != nil {
		return 0, err
	}
	return whole(v)
}

func whole(r rune) (rune, error) {
	if utf16.IsSurrogate(r) {
		return 0, fmt.Errorf(`\u%04x is half a character, which no text holds`, r)
	}
	return r, nil
}

// property parses \p{…}: a general category by any of its names, a script, or a binary property that is a range.
func (t *translator) property(negated bool) (member, error) {
	inside, _, closed := strings.Cut(t.in[t.at:], "}")
	if !t.has("{") || !closed {
		return member{}, fmt.Errorf(`\p needs a name in braces`)
	}
	t.at += len(inside) + 1
	name := inside[1:]
	key, value, keyed := strings.Cut(name, "=")
	set := ""
	switch {
	case keyed && (key == "Script" || key == "sc"):
		if unicode.Scripts[value] != nil {
			set = value
		}
	case keyed && (key == "General_Category" || key == "gc"):
		set = category(value)
	case !keyed && name == "Any":
		if negated {
			return member{}, fmt.Errorf(`\P{Any} takes nothing`)
		}
		return member{set: setAll}, nil
	case !keyed && name == "ASCII":
		if negated {
			return member{set: `\x{80}-\x{10ffff}`}, nil
		}
		return member{set: `\x{0}-\x{7f}`}, nil
	case !keyed:
		set = category(name)
	}
	if set == "" {
		return member{}, fmt.Errorf(`\p{%s} is not supported: name a general category, or Script=…`, name)
	}
	if negated {
		return member{set: `\P{` + set + `}`}, nil
	}
	return member{set: `\p{` + set + `}`}, nil
}

// category returns the short name of a general category, or "".
func category(name string) string {
	for short, long := range map[string]string{
		"L": "Letter", "Lu": "Uppercase_Letter", "Ll": "Lowercase_Letter", "Lt": "Titlecase_Letter", "Lm": "Modifier_Letter",
		"Lo": "Other_Letter",
		"M":  "Mark Combining_Mark", "Mn": "Nonspacing_Mark", "Mc": "Spacing_Mark", "Me": "Enclosing_Mark",
		"N": "Number", "Nd": "Decimal_Number digit", "Nl": "Letter_Number", "No": "Other_Number",
		"P": "Punctuation punct", "Pc": "Connector_Punctuation", "Pd": "Dash_Punctuation", "Ps": "Open_Punctuation",
		"Pe": "Close_Punctuation",
		"Pi": "Initial_Punctuation", "Pf": "Final_Punctuation", "Po": "Other_Punctuation",
		"S": "Symbol", "Sm": "Math_Symbol", "Sc": "Currency_Symbol", "Sk": "Modifier_Symbol", "So": "Other_Symbol",
		"Z": "Separator", "Zs": "Space_Separator", "Zl": "Line_Separator", "Zp": "Paragraph_Separator",
		"Cc": "Control cntrl", "Cf": "Format", "Co": "Private_Use",
	} {
		if name == short {
			return short
		}
		for _, n := range strings.Fields(long) {
			if n == name {
				return short
			}
		}
	}
	return ""
}
