package validate

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"weir/internal/event"
	"weir/internal/platform/text"
)

const (
	errorsMax = 20 // field errors in one rejection

)

// violation validates a decoded document by the library, and returns at which pointers it is not as
// expected. Errors are in the order of their pointers.
func (s *planned) violation(doc any) *event.Rejection {
	err := s.Library.Validate(doc)
	if err == nil {
		return nil
	}
	r := &event.Rejection{Code: event.CodeSchemaViolation}
	var ve *jsonschema.ValidationError
	if !errors.As(err, &ve) { // the schema refers to itself without end
		r.Errors = []event.FieldError{{Message: text.Shorten(err.Error())}}
		return r
	}
	var found []event.FieldError
	s.collect(ve, doc, &found)
	slices.SortFunc(found, func(a, b event.FieldError) int {
		if n := strings.Compare(a.Pointer, b.Pointer); n != 0 {
			return n
		}
		return strings.Compare(a.Message, b.Message)
	})
	found = slices.Compact(found)
	if n := len(found) - errorsMax; n > 0 {
		found = append(found[:errorsMax-1], event.FieldError{Message: fmt.Sprintf("%d more errors", n+1)})
	}
	r.Errors = found
	return r
}

// collect turns the leaves of the library's error tree into field errors. An
// error about the names of an object becomes one at each name.
func (s *planned) collect(ve *jsonschema.ValidationError, doc any, out *[]event.FieldError) {
	if len(ve.Causes) > 0 {
		if at := ve.KeywordLocation[strings.LastIndexByte(ve.KeywordLocation, '/')+1:]; at == "oneOf" || at == "anyOf" {
			*out = append(*out, event.FieldError{Pointer: pointer(ve.InstanceLocation), Message: "expected a match of " +
				map[string]string{"oneOf": "exactly one", "anyOf": "one"}[at] + " of several alternatives"})
		}
		for _, c := range ve.Causes {
			s.collect(c, doc, out)
		}
		return
	}
	at := pointer(ve.InstanceLocation)
	switch names := quotedNames(ve.Message); {
	case strings.HasPrefix(ve.Message, "missing properties: "):
		for _, n := range names {
			*out = append(*out, event.FieldError{Pointer: at + "/" + event.EscapePointer(n), Message: "is required"})
		}
	case strings.HasPrefix(ve.Message, "additionalProperties "):
		for _, n := range names {
			*out = append(*out, event.FieldError{Pointer: at + "/" + event.EscapePointer(n),
				Message: "is not a known name here, and the schema allows no others"})
		}
	default:
		*out = append(*out, event.FieldError{Pointer: at, Message: text.Shorten(s.inWords(ve, doc, at))})
	}
}

// inWords returns what was expected, without repeating long values.
func (s *planned) inWords(ve *jsonschema.ValidationError, doc any, at string) string {
	keyword := ve.KeywordLocation[strings.LastIndexByte(ve.KeywordLocation, '/')+1:]
	switch keyword {
	case "format":
		i := strings.LastIndex(ve.Message, " is not valid '")
		format := strings.Trim(ve.Message[i+len(" is not valid "):], "'")
		switch format {
		case "uuid":
			return "expected a UUID"
		case "date-time":
			return "expected an RFC 3339 time with a zone"
		}
		return "expected format " + format
	case "pattern":
		return "expected text that matches " + s.Library.Written(strings.TrimPrefix(ve.Message, "does not match pattern "))
	case "":
		if ve.Message == "not allowed" {
			return "is not allowed"
		}
	case "minLength", "maxLength":
		return "expected a " + ve.Message
	case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum":
		if before, _, ok := strings.Cut(ve.Message, " but found "); ok {
			return "expected a number that " + strings.Replace(before, "must be", "is", 1) + ", got " + found(doc, at)
		}
	}
	return ve.Message
}

// found returns the number at a pointer as text.
func found(doc any, at string) string {
	for at != "" {
		var token string
		token, at, _ = strings.Cut(at[1:], "/")
		if at != "" {
			at = "/" + at
		}
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		switch v := doc.(type) {
		case map[string]any:
			doc = v[token]
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) {
				return "another"
			}
			doc = v[i]
		}
	}
	if n, ok := doc.(json.Number); ok {
		return text.Shorten(n.String())
	}
	return "another"
}

// pointer turns the library's location, whose tokens are also escaped as in
// URLs, into an RFC 6901 pointer.
func pointer(location string) string {
	tokens := strings.Split(location, "/")
	for i, t := range tokens {
		if u, err := url.PathUnescape(t); err == nil {
			tokens[i] = u
		}
	}
	return strings.Join(tokens, "/")
}

// quotedNames reads the 'quoted', 'names' at the end of a message.
func quotedNames(message string) (names []string) {
	for {
		i := strings.IndexByte(message, '\'')
		if i < 0 {
			return names
		}
		j := i + 1
		for j < len(message) && message[j] != '\'' {
			if message[j] == '\\' {
				j++
			}
			j++
		}
		if j >= len(message) {
			return names
		}
		text := strings.ReplaceAll(message[i+1:j], `\'`, `'`)
		if name, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`); err == nil {
			names = append(names, name)
		}
		message = message[j+1:]
	}
}
