// Package schemadoc reads JSON Schema documents: it compiles them by the draft
// that they name, with their patterns as ECMA-262 means them, and decodes what
// they are applied to. Nothing that a $ref names outside of a document is ever
// loaded.
package schemadoc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// ErrRemoteRef refuses a $ref to another document.
var ErrRemoteRef = errors.New("a $ref to another document is not followed: put the definition under $defs")

// Schema is a compiled schema.
type Schema struct {
	*jsonschema.Schema
	written map[string]string // patterns as they are written in the document, by what the library was given
}

// Written returns a pattern that the library quotes in a message as it is
// written in the document.
func (s *Schema) Written(quoted string) string {
	for given, text := range s.written {
		if quote(given) == quoted {
			return "'" + text + "'"
		}
	}
	return quoted
}

// Pointer returns where in the document a location of the library is, as an
// RFC 6901 pointer.
func (s *Schema) Pointer(location string) string {
	_, fragment, _ := strings.Cut(location, "#")
	tokens := strings.Split(fragment, "/")
	for i, t := range tokens {
		if u, err := url.PathUnescape(t); err == nil {
			tokens[i] = u
		}
		if i > 0 && tokens[i-1] == "patternProperties" {
			if text, ok := s.written[strings.ReplaceAll(strings.ReplaceAll(tokens[i], "~1", "/"), "~0", "~")]; ok {
				tokens[i] = escape(text)
			}
		}
	}
	return strings.Join(tokens, "/")
}

// Compile compiles a schema by the draft that it names. One that names none is
// of 2020-12, or of draft 7 if it is none of 2020-12, or else of draft 4: tools
// that write no $schema mostly mean draft 7, and mostly write what all read
// alike. Formats are asserted. A pattern that Check would refuse is still read
// as one of package regexp, if it is one: it may have been registered before.
func Compile(raw []byte) (*Schema, error) {
	s, err := CompileDraft(raw, jsonschema.Draft2020, true)
	if err != nil && !bytes.Contains(raw, []byte(`"$schema"`)) {
		for _, older := range []*jsonschema.Draft{jsonschema.Draft7, jsonschema.Draft4} {
			if s, err := CompileDraft(raw, older, true); err == nil {
				return s, nil
			}
		}
	}
	return s, err
}

// CompileDraft compiles a schema; draft is for one that names none. Drafts
// before 2019-09 assert formats in any case.
func CompileDraft(raw []byte, draft *jsonschema.Draft, assertFormat bool) (*Schema, error) {
	rewritten, patterns, err := rewrite(raw)
	if err != nil {
		return nil, err
	}
	s, err := compile(rewritten, draft, assertFormat)
	if err != nil {
		return nil, errors.Join(patterns.err, err)
	}
	return &Schema{s, patterns.written}, nil
}

// Check refuses what Compile reads in another way than it is written: patterns
// that have no equivalent in linear time.
func Check(raw []byte) error {
	_, patterns, err := rewrite(raw)
	return errors.Join(err, patterns.err)
}

// rewrite returns the document as the library is to read it.
func rewrite(raw []byte) ([]byte, rewriting, error) {
	w := rewriting{written: map[string]string{}}
	doc, err := Decode(raw)
	if err != nil {
		return raw, w, fmt.Errorf("parsing JSON: %w", err)
	}
	if err := dialect(doc); err != nil {
		return raw, w, err
	}
	w.schema(doc, "", false)
	if len(w.written) == 0 {
		return raw, w, nil
	}
	return []byte(Canonical(doc)), w, nil
}

// dialect refuses a $schema that is no draft: what its keywords mean is not known.
func dialect(doc any) error {
	m, ok := doc.(map[string]any)
	if !ok {
		return nil
	}
	named, ok := m["$schema"]
	if !ok {
		return nil
	}
	text, ok := named.(string)
	for _, draft := range []string{"/schema", "/draft/2020-12/schema", "/draft/2019-09/schema", "/draft-07/schema",
		"/draft-06/schema", "/draft-04/schema"} {
		at := strings.TrimSuffix(strings.TrimSuffix(text, "/"), "#")
		if ok && (at == "https://json-schema.org"+draft || at == "http://json-schema.org"+draft) {
			return nil
		}
	}
	return fmt.Errorf(`#/$schema names the dialect %s, which is not known here: use https://json-schema.org/draft/2020-12/schema, or 2019-09, draft-07, draft-06 or draft-04`,
		Canonical(named))
}

func compile(raw []byte, draft *jsonschema.Draft, assertFormat bool) (s *jsonschema.Schema, err error) {
	defer func() { // the library panics on some malformed schemas
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed schema: %v", r)
		}
	}()
	c := jsonschema.NewCompiler()
	c.Draft, c.AssertFormat = draft, assertFormat
	c.Formats["regex"] = isPattern
	c.LoadURL = func(url string) (io.ReadCloser, error) {
		return nil, fmt.Errorf("%w (%s)", ErrRemoteRef, url)
	}
	if err := c.AddResource(URL, bytes.NewReader(raw)); err != nil {
		return nil, err
	}
	return c.Compile(URL)
}

// Format returns what tells whether a value is of a format, nil for a format
// that is not known and so takes anything.
func Format(name string) func(any) bool {
	if name == "regex" {
		return isPattern
	}
	return jsonschema.Formats[name]
}

func isPattern(v any) bool {
	text, ok := v.(string)
	if !ok {
		return true
	}
	_, err := Pattern(text)
	return err == nil
}
