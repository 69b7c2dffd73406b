package envyaml

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Scalar is a value of the config that names variables.
type Scalar struct {
	Line  int
	Under string // its top-level key in the file
	plain bool
	parts []part
}

// part is literal text or a reference.
type part struct {
	text    string
	ref     *ref
	literal bool // inside a string literal of the value, as in a Bloblang mapping
}

// Variable is a variable that a scalar names.
type Variable struct {
	Name, Default string
	Defaulted     bool
}

// scalar splits a value into its parts.
func (c *Config) scalar(n *yaml.Node) Scalar {
	s := Scalar{Line: n.Line, plain: n.Style&^yaml.TaggedStyle == 0 && n.Tag != "!!binary"}
	rest, inside := n.Value, quotes{}
	for {
		before, after, found := strings.Cut(rest, c.marker)
		if before != "" {
			inside.read(before)
			s.parts = append(s.parts, part{text: escape.ReplaceAllString(before, "$$$1")})
		}
		if !found {
			return s
		}
		number, rest2, _ := strings.Cut(after, "END")
		i, _ := strconv.Atoi(number) // the number in our own marker
		r := c.refs[i]
		r.fallback = unquoted(r.fallback, n.Style)
		s.parts = append(s.parts, part{ref: &r, literal: inside.open})
		rest = rest2
	}
}

// unquoted interprets a default as the scalar's quoting style does.
func unquoted(text string, style yaml.Style) string {
	var out string
	switch {
	case style&yaml.DoubleQuotedStyle != 0:
		if yaml.Unmarshal([]byte(`"`+text+`"`), &out) == nil {
			return out
		}
	case style&yaml.SingleQuotedStyle != 0:
		return strings.ReplaceAll(text, "''", "'")
	}
	return text
}

// quotes tracks whether text is inside a double-quoted literal, which ends with its line at the latest. Raw literals
// (three quotes) take values without escaping.
type quotes struct{ open bool }

func (q *quotes) read(text string) {
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\n':
			q.open = false
		case q.open && text[i] == '\\':
			i++
		case !q.open && strings.HasPrefix(text[i:], `"""`):
			i += 2
		case text[i] == '"':
			q.open = !q.open
		}
	}
}

// Variables returns the variables that the scalar names.
func (s Scalar) Variables() []Variable {
	var all []Variable
	for _, p := range s.parts {
		if p.ref != nil {
			all = append(all, Variable{p.ref.name, p.ref.fallback, p.ref.defaulted})
		}
	}
	return all
}

// Missing returns the names of variables that are unset and have no default.
func (s Scalar) Missing(lookup Lookup) []string {
	var names []string
	for _, v := range s.Variables() {
		if _, set := lookup(v.Name); !set && !v.Defaulted {
			names = append(names, v.Name)
		}
	}
	return names
}

// Text tells whether the scalar is a string whatever its variables contain, because its author quoted it. YAML then
// returns a double-quoted string.
func (s Scalar) Text() bool { return !s.plain }

// YAML returns the scalar on one line with its variables substituted: a number or boolean if the author left the
// value unquoted and it is one, else a quoted string. A default that is the whole scalar is used as the author's
// YAML.
func (s Scalar) YAML(lookup Lookup) (string, error) {
	var text strings.Builder
	for _, p := range s.parts {
		if p.ref == nil {
			text.WriteString(p.text)
			continue
		}
		value, set, err := p.ref.value(lookup)
		switch {
		case err != nil:
			return "", err
		case !set && s.plain && len(s.parts) == 1:
			return strings.ReplaceAll(value, "\n", " "), nil
		case p.literal && set:
			value = escaped(value)
		}
		text.WriteString(value)
	}
	if s.plain && typed(text.String()) {
		return text.String(), nil
	}
	return quoted(text.String()), nil
}

// value returns the value of a reference, and whether it came from the variable and not from the default.
func (r ref) value(lookup Lookup) (value string, set bool, err error) {
	value, set = lookup(r.name)
	if value == "" && r.defaulted {
		value, set = r.fallback, false
	}
	switch r.function {
	case "":
	case "base64decode":
		raw, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return "", set, fmt.Errorf("decoding %s: it is not base64", r.name) // the value may be secret
		}
		value = string(raw)
	default:
		return "", set, fmt.Errorf("reading %s: there is no function %s; only base64decode", r.source, r.function)
	}
	if !utf8.ValidString(value) {
		return "", set, fmt.Errorf("reading %s: its value is not UTF-8", r.name)
	}
	return value, set || !r.defaulted, nil
}

// typed tells whether an unquoted text is a number or boolean that loses nothing when read as one: 0123 is a text.
func typed(text string) bool {
	var doc yaml.Node
	if yaml.Unmarshal([]byte(text), &doc) != nil || len(doc.Content) != 1 {
		return false
	}
	n := doc.Content[0]
	if n.Kind != yaml.ScalarNode || n.Style != 0 || n.Value != text {
		return false
	}
	digits := strings.TrimLeft(text, "+-")
	if len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9' {
		return false
	}
	return n.Tag == "!!int" || n.Tag == "!!float" || n.Tag == "!!bool"
}

// quoted returns a text as a double-quoted scalar in which the engine finds no references.
func quoted(text string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			out.WriteByte('\\')
			out.WriteRune(r)
		case r == '\n':
			out.WriteString(`\x0A`)
		case r == '$':
			out.WriteString(`\x24`)
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0xfff0 && r <= 0xffff || r == 0xfeff:
			fmt.Fprintf(&out, `\u%04X`, r)
		default:
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
	return out.String()
}

// escaped returns a text for the inside of a string literal in JSON or Bloblang.
func escaped(text string) string {
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // encoding a string into memory cannot fail
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(out.String(), "\n"), `"`), `"`)
}
