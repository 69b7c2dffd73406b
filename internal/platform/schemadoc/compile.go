// Package schemadoc reads JSON Schema documents: it compiles them by the draft
// that they name, and decodes what they are applied to. Nothing that a $ref
// names outside of a document is ever loaded.
package schemadoc

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// ErrRemoteRef refuses a $ref to another document.
var ErrRemoteRef = errors.New("a $ref to another document is not followed: put the definition under $defs")

// Compile compiles a schema by the draft that it names. One that names none is
// of 2020-12, or of draft 7 if it is none of 2020-12, or else of draft 4: tools
// that write no $schema mostly mean draft 7, and mostly write what all read
// alike. Formats are asserted.
func Compile(raw []byte) (*jsonschema.Schema, error) {
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
func CompileDraft(raw []byte, draft *jsonschema.Draft, assertFormat bool) (s *jsonschema.Schema, err error) {
	defer func() { // the library panics on some malformed schemas
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed schema: %v", r)
		}
	}()
	c := jsonschema.NewCompiler()
	c.Draft, c.AssertFormat = draft, assertFormat
	c.LoadURL = func(url string) (io.ReadCloser, error) {
		return nil, fmt.Errorf("%w (%s)", ErrRemoteRef, url)
	}
	if err := c.AddResource(URL, bytes.NewReader(raw)); err != nil {
		return nil, err
	}
	return c.Compile(URL)
}
