package envyaml

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// find collects the scalars that contain markers, and where each begins and ends in the text.
func (c *Config) find(doc *yaml.Node) error {
	lines := []int{0}
	for i, r := range c.text {
		if r == '\n' {
			lines = append(lines, i+1)
		}
	}
	var nodes []*yaml.Node
	under := map[*yaml.Node]string{}
	var walk func(n *yaml.Node, key string, depth int)
	walk = func(n *yaml.Node, key string, depth int) {
		if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, c.marker) {
			nodes = append(nodes, n)
			under[n] = key
		}
		for i, child := range n.Content {
			if depth == 1 && i%2 == 1 && n.Kind == yaml.MappingNode {
				key = n.Content[i-1].Value
			}
			walk(child, key, depth+1)
		}
	}
	walk(doc, "", 0)
	slices.SortStableFunc(nodes, func(a, b *yaml.Node) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	for _, n := range nodes {
		if n.Line > len(lines) {
			return fmt.Errorf("placing variables, line %d: beyond the end", n.Line)
		}
		from := lines[n.Line-1]
		for range n.Column - 1 {
			_, size := utf8.DecodeRuneInString(c.text[from:])
			from += size
		}
		from = skipProperties(c.text, from)
		to, ok := end(c.text, from, n)
		if !ok {
			return fmt.Errorf("placing variables, line %d: put ${…} into double quotes there", n.Line)
		}
		c.spans = append(c.spans, span{from, to, strings.Count(c.text[from:to], "\n")})
		s := c.scalar(n)
		s.Under = under[n]
		c.scalars = append(c.scalars, s)
	}
	return nil
}

// skipProperties skips anchors and tags before a scalar.
func skipProperties(text string, at int) int {
	for at < len(text) && (text[at] == '&' || text[at] == '!') {
		for at < len(text) && !strings.ContainsRune(" \t\r\n", rune(text[at])) {
			at++
		}
		for at < len(text) && strings.ContainsRune(" \t\r\n", rune(text[at])) {
			at++
		}
	}
	return at
}

// end returns where the scalar that begins at from ends, or false.
func end(text string, from int, n *yaml.Node) (int, bool) {
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		for i := from + 1; i < len(text); i++ {
			switch text[i] {
			case '\\':
				i++
			case '"':
				return i + 1, true
			}
		}
	case n.Style&yaml.SingleQuotedStyle != 0:
		for i := from + 1; i < len(text); i++ {
			if text[i] != '\'' {
				continue
			}
			if i+1 < len(text) && text[i+1] == '\'' {
				i++
				continue
			}
			return i + 1, true
		}
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return blockEnd(text, from), true
	default:
		return plainEnd(text, from, n.Value)
	}
	return 0, false
}

// blockEnd returns the end of the last line indented like the block's first line, excluding its line feed.
func blockEnd(text string, from int) int {
	at, indent := from, -1
	last := from + lineLength(text[from:])
	for at = last + 1; at <= len(text); {
		line := text[at : at+lineLength(text[at:])]
		blank := strings.TrimSpace(line) == ""
		in := len(line) - len(strings.TrimLeft(line, " "))
		if indent < 0 && !blank {
			indent = in
		}
		if !blank {
			if in < indent || indent == 0 {
				break
			}
			last = at + len(line)
		}
		at += len(line) + 1
	}
	return min(last, len(text))
}

func lineLength(text string) int {
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		return i
	}
	return len(text)
}

// plainEnd finds the end of a plain scalar by matching its value against the text, where line breaks may stand for
// spaces.
func plainEnd(text string, from int, value string) (int, bool) {
	i := from
	for j := 0; j < len(value); j++ {
		if value[j] == ' ' || value[j] == '\n' {
			for i < len(text) && strings.IndexByte(" \t\r\n", text[i]) >= 0 {
				i++
			}
			for j+1 < len(value) && (value[j+1] == ' ' || value[j+1] == '\n') {
				j++
			}
			continue
		}
		if i >= len(text) || text[i] != value[j] {
			return 0, false
		}
		i++
	}
	return i, true
}
