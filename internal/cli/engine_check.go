package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/envyaml"
)

// finding is what is wrong with a config, and where.
type finding struct {
	path         string
	line, column int
	text         string
}

func (f finding) String() string {
	return fmt.Sprintf("%s(%d,%d) %s", f.path, f.line, max(1, f.column), f.text)
}

// unset is what is wrong with a variable that has no value.
const unset = " is not set and has no default"

// onLog finds the templates by which streams read and write the log. They take
// its brokers from the environment.
var onLog = regexp.MustCompile(`\n *(- )?(log_input:|log_output:|dead_letters:( *\{|\s+stage:))`)

// checker reads configs with the values that variables have, and says what is
// wrong with them before anything is started.
type checker struct {
	linter  *service.StreamConfigLinter
	values  envyaml.Lookup
	fields  func(path, resolved string) []finding
	missing bool // whether a variable without a value is wrong
}

func (d *distribution) checker(values envyaml.Lookup) *checker {
	return &checker{linter: d.schema().NewStreamConfigLinter(), values: values, fields: d.fields, missing: true}
}

// file reads a config. It returns no config when the file cannot be used at all.
func (k *checker) file(path string) (*envyaml.Config, []finding) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, []finding{{path: path, line: 1, text: err.Error()}}
	}
	config, err := envyaml.Parse(raw)
	if err != nil {
		return nil, []finding{{path: path, line: 1, text: err.Error()}}
	}
	found, resolved := k.variables(path, config)
	if _, set := k.values("WEIR_BROKERS"); !set && k.missing {
		if at := onLog.FindIndex(raw); at != nil {
			found = append(found, finding{path: path, line: 1 + bytes.Count(raw[:at[0]+1], []byte("\n")),
				text: "WEIR_BROKERS" + unset})
		}
	}
	k.linter.SetEnvVarLookupFunc(func(_ context.Context, name string) (string, bool) {
		text, ok := resolved[name]
		return text, ok
	})
	lints, err := k.linter.LintYAML([]byte(config.Text(func(n int) string { return fmt.Sprintf("${weir.%d}", n) })))
	if err != nil {
		found = append(found, finding{path: path, line: 1, text: err.Error()})
	}
	for _, l := range lints {
		found = append(found, finding{path, l.Line, l.Column, l.What})
	}
	found = append(found, k.fields(path, config.Text(func(n int) string {
		return resolved[fmt.Sprintf("weir.%d", n)]
	}))...)
	slices.SortStableFunc(found, func(a, b finding) int { return a.line - b.line })
	return config, found
}

// variables is the YAML of each scalar that names variables, by its reference.
func (k *checker) variables(path string, config *envyaml.Config) (found []finding, resolved map[string]string) {
	resolved = map[string]string{}
	for n, s := range config.Scalars() {
		if s.Under == "tests" {
			resolved[fmt.Sprintf("weir.%d", n)] = `""`
			continue
		}
		if names := s.Missing(k.values); k.missing && len(names) > 0 {
			found = append(found, finding{path: path, line: s.Line, text: strings.Join(names, ", ") + unset})
		}
		text, err := s.YAML(k.values)
		if err != nil {
			found = append(found, finding{path: path, line: s.Line, text: err.Error()})
			text = `""`
		}
		resolved[fmt.Sprintf("weir.%d", n)] = text
	}
	return found, resolved
}
