package cli

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"

	"weir/internal/platform/conf"
)

// Own is the set of weir's components, as "KIND NAME".
type Own map[string]bool

// OwnOf returns the components that register adds.
func OwnOf(register func(*service.Environment) error) (Own, error) {
	env, own := service.NewEmptyEnvironment(), Own{}
	if err := register(env); err != nil {
		return nil, fmt.Errorf("listing weir's components: %w", err)
	}
	add := func(kind string) func(string, *service.ConfigView) {
		return func(name string, _ *service.ConfigView) { own[kind+" "+name] = true }
	}
	env.WalkInputs(add("input"))
	env.WalkOutputs(add("output"))
	env.WalkProcessors(add("processor"))
	return own, nil
}

var (
	engineWords = regexp.MustCompile(`^failed to init \w+ .* path \S+: `)
	namedField  = regexp.MustCompile(`\bfield ([\w.]+):`)
)

// constructors reports what a component's constructor says about its config, at the line of the field that it names.
func (d *distribution) constructors(path, kind, name string, node *yaml.Node) (found []finding) {
	var config any
	if node.Decode(&config) != nil {
		return nil // reported by the linter
	}
	err := conf.Check(d.env, kind, name, config)
	if err == nil {
		return nil
	}
	for _, text := range strings.Split(engineWords.ReplaceAllString(err.Error(), ""), "\n") {
		place := node
		if named := namedField.FindStringSubmatch(text); named != nil {
			if field := at(node, named[1]); field != nil {
				place = field
			}
		}
		found = append(found, finding{path, place.Line, place.Column, name + ": " + text})
	}
	return found
}

// within tells whether any finding lies between the first and last line of a node.
func within(node *yaml.Node, found []finding) bool {
	last := node.Line
	var walk func(*yaml.Node)
	walk = func(n *yaml.Node) {
		last = max(last, n.Line+strings.Count(n.Value, "\n"))
		for _, child := range n.Content {
			walk(child)
		}
	}
	walk(node)
	for _, f := range found {
		if f.line >= node.Line && f.line <= last {
			return true
		}
	}
	return false
}
