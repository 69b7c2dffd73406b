package registry

import (
	"encoding/json"
	"math/big"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"weir/internal/event"
	"weir/internal/platform/firmware"
	"weir/internal/platform/schemadoc"
	"weir/internal/platform/text"
)

// eventIDs and timestamps return samples of each form that the contract allows: a format that
// accepts none of them accepts no valid value.
func eventIDs() []string {
	return []string{"6f1c2a34-9b7d-4e21-8a55-0c1d2e3f4a5b", "0197B2F4-0000-7000-8000-000000000003",
		"00000000-0000-0000-0000-000000000000"}
}

func timestamps() []string {
	return []string{"2026-11-27T09:30:00Z", "2026-11-27T09:30:00.123456Z", "2026-11-27T09:30:00+05:30",
		"2026-11-27T09:30:00.5-08:00", "1985-04-12t23:20:50z"}
}

// text checks a field of the event against the contract. For fields whose possible forms are all
// known, it tries samples against formats.
func (c *contract) text(root []*jsonschema.Schema, name, wanted string, samples []string) {
	schemas := members(root, name)
	for _, s := range schemas {
		if !c.kind(s, "string", name) {
			continue
		}
		c.values(s, schemas, name, func(v any) bool { t, ok := v.(string); return ok && fits(name, t) }, wanted)
		switch {
		case s.MaxLength >= 0 && s.MinLength > s.MaxLength:
			c.add(c.at(s, "minLength"), "is more than maxLength")
		case name == event.FieldID && (s.MinLength > 36 || s.MaxLength >= 0 && s.MaxLength < 36):
			c.add(c.at(s, lengthKeyword(s, 36)), "%s is %s, which has 36 characters", name, wanted)
		case name == event.FieldDevice && (s.MinLength > 128 || s.MaxLength == 0):
			c.add(c.at(s, lengthKeyword(s, 1)), "%s is %s", name, wanted)
		case name == event.FieldTimestamp && s.MaxLength >= 0 && s.MaxLength < 20:
			c.add(c.at(s, "maxLength"), "%s is %s, which has at least 20 characters", name, wanted)
		case len(samples) > 0 && s.Format != "" && !slices.ContainsFunc(samples, func(v string) bool {
			return formatTakes(s, v)
		}):
			c.add(c.at(s, "format"), "%s is %s, and never %s", name, wanted, s.Format)
		}
	}
}

func lengthKeyword(s *jsonschema.Schema, length int) string {
	if s.MaxLength >= 0 && s.MaxLength < length {
		return "maxLength"
	}
	return "minLength"
}

// fits tells whether a text is valid for a field by the contract.
func fits(name, v string) (ok bool) {
	switch name {
	case event.FieldID:
		_, ok = text.ParseUUID(v)
	case event.FieldDevice:
		ok = event.ValidDevice(v)
	case event.FieldTimestamp:
		_, ok = text.ParseInstant(v)
	case event.FieldFirmware:
		_, ok = firmware.Parse(v)
	}
	return ok
}

// formatTakes checks a value against a schema's format only.
func formatTakes(s *jsonschema.Schema, v string) bool {
	format := schemadoc.Format(s.Format)
	return format == nil || format(v)
}

// firmwareValues adds a problem if no value of an enum or const of firmware is in the schema's
// range.
func (c *contract) firmwareValues(root []*jsonschema.Schema) {
	schemas := members(root, event.FieldFirmware)
	for _, s := range schemas {
		c.values(s, schemas, event.FieldFirmware, func(v any) bool {
			t, ok := v.(string)
			return ok && c.schema.Describes(t)
		},
			"in the range "+c.schema.Firmware)
	}
}

// bounds adds a problem if no number is within the bounds.
func (c *contract) bounds(s *jsonschema.Schema, what string) {
	low, high, open := s.Minimum, s.Maximum, false
	if e := s.ExclusiveMinimum; e != nil && (low == nil || e.Cmp(low) >= 0) {
		low, open = e, true
	}
	if e := s.ExclusiveMaximum; e != nil && (high == nil || e.Cmp(high) <= 0) {
		high, open = e, true
	}
	if low == nil || high == nil {
		return
	}
	if n := low.Cmp(high); n > 0 || n == 0 && open {
		keyword := "minimum"
		if s.Minimum == nil {
			keyword = "exclusiveMinimum"
		}
		c.add(c.at(s, keyword), "no number is within the bounds of %s", what)
	}
}

func rational(v any) (*big.Rat, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return nil, false
	}
	return new(big.Rat).SetString(n.String())
}
