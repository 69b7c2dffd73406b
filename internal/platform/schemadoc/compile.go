// Package schemadoc handles JSON Schema documents: it compiles them by the draft they declare, with patterns of
// ECMA-262, and decodes the values they are applied to. It never loads another document that a $ref names.
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

// ErrRemoteRef rejects a $ref to another document.
var ErrRemoteRef = errors.New("a $ref to another document is not followed: put the definition under $defs")

// Schema is a compiled schema.
type Schema struct {
	*jsonschema.Schema
	written map[string]string // original patterns, by the translation passed to the library
}

// Written returns the original of a pattern that the library quotes in a message.
func (s *Schema) Written(quoted string) string {
	for given, text := range s.written {
		if quote(given) == quoted {
			return "'" + text + "'"
		}
	}
	return quoted
}

// Pointer converts a location of the library to an RFC 6901 pointer into the original document.
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

// Compile compiles a schema by the draft it declares. A schema without $schema is compiled as 2020-12, else draft 7,
// else draft 4: tools that omit $schema mostly mean draft 7 and mostly write what all drafts read alike. Formats are
// asserted. A pattern that Check rejects is still accepted if package regexp can compile it, since it may have been
// registered before.
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

// CompileDraft compiles a schema; draft applies to one that declares none. Drafts before 2019-09 always assert
// formats.
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

// Check rejects patterns that Compile would interpret differently than written: those without an equivalent that runs
// in linear time.
func Check(raw []byte) error {
	_, patterns, err := rewrite(raw)
	return errors.Join(err, patterns.err)
}

// rewrite translates the document into the form that the library reads.
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

// dialect rejects an unknown $schema, since the meaning of its keywords is unknown.
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

// Format returns the check of a format, or nil for an unknown format, which accepts anything.
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
