package cli

import (
	"slices"
	"strconv"
	"strings"

	"weir/internal/control/status"
)

// topologyOf determines from configs what each stream reads and writes.
func topologyOf(files []string, read func(string) ([]byte, error)) (all []status.Stream) {
	for i, name := range namesOf(files) {
		var config struct {
			Input, Output map[string]any
		}
		resolved(files[i], read, &config)
		kind, fields := portKind(config.Input)
		if kind == "" {
			continue // not a stream
		}
		s := status.Stream{Name: name, Input: portOf("root.input", config.Input, kind, fields)}
		if !slices.Contains([]string{"log_input", "redpanda", "kafka_franz"}, kind) {
			s.Input.Topics = nil // a component whose topics are not log topics
		}
		s.Outputs = outputsOf("root.output", config.Output, nil)
		all = append(all, s)
	}
	return all
}

// portKind returns the component name of an input or output, and its fields.
func portKind(of map[string]any) (kind string, fields any) {
	for name, value := range of {
		if !slices.Contains([]string{"label", "processors"}, name) {
			return name, value
		}
	}
	return "", nil
}

// outputsOf collects the outputs that write, with the engine's paths.
func outputsOf(path string, of map[string]any, found []status.Port) []status.Port {
	kind, fields := portKind(of)
	below := func(name string, value any) {
		if one, is := value.(map[string]any); is {
			found = outputsOf(path+name, one, found)
		}
	}
	list := func(name, field string, value any) {
		many, _ := value.([]any)
		for i, one := range many {
			at := "." + name + "." + strconv.Itoa(i)
			if inner, is := one.(map[string]any); is && field != "" {
				below(at+"."+field, inner[field])
			} else {
				below(at, one)
			}
		}
	}
	inner, _ := fields.(map[string]any)
	switch kind {
	case "", "drop", "reject": // write nothing
	case "fallback":
		list("fallback", "", fields)
	case "broker":
		list("broker.outputs", "", inner["outputs"])
	case "switch":
		list("switch.cases", "output", inner["cases"])
	case "reject_errored":
		below(".reject_errored", fields)
	case "retry", "drop_on":
		below("."+kind+".output", inner["output"])
	default:
		found = append(found, portOf(path, of, kind, fields))
	}
	return found
}

func portOf(path string, of map[string]any, kind string, fields any) status.Port {
	p := status.Port{Path: path, Kind: kind}
	p.Label, _ = of["label"].(string)
	inner, _ := fields.(map[string]any)
	for _, name := range []string{"group", "consumer_group"} {
		if group, is := inner[name].(string); is {
			p.Group = group
		}
	}
	if topic, is := inner["topic"].(string); is {
		p.Topics = append(p.Topics, topic)
	}
	topics, _ := inner["topics"].([]any)
	for _, one := range topics {
		if topic, is := one.(string); is {
			p.Topics = append(p.Topics, topic)
		}
	}
	if failed, is := inner["dead_letter"].(map[string]any); is { // event_log
		if topic, is := failed["topic"].(string); is {
			p.Topics = append(p.Topics, topic)
		}
	}
	for i, topic := range p.Topics {
		if strings.Contains(topic, "${!") {
			p.Topics[i] = "as each message says"
		}
	}
	if kind == "dead_letters" {
		p.Topics = []string{"dead-letter"}
	}
	return p
}
