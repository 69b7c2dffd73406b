package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"

	"weir/internal/platform/envyaml"
	"weir/internal/platform/kafka"
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

// onLog is the first line of a component that takes the log's brokers from the
// environment, 0 where there is none: a template by which streams write the log, or
// log_input without brokers of its own.
func onLog(n *yaml.Node) int {
	for i := 1; i < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		fields := n.Content[i]
		if fields.Kind != yaml.MappingNode {
			continue
		}
		switch name := n.Content[i-1]; {
		case name.Value == "log_input" && child(fields, "seed_brokers") == nil, name.Value == "log_output",
			name.Value == "dead_letters" && child(fields, "stage") != nil:
			return name.Line
		}
	}
	for _, below := range n.Content {
		if line := onLog(below); line > 0 {
			return line
		}
	}
	return 0
}

// checker reads configs with the values that variables have, and says what is
// wrong with them before anything is started.
type checker struct {
	linter  *service.StreamConfigLinter
	values  envyaml.Lookup
	fields  func(path, resolved string, known []finding) []finding
	missing bool // whether a variable without a value is wrong
	homes   bool // whether mappings are looked for in the home of each config: see inHome
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
	return k.text(path, raw)
}

// text reads a config that takes the place of the one at a path.
func (k *checker) text(path string, raw []byte) (*envyaml.Config, []finding) {
	config, err := envyaml.Parse(raw)
	if err != nil {
		return nil, []finding{{path: path, line: 1, text: err.Error()}}
	}
	values := k.values
	if k.homes {
		values = inHome(path, values)
	}
	found, resolved := k.variables(path, config, values)
	if _, set := values(kafka.EnvBrokers); !set && k.missing {
		var doc yaml.Node
		err := yaml.Unmarshal([]byte(config.Text(func(int) string { return "x" })), &doc)
		if line := onLog(&doc); err == nil && line > 0 {
			found = append(found, finding{path: path, line: line, text: kafka.EnvBrokers + unset})
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
	}), found)...)
	slices.SortStableFunc(found, func(a, b finding) int { return a.line - b.line })
	return config, found
}

// variables is the YAML of each scalar that names variables, by its reference.
func (k *checker) variables(path string, config *envyaml.Config, values envyaml.Lookup) (found []finding,
	resolved map[string]string) {
	resolved = map[string]string{}
	for n, s := range config.Scalars() {
		if s.Under == "tests" {
			resolved[fmt.Sprintf("weir.%d", n)] = `""`
			continue
		}
		if names := s.Missing(values); k.missing && len(names) > 0 {
			found = append(found, finding{path: path, line: s.Line, text: strings.Join(names, ", ") + unset})
		}
		text, err := s.YAML(values)
		if err != nil {
			found = append(found, finding{path: path, line: s.Line, text: err.Error()})
			text = `""`
		}
		resolved[fmt.Sprintf("weir.%d", n)] = text
	}
	return found, resolved
}

// inHome answers for mappings with the folder of the home in which a config lies,
// HOME/configs/streams, where that is there: a relative path is of the directory
// that the config runs in, and not of the one in which it is linted.
func inHome(path string, values envyaml.Lookup) envyaml.Lookup {
	return func(name string) (string, bool) {
		value, set := values(name)
		if name == variableMappings && !filepath.IsAbs(value) {
			if home, err := filepath.Abs(filepath.Join(homeOf(path), value)); err == nil && isDir(home) {
				return home, set
			}
		}
		return value, set
	}
}

// homeOf is the folder that has configs, schemas and bloblang.
func homeOf(config string) string { return filepath.Join(filepath.Dir(config), "..", "..") }
