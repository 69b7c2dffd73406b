package secret

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Load writes a secret into the Vault that VAULT_ADDR names and replaces all its fields; in version 2 of the
// key-value store (a path that contains data) as a new version. Errors name the path, never a value.
func Load(ctx context.Context, path string, fields map[string]string) error {
	return process().load(ctx, path, fields)
}

func (v *vault) load(ctx context.Context, path string, fields map[string]string) error {
	if _, err := parseRef(inVault + path + "#any"); err != nil {
		return errors.New("reading where the secret goes: expected the path of the Vault's API, such as " +
			"secret/data/weir/local")
	}
	var body any = fields
	if _, below, _ := strings.Cut(path, "/"); strings.HasPrefix(below, "data/") {
		body = map[string]any{"data": fields}
	}
	token, err := v.token(ctx)
	if err == nil {
		_, err = v.ask(ctx, http.MethodPost, path, token, body)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// ParseEnv parses lines of NAME=VALUE as in a .env file, optionally with "export"; lines that start with '#' are
// comments. A value in single quotes is literal; in double quotes \n, \", \$ and \\ are escapes. ${NAME} is not
// substituted. Errors name the line and never its value.
func ParseEnv(text string) (map[string]string, error) {
	fields := map[string]string{}
	for i, line := range strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		wrong := func(says string) error { return fmt.Errorf("line %d: %s", i+1, says) }
		name, value, is := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if name = strings.TrimSpace(name); !is || !envName(name) {
			return nil, wrong("expected NAME=VALUE, a name of letters, digits and '_'")
		}
		if _, twice := fields[name]; twice {
			return nil, wrong(name + " stands twice")
		}
		value, err := unquote(strings.TrimSpace(value))
		if err != nil {
			return nil, wrong(name + ": " + err.Error())
		}
		fields[name] = value
	}
	return fields, nil
}

func envName(name string) bool {
	return name != "" && (name[0] < '0' || name[0] > '9') && !strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// unquote decodes a value. An unquoted value is literal, including any quotes inside.
func unquote(value string) (string, error) {
	if value == "" || value[0] != '\'' && value[0] != '"' {
		return value, nil
	}
	quote, rest := value[0], value[1:]
	if end := len(rest) - 1; end < 0 || rest[end] != quote {
		return "", errors.New("a quote opens, and none ends the line: quote the value with the other one")
	} else if rest = rest[:end]; quote == '\'' {
		return rest, nil
	}
	var out strings.Builder
	for i := 0; i < len(rest); i++ {
		c := rest[i]
		if c == '\\' {
			if i++; i == len(rest) { // it escapes the closing quote
				return "", errors.New("a quote opens, and none ends the line: quote the value with the other one")
			}
			switch c = rest[i]; c {
			case 'n':
				c = '\n'
			case '\\', '"', '$':
			default:
				out.WriteByte('\\')
			}
		}
		out.WriteByte(c)
	}
	return out.String(), nil
}
