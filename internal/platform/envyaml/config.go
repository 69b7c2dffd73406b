// Package envyaml substitutes variables in YAML after parsing it, so that a value is never interpreted as YAML: a
// scalar that names variables (${NAME}, ${NAME:default}, ${NAME|base64decode}) stays a scalar whatever they contain.
// Line numbers are preserved.
package envyaml

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// reference matches the engine's syntax of a variable, and escape the syntax for text that looks like one.
var (
	reference = regexp.MustCompile(`\$\{([0-9A-Za-z_.]+)(?::((?:\$\{[^}]+\}|[^}])*?))?(?:\|([0-9A-Za-z]+))?\}`)
	escape    = regexp.MustCompile(`\$\{(\{[0-9A-Za-z_.]+(?::(?:\$\{[^}]+\}|[^}])*)?\})\}`)
)

// Config is a parsed YAML file whose variable references are located.
type Config struct {
	text    string // the file with a marker in place of each reference
	marker  string
	refs    []ref // indexed by the number in the marker
	scalars []Scalar
	spans   []span // where each of scalars lies in text
}

// ref is a reference: the variable's name, its default and its function.
type ref struct {
	name, fallback, function, source string
	defaulted                        bool
}

type span struct{ from, to, lines int }

// Lookup returns the value of a variable and whether it is set.
type Lookup func(name string) (string, bool)

// Parse parses a config. It fails when the text is not YAML or a reference cannot be located.
func Parse(raw []byte) (*Config, error) {
	c := &Config{marker: "WEIRVAR"}
	for strings.Contains(string(raw), c.marker) {
		c.marker += "X"
	}
	c.text = reference.ReplaceAllStringFunc(string(raw), func(source string) string {
		m := reference.FindStringSubmatch(source)
		rest := strings.TrimSuffix(strings.TrimPrefix(source, "${"+m[1]), "}")
		c.refs = append(c.refs, ref{name: m[1], fallback: m[2], function: m[3], source: source,
			defaulted: strings.HasPrefix(rest, ":")})
		return c.mark(len(c.refs) - 1)
	})
	if len(c.refs) == 0 {
		c.text = string(raw)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(c.text), &doc); err != nil {
		return nil, fmt.Errorf("reading YAML: %w", c.original(err))
	}
	if err := c.find(&doc); err != nil {
		return nil, err
	}
	return c, c.verify(&doc)
}

func (c *Config) mark(n int) string { return c.marker + strconv.Itoa(n) + "END" }

// original restores the references in an error's text.
func (c *Config) original(err error) error {
	text := err.Error()
	for n, r := range c.refs {
		text = strings.ReplaceAll(text, c.mark(n), r.source)
	}
	return fmt.Errorf("%s", strings.TrimPrefix(text, "yaml: "))
}

// Scalars returns the scalars that name variables, in order of the text.
func (c *Config) Scalars() []Scalar { return c.scalars }

// Text returns the config with each scalar n replaced by name(n). References in comments become plain names.
func (c *Config) Text(name func(n int) string) string {
	var out strings.Builder
	at := 0
	for n, s := range c.spans {
		out.WriteString(c.outside(c.text[at:s.from]))
		text := name(n)
		out.WriteString(text)
		out.WriteString(strings.Repeat("\n", max(0, s.lines-strings.Count(text, "\n"))))
		at = s.to
	}
	out.WriteString(c.outside(c.text[at:]))
	return out.String()
}

// Source returns a scalar as its author wrote it.
func (c *Config) Source(n int) string {
	text := c.text[c.spans[n].from:c.spans[n].to]
	for i, r := range c.refs {
		text = strings.ReplaceAll(text, c.mark(i), r.source)
	}
	return text
}

// outside restores text between scalars with variables; markers there are in comments.
func (c *Config) outside(text string) string {
	if !strings.Contains(text, c.marker) {
		return text
	}
	for n, r := range c.refs {
		text = strings.ReplaceAll(text, c.mark(n), r.name)
	}
	return text
}

// verify parses the text with all scalars replaced and checks that nothing but these scalars changed.
func (c *Config) verify(want *yaml.Node) error {
	var got yaml.Node
	text := c.Text(func(n int) string { return strconv.Quote("scalar " + strconv.Itoa(n)) })
	if err := yaml.Unmarshal([]byte(text), &got); err != nil {
		return fmt.Errorf("placing variables: %w; put those that stand in values of several lines into double quotes", err)
	}
	return c.same(want, &got)
}

func (c *Config) same(want, got *yaml.Node) error {
	differs := want.Kind != got.Kind || len(want.Content) != len(got.Content) || want.Tag != got.Tag &&
		!strings.Contains(want.Value, c.marker)
	if !strings.Contains(want.Value, c.marker) {
		differs = differs || want.Value != got.Value
	} else {
		n, err := strconv.Atoi(strings.TrimPrefix(got.Value, "scalar "))
		differs = differs || err != nil || n >= len(c.scalars) || c.scalars[n].Line != want.Line
	}
	if differs {
		return fmt.Errorf("placing variables, line %d: put ${…} into double quotes there", want.Line)
	}
	for i := range want.Content {
		if err := c.same(want.Content[i], got.Content[i]); err != nil {
			return err
		}
	}
	return nil
}
