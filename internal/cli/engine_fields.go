package cli

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"
)

// fieldSpec is the engine's description of a component's field.
type fieldSpec struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Kind    string `json:"kind"`
	Default any    `json:"default"`

	Description string `json:"description"`
	Secret      bool   `json:"is_secret"`

	Children []fieldSpec `json:"children"`
}

// times tells whether a field takes a duration. The engine has no such type, but the field's default is one.
func (f fieldSpec) times() bool {
	text, is := f.Default.(string)
	_, err := time.ParseDuration(text)
	return is && (err == nil && text != "0" || f.Name == "period" && text == "") // a batching period has none
}

// fields reports values whose type does not match their field, and what constructors of weir's components report
// beyond that. The engine's linter leaves both to the start of the stream. known is what the linter has reported.
func (d *distribution) fields(path, resolved string, known []finding) (found []finding) {
	var doc yaml.Node
	if yaml.Unmarshal([]byte(resolved), &doc) != nil || len(doc.Content) == 0 {
		return nil // reported by the linter
	}
	for _, name := range []string{"shutdown_delay", "shutdown_timeout"} { // of the process, not of a component
		found = append(found, fieldSpec{Type: "string", Kind: "scalar", Default: "0s"}.check(component{path: path,
			name: "the process"}, name, child(doc.Content[0], name))...)
	}
	specs := map[string]fieldSpec{}
	err := d.schema().NewStreamConfigWalker().WalkComponentsYAML([]byte(resolved), func(w *service.WalkedComponent) error {
		node := at(doc.Content[0], w.Path+"."+w.Name)
		spec, ok := d.spec(w.ComponentType, w.Name, specs)
		if node == nil || !ok {
			return nil
		}
		of, before := component{path, w.Name, d.own[w.ComponentType+" "+w.Name]}, len(found)
		for _, f := range spec.Children {
			if w.Name == "generate" && f.Name == "interval" {
				found = append(found, interval(of, child(node, f.Name))...)
				continue
			}
			found = append(found, f.check(of, f.Name, child(node, f.Name))...)
		}
		if of.own && len(found) == before && !within(node, known) {
			found = append(found, d.constructors(path, w.ComponentType, w.Name, node)...)
		}
		return nil
	})
	if err != nil {
		return nil // reported by the linter
	}
	return found
}

// interval checks the generate input's interval: a duration or a cron expression. The engine would treat "@every -5s"
// as every second.
func interval(of component, node *yaml.Node) []finding {
	if node == nil || node.Kind != yaml.ScalarNode || node.Value == "" {
		return nil
	}
	every, cron := strings.CutPrefix(node.Value, "@every ")
	if !cron && strings.ContainsAny(node.Value, " @") {
		return nil // the engine checks it
	}
	if d, err := time.ParseDuration(every); err == nil && (d > 0 || d == 0 && !cron) {
		return nil
	}
	return []finding{{of.path, node.Line, node.Column, fmt.Sprintf("field interval of %s: expected a time such as 90s, "+
		"5m or 2h, got %s", of.name, strconv.Quote(every))}}
}

// spec returns a component's config fields, cached in known.
func (d *distribution) spec(kind, name string, known map[string]fieldSpec) (spec fieldSpec, ok bool) {
	if spec, ok = known[kind+" "+name]; ok {
		return spec, true
	}
	get, ok := map[string]func(string) (*service.ConfigView, bool){
		"input": d.env.GetInputConfig, "output": d.env.GetOutputConfig, "processor": d.env.GetProcessorConfig,
		"buffer": d.env.GetBufferConfig,
		"cache":  d.env.GetCacheConfig, "rate_limit": d.env.GetRateLimitConfig, "metrics": d.env.GetMetricsConfig,
		"tracer": d.env.GetTracerConfig,
	}[kind]
	if !ok {
		return spec, false
	}
	view, ok := get(name)
	if !ok {
		return spec, false
	}
	raw, err := view.FormatJSON()
	var component struct{ Config fieldSpec }
	if err != nil || json.Unmarshal(raw, &component) != nil {
		return spec, false
	}
	known[kind+" "+name] = component.Config
	return component.Config, true
}

// component is a component whose fields are checked.
type component struct {
	path, name string
	own        bool // weir's own: its constructor checks more
}

// check checks the value of a field and the fields below it.
func (f fieldSpec) check(of component, name string, node *yaml.Node) (found []finding) {
	if node == nil {
		return nil
	}
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	one := f
	one.Kind = "scalar"
	switch {
	case f.Kind == "array" && node.Kind == yaml.SequenceNode:
		for i, element := range node.Content {
			found = append(found, one.check(of, name+"."+strconv.Itoa(i), element)...)
		}
	case f.Kind == "map" && node.Kind == yaml.MappingNode:
		for i := 1; i < len(node.Content); i += 2 {
			found = append(found, one.check(of, name+"."+node.Content[i-1].Value, node.Content[i])...)
		}
	case f.Type == "object" && node.Kind == yaml.MappingNode:
		for _, below := range f.Children {
			found = append(found, below.check(of, name+"."+below.Name, child(node, below.Name))...)
		}
	case node.Kind == yaml.ScalarNode && !strings.Contains(node.Value, "${!"):
		if expected := f.expected(of, node); expected != "" {
			found = append(found, finding{of.path, node.Line, node.Column, fmt.Sprintf("field %s of %s: expected %s, got %s",
				name, of.name, expected, shown(node))})
		}
	}
	return found
}

// shown formats a value for a message. It is used only where a number, boolean or duration is expected, so that no
// secret is shown.
func shown(node *yaml.Node) string {
	if len(node.Value) > 40 {
		return "a longer text"
	}
	return strconv.Quote(node.Value)
}

// expected returns what a field accepts if the value does not fit, else "".
func (f fieldSpec) expected(of component, node *yaml.Node) string {
	switch f.Type {
	case "int":
		n, err := strconv.ParseInt(strings.ReplaceAll(node.Value, "_", ""), 0, 64)
		if err != nil {
			return "a whole number"
		}
		if least, is := f.least(of); is && !of.own && n < least {
			return fmt.Sprintf("at least %d", least)
		}
	case "float":
		if _, err := strconv.ParseFloat(node.Value, 64); err != nil {
			return "a number"
		}
	case "bool":
		if _, err := strconv.ParseBool(strings.ToLower(node.Value)); err != nil {
			return "true or false"
		}
	case "string":
		d, err := time.ParseDuration(node.Value)
		if f.times() && (err != nil || d < 0 && !of.own) && node.Value != f.Default {
			return "a time such as 90s, 5m or 2h"
		}
	}
	return ""
}

// least returns the minimum of a template's field, below which streams would stall. The template's own mapping checks
// the same at start.
func (f fieldSpec) least(of component) (least int64, is bool) {
	switch of.name + "." + f.Name {
	case "log_input.read_ahead", "log_input.batch", "log_output.max_in_flight":
		return 1, true
	}
	return 0, false
}

// child returns the value of a key in a mapping, or nil.
func child(node *yaml.Node, key string) *yaml.Node {
	for i := 1; i < len(node.Content) && node.Kind == yaml.MappingNode; i += 2 {
		if node.Content[i-1].Value == key {
			return node.Content[i]
		}
	}
	return nil
}

// at follows a dotted path.
func at(node *yaml.Node, path string) *yaml.Node {
	for _, key := range strings.Split(path, ".") {
		if node == nil {
			return nil
		}
		if node.Kind == yaml.AliasNode {
			node = node.Alias
		}
		if i, err := strconv.Atoi(key); err == nil && node.Kind == yaml.SequenceNode && i < len(node.Content) {
			node = node.Content[i]
			continue
		}
		node = child(node, key)
	}
	return node
}
