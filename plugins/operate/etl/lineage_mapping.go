package etl

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// contextual are the methods of Bloblang in whose arguments `this` is not the row, but the value
// that the method was called on, or an element of it.
var contextual = []string{"all", "any", "filter", "find_all_by", "find_by", "fold", "map", "map_each", "map_each_key",
	"sort", "sort_by", "unique"}

var mappingWords = []string{"root", "let", "meta", "map", "match", "if", "else", "null", "true", "false", "_"}

// readsOf returns the columns that a mapping may read. It may return too many, never too few: if
// the mapping uses the row as a whole, it returns all.
func readsOf(mapping string, columns []column) []string {
	m := mappingReader{tokens: mappingTokens(mapping), columns: columns, read: map[string]bool{}}
	m.walk()
	if m.count("nothing") > 0 || m.count("if") > m.count("else") || m.count("match") > m.count("_") {
		m.whole = true // without a value the result is the row itself
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
	inner   []bool   // for each open bracket: whether `this` is something else than the row
	bound   []string // names of parameters, such as x in x -> x.a
}

// walk goes through the tokens and keeps track, by brackets, of whether `this` is the row.
func (m *mappingReader) walk() {
	block := 0 // 1: the braces of a match or a map follow, in which `this` changes; 2: of a match without a value
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
		default: // a field's name without this, as in old mappings
			m.read[t.text] = true
		}
	}
}

// this notes what `this`, as the row, reads: the column that is named after it, or else the whole
// row.
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

// changes tells whether `this` changes within the parenthesis that opens at token i.
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

// mappingTokens splits a mapping, which must be valid, into tokens.
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
