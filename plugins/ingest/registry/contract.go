package registry

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"weir/internal/event"
)

// Problem is why a schema of events is useless: no event of its kind could satisfy both the schema
// and what every event must be.
type Problem struct {
	Pointer string `json:"pointer"` // into the schema
	Message string `json:"message"`
}

// String returns the pointer and the message.
func (p Problem) String() string { return "#" + p.Pointer + ": " + p.Message }

// problems lists what makes every event fail, or every event that has a certain metric. It lists
// only what is certain: a schema without problems may still accept nothing. A schema that names no
// firmware judges no events, and has no problems.
func (s *Schema) problems() []Problem {
	if s.Firmware == "" {
		return nil
	}
	c := contract{schema: s}
	if !s.firmware.Possible() {
		c.add("/"+keywordFirmware, "no version is in %s", s.Firmware)
	}
	root := together([]*jsonschema.Schema{s.Library.Schema})
	c.object(root, []string{event.FieldID, event.FieldDevice, event.FieldFirmware, event.FieldTimestamp,
		event.FieldMetrics}, "the event")
	c.text(root, event.FieldID, "a UUID", eventIDs())
	c.text(root, event.FieldDevice, "1 to 128 of letters, digits, '.', '_', ':' and '-'", nil)
	c.text(root, event.FieldTimestamp, "an RFC 3339 time with a zone", timestamps())
	c.text(root, event.FieldFirmware, "a version", nil)
	c.firmwareValues(root)
	c.objectAt(root, event.FieldDiagnostics)
	c.objectAt(root, event.FieldMetrics)
	c.metrics(members(root, event.FieldMetrics))
	return c.found
}

// inWords returns problems as one line.
func inWords(problems []Problem) string {
	lines := make([]string, len(problems))
	for i, p := range problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "; ")
}

// unnamed returns the problem of a version that no firmware would ever choose.
func (s *Schema) unnamed(earlier []string) []Problem {
	if s.Firmware != "" || !slices.ContainsFunc(earlier, func(text string) bool {
		return strings.Contains(text, `"`+keywordFirmware+`"`)
	}) {
		return nil
	}
	return []Problem{{"", keywordFirmware + " is missing: versions before it are chosen by their firmware, and none " +
		"would ever choose this one"}}
}

type contract struct {
	schema *Schema
	found  []Problem
}

func (c *contract) add(pointer, format string, args ...any) {
	p := Problem{pointer, fmt.Sprintf(format, args...)}
	if !slices.Contains(c.found, p) {
		c.found = append(c.found, p)
	}
}

// at returns the pointer to a keyword of a schema.
func (c *contract) at(s *jsonschema.Schema, keyword string) string {
	pointer := c.schema.Library.Pointer(s.Location)
	if keyword != "" {
		pointer += "/" + keyword
	}
	return pointer
}

// together lists schemas and all that apply to the same value: those in $ref and allOf.
func together(schemas []*jsonschema.Schema) (all []*jsonschema.Schema) {
	seen := map[*jsonschema.Schema]bool{nil: true}
	var walk func(*jsonschema.Schema)
	walk = func(s *jsonschema.Schema) {
		if seen[s] {
			return
		}
		seen[s] = true
		all = append(all, s)
		walk(s.Ref)
		for _, sub := range s.AllOf {
			walk(sub)
		}
	}
	for _, s := range schemas {
		walk(s)
	}
	return all
}

// members lists the schemas that apply to the value of a name.
func members(objects []*jsonschema.Schema, name string) []*jsonschema.Schema {
	var all []*jsonschema.Schema
	for _, s := range objects {
		known := false
		if sub, ok := s.Properties[name]; ok {
			all, known = append(all, sub), true
		}
		for pattern, sub := range s.PatternProperties {
			if pattern.MatchString(name) {
				all, known = append(all, sub), true
			}
		}
		if sub, ok := s.AdditionalProperties.(*jsonschema.Schema); ok && !known {
			all = append(all, sub)
		}
	}
	return together(all)
}

// allows tells whether an object may have a name.
func allows(s *jsonschema.Schema, name string) bool {
	if more, ok := s.AdditionalProperties.(bool); !ok || more || s.Properties[name] != nil {
		return true
	}
	for pattern := range s.PatternProperties {
		if pattern.MatchString(name) {
			return true
		}
	}
	return false
}

// object checks that an object may have the names that it must have.
func (c *contract) object(schemas []*jsonschema.Schema, names []string, what string) {
	required := slices.Clone(names)
	for _, s := range schemas {
		if len(names) > 0 && s.Always != nil && !*s.Always {
			c.add(c.at(s, ""), "false takes nothing, and so not %s", what)
		}
		c.kind(s, "object", what)
		for _, name := range s.Required {
			if !slices.Contains(required, name) {
				required = append(required, name)
			}
		}
	}
	for _, s := range schemas {
		if s.MaxProperties >= 0 && s.MaxProperties < len(required) {
			c.add(c.at(s, "maxProperties"), "%s has at least the %d names %s", what, len(required), strings.Join(required, ", "))
		}
		if s.MaxProperties >= 0 && s.MinProperties > s.MaxProperties {
			c.add(c.at(s, "minProperties"), "is more than maxProperties")
		}
		for _, name := range required {
			if !allows(s, name) {
				c.add(c.at(s, "additionalProperties"), "%s must have %s, which is declared nowhere here", what, name)
			}
		}
	}
	for _, name := range required {
		for _, s := range members(schemas, name) {
			if s.Always != nil && !*s.Always {
				c.add(c.at(s, ""), "%s must have %s, and false takes no value of it", what, name)
			}
		}
	}
}

// kind adds a problem if the schema accepts no value of a type.
func (c *contract) kind(s *jsonschema.Schema, want, what string) bool {
	if len(s.Types) == 0 || slices.Contains(s.Types, want) || want == "number" && slices.Contains(s.Types, "integer") {
		return true
	}
	c.add(c.at(s, "type"), "%s is %s, and not of type %s: each event that has it would be refused", what, article(want),
		strings.Join(s.Types, " or "))
	return false
}

func article(kind string) string {
	if kind == "object" {
		return "an object"
	}
	return "a " + kind
}

func (c *contract) objectAt(root []*jsonschema.Schema, name string) {
	schemas := members(root, name)
	if name == event.FieldMetrics {
		c.object(schemas, nil, name)
		return
	}
	for _, s := range schemas {
		c.kind(s, "object", name)
	}
}

// metrics checks that every declared metric can be a number. It adds a problem even if the metric
// may also be something else, unless a number alone is possible, because an event with that would
// be refused.
func (c *contract) metrics(schemas []*jsonschema.Schema) {
	names := map[string]bool{}
	for _, s := range schemas {
		for name := range s.Properties {
			names[name] = true
		}
		more, _ := s.AdditionalProperties.(*jsonschema.Schema)
		if more != nil {
			c.number(together([]*jsonschema.Schema{more}), "a metric")
		}
		for _, sub := range s.PatternProperties {
			c.number(together([]*jsonschema.Schema{sub}), "a metric")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		required := slices.ContainsFunc(schemas, func(s *jsonschema.Schema) bool { return slices.Contains(s.Required, name) })
		all := members(schemas, name)
		if !required && slices.ContainsFunc(all, func(s *jsonschema.Schema) bool { return s.Always != nil && !*s.Always }) {
			continue // a name that is not to be used
		}
		c.number(all, "metric "+name)
	}
}

func (c *contract) number(schemas []*jsonschema.Schema, what string) {
	for _, s := range schemas {
		if !c.kind(s, "number", what) {
			continue
		}
		for _, t := range s.Types {
			if t != "number" && t != "integer" {
				c.add(c.at(s, "type"), "%s is a number, and never %s: an event with that would be refused", what, t)
			}
		}
		c.bounds(s, what)
		c.values(s, schemas, what, func(v any) bool { _, ok := rational(v); return ok }, "a number")
		for _, branches := range [][]*jsonschema.Schema{s.AnyOf, s.OneOf} {
			c.branches(branches, what)
		}
	}
}

// branches adds a problem if no alternative is a number.
func (c *contract) branches(branches []*jsonschema.Schema, what string) {
	if len(branches) == 0 {
		return
	}
	for _, b := range branches {
		trial := contract{schema: c.schema}
		if trial.number(together([]*jsonschema.Schema{b}), what); len(trial.found) == 0 {
			return
		}
	}
	c.add(c.at(branches[0], ""), "%s is a number, and none of these alternatives is one alone", what)
}

// values adds a problem if no value of an enum or a const fits and is accepted by all schemas of
// its place.
func (c *contract) values(s *jsonschema.Schema, all []*jsonschema.Schema, what string, fits func(any) bool,
	wanted string) {
	for keyword, list := range map[string][]any{"enum": s.Enum, "const": s.Constant} {
		if len(list) == 0 || slices.ContainsFunc(list, func(v any) bool {
			return fits(v) && !slices.ContainsFunc(all, func(other *jsonschema.Schema) bool { return other.Validate(v) != nil })
		}) {
			continue
		}
		c.add(c.at(s, keyword), "%s is %s, and no value here is one that the schema takes", what, wanted)
	}
}
