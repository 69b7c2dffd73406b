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

// finding is an error in a config and its position.
type finding struct {
	path         string
	line, column int
	text         string
}

func (f finding) String() string {
	return fmt.Sprintf("%s(%d,%d) %s", f.path, f.line, max(1, f.column), f.text)
}

// unset is the text of a finding about a variable without a value.
const unset = " is not set and has no default"

// onLog returns the first line of a component that takes the brokers from the environment, or 0: a template that
// writes the log, or log_input without brokers of its own.
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

// checker checks configs with the values of their variables before anything is started.
type checker struct {
	linter  *service.StreamConfigLinter
	values  envyaml.Lookup
	fields  func(path, resolved string, known []finding) []finding
	missing bool // report variables without a value
	homes   bool // look for mappings in the home of each config: see inHome
}

func (d *distribution) checker(values envyaml.Lookup) *checker {
	return &checker{linter: d.schema().NewStreamConfigLinter(), values: values, fields: d.fields, missing: true}
}

// file checks a config file. The config is nil when it cannot be parsed.
func (k *checker) file(path string) (*envyaml.Config, []finding) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, []finding{{path: path, line: 1, text: err.Error()}}
	}
	return k.text(path, raw)
}

// text checks a config that replaces the one at path.
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

// variables resolves each scalar with variables to YAML, by reference name, and reports unset variables.
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

// inHome resolves a relative WEIR_BLOBLANG against the home of a config (HOME/configs/streams) if the folder exists
// there. The path is relative to where the config will run, not to where it is linted.
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

// homeOf returns the folder with configs, schemas and bloblang for a config in HOME/configs/streams.
func homeOf(config string) string { return filepath.Join(filepath.Dir(config), "..", "..") }
