// Package registry keeps the schemas of events by subject and version: in SQL, behind Confluent's
// REST API, and in memory for validation.
package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"weir/internal/event"
	"weir/internal/platform/firmware"
	"weir/internal/platform/schemadoc"
)

// keywordFirmware is weir's keyword for the firmware versions that a schema describes. Its value is
// a firmware.Range.
const keywordFirmware = "x-weir-firmware"

// Schema is one compiled version of a subject. It is immutable.
type Schema struct {
	Subject  string
	Version  int
	Firmware string // the range as written; "" matches no firmware

	Library  *schemadoc.Schema
	Document []byte // the document that was compiled, for keywords that the library does not know

	firmware firmware.Range
	metrics  map[string]bool // names under /metrics that the schema declares
	fields   map[string]bool // names at the top level that it declares
}

// Compile compiles a schema of draft 4 to 2020-12. Formats are asserted, and a $ref to outside of
// the document is never loaded.
func Compile(subject string, version int, raw []byte) (*Schema, error) {
	s := &Schema{Subject: subject, Version: version, Document: bytes.Clone(raw)}
	lib, err := schemadoc.Compile(raw)
	if err != nil {
		return nil, fmt.Errorf("compiling schema %q: %w", s.Name(), err)
	}
	s.Library = lib
	var own struct {
		Firmware *string `json:"x-weir-firmware"`
	}
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) { // true and false are schemas, too
		if err := json.Unmarshal(raw, &own); err != nil {
			return nil, fmt.Errorf("compiling schema %q: keyword %s: %w", s.Name(), keywordFirmware, err)
		}
	}
	if own.Firmware != nil {
		s.Firmware = *own.Firmware
		if s.firmware, err = firmware.ParseRange(s.Firmware); err != nil {
			return nil, fmt.Errorf("compiling schema %q: keyword %s: %w", s.Name(), keywordFirmware, err)
		}
	}
	s.fields, s.metrics = map[string]bool{}, map[string]bool{}
	declared(lib.Schema, s.fields, func(name string, sub *jsonschema.Schema) {
		if name == event.FieldMetrics {
			declared(sub, s.metrics, nil)
		}
	})
	return s, nil
}

// Name returns "SUBJECT/VERSION".
func (s *Schema) Name() string { return s.Subject + "/" + strconv.Itoa(s.Version) }

// Describes tells whether the schema describes a firmware version. A schema that names no firmware
// describes none.
func (s *Schema) Describes(version string) bool { return s.firmware.ContainsText(version) }

// DeclaresMetric tells whether the schema declares a metric.
func (s *Schema) DeclaresMetric(name string) bool { return s.metrics[name] }

// DeclaresField tells whether the schema declares a name at the top level.
func (s *Schema) DeclaresField(name string) bool { return s.fields[name] }

// declared collects the property names of a schema, also those in $ref and allOf, and calls each
// for every subschema.
func declared(s *jsonschema.Schema, into map[string]bool, each func(string, *jsonschema.Schema)) {
	seen := map[*jsonschema.Schema]bool{nil: true}
	var walk func(s *jsonschema.Schema)
	walk = func(s *jsonschema.Schema) {
		if seen[s] {
			return
		}
		seen[s] = true
		for name, sub := range s.Properties {
			into[name] = true
			if each != nil {
				each(name, sub)
			}
		}
		walk(s.Ref)
		for _, sub := range s.AllOf {
			walk(sub)
		}
	}
	walk(s)
}
