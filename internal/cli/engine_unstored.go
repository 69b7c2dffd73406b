package cli

import (
	"os"

	"gopkg.in/yaml.v3"
)

// unstored finds lookups by IP address in a replay stream whose privacy processor removes addresses: stored events
// have none, so a job would find no key in any event.
func unstored(path string) []finding {
	raw, err := os.ReadFile(path)
	var config yaml.Node
	if err != nil || yaml.Unmarshal(raw, &config) != nil {
		return nil // reported by the linter
	}
	var replays, private bool
	var found []finding
	var walk func(node *yaml.Node)
	walk = func(node *yaml.Node) {
		for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
			switch name, value := node.Content[i], node.Content[i+1]; name.Value {
			case "replay_jobs":
				replays = true
			case "privacy":
				private = private || takesAddresses(value)
			case "geo":
				if value.Kind == yaml.ScalarNode && value.Value != "" {
					found = append(found, finding{path, name.Line, name.Column, "this look-up cannot be asked later: its key, an " +
						"address, is not stored, since privacy takes addresses out; leave it out here"})
				}
			}
		}
		for _, below := range node.Content {
			walk(below)
		}
	}
	walk(&config)
	if !replays || !private {
		return nil
	}
	return found
}

// takesAddresses tells whether a privacy config changes IP addresses.
func takesAddresses(privacy *yaml.Node) bool {
	action := fieldOf(privacy, "action")
	if actions := fieldOf(privacy, "actions"); actions != nil {
		if of := fieldOf(actions, "ip"); of != nil {
			action = of
		}
	}
	return action == nil || action.Value != "keep"
}
