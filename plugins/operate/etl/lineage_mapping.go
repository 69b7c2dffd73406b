package etl

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// contextual are the methods of Bloblang in whose arguments `this` is no longer
// the row, but what the method was called on, or an element of it.
var contextual = []string{"all", "any", "filter", "find_all_by", "find_by", "fold", "map", "map_each", "map_each_key",
	"sort", "sort_by", "unique"}

var mappingWords = []string{"root", "let", "meta", "map", "match", "if", "else", "null", "true", "false", "_"}

// readsOf are the columns whose values a mapping may read: never too few. A mapping
// that takes the row as a whole reads all of them.
func readsOf(mapping string, columns []column) []string {
	m := mappingReader{tokens: mappingTokens(mapping), columns: columns, read: map[string]bool{}}
	m.walk()
	if m.count("nothing") > 0 || m.count("if") > m.count("else") || m.count("match") > m.count("_") {
		m.whole = true // one that says nothing leaves the row as it is
	}
	var all []string
	for _, c := range columns {
		if m.whole || m.read[c.name] {
			all = append(all, c.name)
		}
	}
	return all
}

type mappingReader struct {
	tokens  []mappingToken
	columns []column
	read    map[string]bool
	whole   bool
	inner   []bool   // of each open bracket: `this` is not the row
	bound   []string // the names of what is handed on, as x in x -> x.a
}

// walk goes through the tokens, and knows of each bracket whether `this` is still
// the row in it.
func (m *mappingReader) walk() {
	block := 0 // 1: of a match or a map, in whose braces `this` is another; 2: of a match without one
	for i, t := range m.tokens {
		inner := len(m.inner) > 0 && m.inner[len(m.inner)-1]
		switch {
		case t.is("(") || t.is("[") || t.is("{"):
			if t.is("(") {
				inner = inner || m.changes(i)
			} else if t.is("{") {
				inner, block = inner || block == 1, 0
			}
			m.inner = append(m.inner, inner)
		case t.is(")") || t.is("]") || t.is("}"):
			m.inner = m.inner[:max(0, len(m.inner)-1)]
		case !t.name || m.at(i-1).is(".") || m.at(i-1).is("$") || m.at(i-1).is("@"):
		case t.is("match"):
			if block = 1; m.at(i + 1).is("{") {
				block = 2
			}
		case t.is("map") && m.at(i+1).name:
			block = 1
		case t.is("this"):
			if !inner {
				m.this(i)
			}
		case m.at(i + 1).is("->"):
			m.bound = append(m.bound, t.text)
		case slices.Contains(mappingWords, t.text) || slices.Contains(m.bound, t.text):
		case m.at(i-1).is("let") || m.at(i-1).is("map") || m.at(i-1).is("meta") || m.at(i+1).is("(") || inner:
		default: // the name of a field alone, as old mappings have it
			m.read[t.text] = true
		}
	}
}

// this is of the row: a column behind it, or else all of the row.
func (m *mappingReader) this(i int) {
	field := m.at(i + 2)
	if !m.at(i+1).is(".") || !(field.name || field.quoted) || field.name && m.at(i+3).is("(") {
		m.whole = true
		return
	}
	m.read[field.text] = true
}

func (m *mappingReader) count(word string) (n int) {
	for _, t := range m.tokens {
		if t.name && t.text == word {
			n++
		}
	}
	return n
}

// changes tells of an opening parenthesis whether `this` is another in it.
func (m *mappingReader) changes(i int) bool {
	if m.at(i - 1).is(".") { // a.(b + c)
		return true
	}
	return m.at(i-2).is(".") && slices.Contains(contextual, m.at(i-1).text) && !m.at(i+2).is("->")
}

func (m *mappingReader) at(i int) mappingToken {
	if i < 0 || i >= len(m.tokens) {
		return mappingToken{}
	}
	return m.tokens[i]
}

type mappingToken struct {
	text         string
	name, quoted bool
}

func (t mappingToken) is(text string) bool { return !t.quoted && t.text == text }

// mappingTokens takes a mapping that is right apart.
func mappingTokens(mapping string) (all []mappingToken) {
	for rest := mapping; rest != ""; {
		c, size := utf8.DecodeRuneInString(rest)
		switch {
		case strings.HasPrefix(rest, `"""`):
			text, after, _ := strings.Cut(rest[3:], `"""`)
			all, rest = append(all, mappingToken{text: text, quoted: true}), after
		case c == '"':
			end := 1
			for end < len(rest) && rest[end] != '"' {
				if rest[end] == '\\' {
					end++
				}
				end++
			}
			text := rest[1:min(end, len(rest))]
			if whole, err := strconv.Unquote(`"` + text + `"`); err == nil {
				text = whole
			}
			all, rest = append(all, mappingToken{text: text, quoted: true}), rest[min(end+1, len(rest)):]
		case c == '#':
			_, rest, _ = strings.Cut(rest, "\n")
		case unicode.IsSpace(c):
			rest = rest[size:]
		case strings.HasPrefix(rest, "->") || strings.HasPrefix(rest, "=>"):
			all, rest = append(all, mappingToken{text: rest[:2]}), rest[2:]
		case ofName(c):
			end := strings.IndexFunc(rest, func(r rune) bool { return !ofName(r) })
			if end < 0 {
				end = len(rest)
			}
			all, rest = append(all, mappingToken{text: rest[:end], name: true}), rest[end:]
		default:
			all, rest = append(all, mappingToken{text: rest[:size]}), rest[size:]
		}
	}
	return all
}

func ofName(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r)
}
