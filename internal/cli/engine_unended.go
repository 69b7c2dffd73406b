package cli

import (
	"os"
	"strings"

	"gopkg.in/yaml.v3"
)

// unended finds streams of replays that say that they take look-ups which failed
// (`enriches`), and have no case that ends them: a job would ask, and get nothing back.
func unended(path string) []finding {
	raw, err := os.ReadFile(path)
	var config yaml.Node
	if err != nil || yaml.Unmarshal(raw, &config) != nil {
		return nil // the linter has said so
	}
	e := &endings{}
	e.walk(&config)
	if e.enriches == nil || e.ends || e.elsewhere {
		return nil
	}
	return []finding{{path, e.enriches.Line, e.enriches.Column, "a job of the mode enrich would fail here: the pipeline " +
		"has no case for local_enrich; add one with your look-ups that ends in replay_enriched, as the shipped stream of " +
		"replays has it, or take enriches out (docs/enrich.md)"}}
}

// endings is what a config has of the way of look-ups.
type endings struct {
	enriches  *yaml.Node // where it says that it has one
	ends      bool
	elsewhere bool // a resource may end them, which is in another file
}

func (e *endings) walk(node *yaml.Node) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		switch name.Value {
		case "replay_jobs":
			if of := fieldOf(value, "enriches"); of != nil && of.Value != "false" {
				e.enriches = of
			}
			continue
		case "replay_enriched":
			e.ends = true
		case "resource":
			e.elsewhere = e.elsewhere || value.Kind == yaml.ScalarNode
		case "switch":
			e.cases(value)
			continue
		}
		e.walk(value)
	}
	for _, item := range node.Content {
		if node.Kind != yaml.MappingNode {
			e.walk(item)
		}
	}
}

// cases walks those that a look-up can come to.
func (e *endings) cases(node *yaml.Node) {
	if node.Kind != yaml.SequenceNode { // of an output, which is too late for it
		return
	}
	for _, item := range node.Content {
		check := fieldOf(item, "check")
		if check == nil || check.Value == "" || strings.Contains(check.Value, "local_enrich") ||
			strings.Contains(check.Value, "local_topic") {
			e.walk(item)
		}
	}
}
