// Package schema decides whether an event is what its firmware may send. It
// holds the processor schema_validate, the registry of schemas with its REST
// API, and the rules of compatibility between versions.
package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"weir/internal/event"
)

// keywordFirmware is the keyword of ours that says which firmware versions a
// schema describes. Its value is a firmwareRange.
const keywordFirmware = "x-weir-firmware"

// Schema is one compiled version of a subject. It is immutable.
type Schema struct {
	Subject  string
	Version  int
	Firmware string // the range as written; "" matches no firmware

	name     any // "telemetry/2", boxed once for message metadata
	firmware firmwareRange
	lib      *jsonschema.Schema
	plan     *node           // nil: the library judges every event
	metrics  map[string]bool // the names under /metrics that the schema declares
	fields   map[string]bool // the names that it declares at the top
}

// Compile reads a schema of draft 4 to 2020-12. Formats are asserted, and
// nothing that a $ref names outside of the document is ever loaded.
func Compile(subject string, version int, raw []byte) (*Schema, error) {
	s := &Schema{Subject: subject, Version: version}
	s.name = subject + "/" + strconv.Itoa(version)
	lib, err := compileLibrary(raw, true)
	if err != nil {
		return nil, fmt.Errorf("compiling schema %q: %w", s.name, err)
	}
	s.lib = lib
	var own struct {
		Firmware *string `json:"x-weir-firmware"`
	}
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) { // true and false are schemas too
		if err := json.Unmarshal(raw, &own); err != nil {
			return nil, fmt.Errorf("compiling schema %q: keyword %s: %w", s.name, keywordFirmware, err)
		}
	}
	if own.Firmware != nil {
		s.Firmware = *own.Firmware
		if s.firmware, err = parseFirmwareRange(s.Firmware); err != nil {
			return nil, fmt.Errorf("compiling schema %q: keyword %s: %w", s.name, keywordFirmware, err)
		}
	}
	s.fields, s.metrics = map[string]bool{}, map[string]bool{}
	declared(lib, s.fields, func(name string, sub *jsonschema.Schema) {
		if name == event.FieldMetrics {
			declared(sub, s.metrics, nil)
		}
	})
	s.plan = planEvent(lib)
	return s, nil
}

// Name is "subject/version".
func (s *Schema) Name() string { return s.name.(string) }

// documentURL is the base of a schema that has no $id of its own.
const documentURL = "weir:///schema.json"

// errRemoteRef refuses a $ref to another document.
var errRemoteRef = errors.New("a $ref to another document is not followed: put the definition under $defs")

// compileLibrary compiles a schema by the draft that it names. One that names
// none is of 2020-12, or of draft 7 if it is none of 2020-12, or else of draft
// 4: tools that write no $schema mostly mean draft 7, and mostly write what all
// read alike.
func compileLibrary(raw []byte, assertFormat bool) (*jsonschema.Schema, error) {
	s, err := compileDraft(raw, jsonschema.Draft2020, assertFormat)
	if err != nil && !bytes.Contains(raw, []byte(`"$schema"`)) {
		for _, older := range []*jsonschema.Draft{jsonschema.Draft7, jsonschema.Draft4} {
			if s, err := compileDraft(raw, older, assertFormat); err == nil {
				return s, nil
			}
		}
	}
	return s, err
}

// compileDraft compiles a schema; draft is for one that names none.
func compileDraft(raw []byte, draft *jsonschema.Draft, assertFormat bool) (s *jsonschema.Schema, err error) {
	defer func() { // the library panics on some malformed schemas
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed schema: %v", r)
		}
	}()
	c := jsonschema.NewCompiler()
	c.Draft, c.AssertFormat = draft, assertFormat
	c.LoadURL = func(url string) (io.ReadCloser, error) {
		return nil, fmt.Errorf("%w (%s)", errRemoteRef, url)
	}
	if err := c.AddResource(documentURL, bytes.NewReader(raw)); err != nil {
		return nil, err
	}
	return c.Compile(documentURL)
}

// declared collects the property names of a schema, also through $ref and
// allOf, and calls each with its subschema.
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
