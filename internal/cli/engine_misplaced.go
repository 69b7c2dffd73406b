package cli

import (
	"os"

	"gopkg.in/yaml.v3"
)

// misplaced finds privacy processors after a schema_validate. By then device ids, logs and dead letters would already
// contain what privacy removes, so events in which it finds something fail.
func misplaced(path string) []finding {
	raw, err := os.ReadFile(path)
	var config struct {
		Input     yaml.Node   `yaml:"input"`
		Pipeline  yaml.Node   `yaml:"pipeline"`
		Output    yaml.Node   `yaml:"output"`
		Resources []yaml.Node `yaml:"processor_resources"`
	}
	if err != nil || yaml.Unmarshal(raw, &config) != nil {
		return nil // reported by the linter
	}
	o := order{path: path, resources: map[string]*yaml.Node{}}
	for i := range config.Resources {
		if label := fieldOf(&config.Resources[i], "label"); label != nil {
			o.resources[label.Value] = &config.Resources[i]
		}
	}
	judged := false
	for _, part := range []*yaml.Node{&config.Input, &config.Pipeline, &config.Output} {
		judged = o.walk(part, judged, 0)
	}
	return o.found
}

// order walks processors in the order in which events pass them.
type order struct {
	path      string
	resources map[string]*yaml.Node
	found     []finding
}

// deepestResource is the maximum depth of resources that refer to other resources.
const deepestResource = 8

// walk tells whether an event may have passed schema_validate after the node.
func (o *order) walk(node *yaml.Node, judged bool, depth int) bool {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind == yaml.SequenceNode {
		for _, item := range node.Content {
			judged = o.walk(item, judged, depth)
		}
	}
	for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		switch {
		case name.Value == "schema_validate":
			judged = true
		case name.Value == "privacy" && judged:
			o.found = append(o.found, finding{o.path, name.Line, name.Column,
				"privacy stands behind schema_validate, and events in which it finds something would be refused: put it before"})
		case name.Value == "resource" && o.resources[value.Value] != nil && depth < deepestResource:
			judged = o.walk(o.resources[value.Value], judged, depth+1)
		case name.Value == "switch" && value.Kind == yaml.SequenceNode: // an event passes only one case
			after := judged
			for _, item := range value.Content {
				after = o.walk(item, judged, depth) || after
			}
			judged = after
		default:
			judged = o.walk(value, judged, depth)
		}
	}
	return judged
}
