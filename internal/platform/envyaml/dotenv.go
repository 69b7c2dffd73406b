package envyaml

import (
	"fmt"
	"strconv"
	"strings"
)

// Assignment is one line of an env file.
type Assignment struct {
	Name, Value string
	Line        int
}

// ParseEnv parses lines NAME=VALUE. An unquoted value ends at the end of the line or at '#' after a blank; a value in
// single quotes is literal; in double quotes, escapes such as \n and \" mean what they mean in Go.
func ParseEnv(raw []byte) ([]Assignment, error) {
	var all []Assignment
	n := 0
	for line := range strings.Lines(string(raw)) {
		n++
		line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, found := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		name = strings.TrimSpace(name)
		if !found || name == "" || strings.ContainsAny(name, " \t\"'#") {
			return nil, fmt.Errorf("line %d: expected NAME=VALUE", n)
		}
		value, err := envValue(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("line %d: reading the value of %s: %w", n, name, err)
		}
		all = append(all, Assignment{name, value, n})
	}
	return all, nil
}

func envValue(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	rest := ""
	switch text[0] {
	case '\'':
		end := strings.IndexByte(text[1:], '\'')
		if end < 0 {
			return "", fmt.Errorf("its quote is not closed")
		}
		text, rest = text[1:end+1], text[end+2:]
	case '"':
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			return "", fmt.Errorf("its quote is not closed, or an escape in it is unknown")
		}
		rest = text[len(quoted):]
		if text, err = strconv.Unquote(quoted); err != nil {
			return "", fmt.Errorf("an escape in it is unknown")
		}
	default:
		if i := strings.Index(text, " #"); i >= 0 {
			text = text[:i]
		}
		if text[0] == '#' {
			return "", nil
		}
		return strings.TrimSpace(text), nil
	}
	if rest = strings.TrimSpace(rest); rest != "" && rest[0] != '#' {
		return "", fmt.Errorf("text follows its closing quote")
	}
	return text, nil
}
