// Package etl runs pipelines that a JSON file describes: from a source through steps to sinks, with
// an account of every row. A sink shows all of a run or nothing of it; a run that was interrupted
// continues after its last block.
package etl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"weir/internal/platform/rawjson"
	"weir/internal/platform/text"
)

// node is a JSON value and its position in a file.
type node struct {
	file    string
	pointer string // RFC 6901, in that file
	value   any    // map[string]*node, []*node, string, json.Number, bool or nil
}

// Problem is an error at a position in a file.
type Problem struct {
	File, Pointer, Text string
}

func (p Problem) String() string {
	if p.Pointer == "" {
		return p.File + ": " + p.Text
	}
	return p.File + ": " + p.Pointer + ": " + p.Text
}

// ProblemsError lists the errors of a pipeline, in the order of their positions.
type ProblemsError struct{ Problems []Problem }

func (e *ProblemsError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

func (n *node) problem(format string, args ...any) *ProblemsError {
	return &ProblemsError{[]Problem{{n.file, n.pointer, fmt.Sprintf(format, args...)}}}
}

// mostDepth bounds how deep the values of a file nest.
const mostDepth = 64

// parse reads one file. It refuses a name that occurs twice in an object, because readers differ in
// which of the two they take.
func parse(file string, raw []byte) (*node, error) {
	raw = text.WithoutBOM(raw)
	top := &node{file: file}
	if !utf8.Valid(raw) {
		return nil, top.problem("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	n, err := parseValue(d, file, "", 0)
	var wrong *ProblemsError
	switch {
	case errors.As(err, &wrong):
		return nil, wrong
	case err != nil:
		line := 1 + bytes.Count(raw[:min(int(d.InputOffset()), len(raw))], []byte("\n"))
		return nil, top.problem("line %d: it is not JSON: %s", line, strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, top.problem("something follows the JSON value")
	}
	if hasHalfAPair(raw) {
		return nil, top.problem(halfAPair)
	}
	return n, nil
}

const (
	namedTwice = "the name stands twice in one object"
	halfAPair  = "it has half of a surrogate pair, which is no text"
)

// hasHalfAPair tells whether JSON has an escape such as \ud800 without its other half, which a
// decoder would replace with another character.
func hasHalfAPair(raw []byte) bool {
	if !bytes.Contains(raw, []byte(`\u`)) {
		return false
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] != '"' {
			continue
		}
		end, _, err := rawjson.String(raw, i)
		if err != nil {
			return true
		}
		i = end - 1
	}
	return false
}

// parseData parses JSON that is data. Its errors quote nothing of the data but a pointer to a name
// that occurs twice.
func parseData(what string, raw []byte) (*node, error) {
	n, err := parse("", raw)
	var wrong *ProblemsError
	switch {
	case err == nil:
		return n, nil
	case errors.As(err, &wrong) && wrong.Problems[0].Text == namedTwice:
		return nil, fmt.Errorf("%s names %q twice", what, text.Shorten(wrong.Problems[0].Pointer))
	case errors.As(err, &wrong) && wrong.Problems[0].Text == halfAPair:
		return nil, fmt.Errorf("%s: %s", what, halfAPair)
	case !utf8.Valid(raw):
		return nil, fmt.Errorf("%s is not UTF-8", what)
	}
	return nil, fmt.Errorf("%s is no JSON", what)
}

func parseValue(d *json.Decoder, file, pointer string, depth int) (*node, error) {
	n := &node{file: file, pointer: pointer}
	if depth > mostDepth {
		return nil, n.problem("it is nested more than %d deep", mostDepth)
	}
	token, err := d.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		members := map[string]*node{}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			name, _ := key.(string)
			at := below(pointer, name)
			if members[name] != nil {
				return nil, (&node{file: file, pointer: at}).problem(namedTwice)
			}
			if members[name], err = parseValue(d, file, at, depth+1); err != nil {
				return nil, err
			}
		}
		n.value = members
		_, err = d.Token()
	case json.Delim('['):
		items := []*node{}
		for d.More() {
			item, err := parseValue(d, file, fmt.Sprintf("%s/%d", pointer, len(items)), depth+1)
			if err != nil {
				return nil, err
			}
			items = append(items, item)
		}
		n.value = items
		_, err = d.Token()
	default:
		n.value = token
	}
	return n, err
}

func below(pointer, name string) string {
	return pointer + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// plain returns the value without positions, for printing and hashing.
func (n *node) plain() any {
	switch v := n.value.(type) {
	case map[string]*node:
		all := make(map[string]any, len(v))
		for name, child := range v {
			all[name] = child.plain()
		}
		return all
	case []*node:
		all := make([]any, len(v))
		for i, child := range v {
			all[i] = child.plain()
		}
		return all
	}
	return n.value
}

// reader reads the members of an object and collects the problems it finds.
type reader struct {
	n        *node
	members  map[string]*node
	known    []string
	problems *[]Problem
}

func (n *node) object(problems *[]Problem) *reader {
	members, is := n.value.(map[string]*node)
	r := &reader{n, members, nil, problems}
	if !is {
		r.wrong(n, "expected an object")
	}
	return r
}

func (r *reader) wrong(n *node, format string, args ...any) {
	*r.problems = append(*r.problems, n.problem(format, args...).Problems...)
}

func (r *reader) member(name string) *node {
	r.known = append(r.known, name)
	return r.members[name]
}

// text reads a string. If needed is set, a missing or empty one is a problem.
func (r *reader) text(name string, needed bool) string {
	n := r.member(name)
	if n == nil {
		if needed && r.members != nil {
			r.wrong(r.n, "%q is missing", name)
		}
		return ""
	}
	v, is := n.value.(string)
	if !is || needed && v == "" {
		r.wrong(n, "expected a text")
	}
	return v
}

func (r *reader) oneOf(name string, choices ...string) string {
	v := r.text(name, false)
	if r.members[name] == nil {
		return choices[0]
	}
	if !slices.Contains(choices, v) {
		r.wrong(r.members[name], "expected one of %s", strings.Join(choices, ", "))
	}
	return v
}

func (r *reader) number(name string, unset, least, most int64) int64 {
	n := r.member(name)
	if n == nil {
		return unset
	}
	number, _ := n.value.(json.Number)
	v, err := number.Int64()
	if err != nil || v < least || v > most {
		r.wrong(n, "expected a whole number of %d to %d", least, most)
	}
	return v
}

// duration reads a duration such as 90m.
func (r *reader) duration(name string, unset, least, most time.Duration) time.Duration {
	if r.member(name) == nil {
		return unset
	}
	d, err := time.ParseDuration(r.text(name, false))
	if err != nil || d < least || d > most {
		r.wrong(r.members[name], "expected a duration of %s to %s, such as %s", shortly(least), shortly(most), shortly(unset))
	}
	return d
}

// shortly formats a duration without units that are zero at its end.
func shortly(d time.Duration) string {
	s := d.String()
	if s = strings.TrimSuffix(s, "m0s"); s != d.String() {
		s += "m"
	}
	if cut := strings.TrimSuffix(s, "h0m"); cut != s {
		s = cut + "h"
	}
	return s
}

func (r *reader) flag(name string) bool {
	n := r.member(name)
	if n == nil {
		return false
	}
	v, is := n.value.(bool)
	if !is {
		r.wrong(n, "expected true or false")
	}
	return v
}

func (r *reader) list(name string) []*node {
	n := r.member(name)
	if n == nil {
		return nil
	}
	v, is := n.value.([]*node)
	if !is {
		r.wrong(n, "expected a list")
	}
	return v
}

// end reports members that no call has read.
func (r *reader) end() {
	for _, name := range slices.Sorted(maps.Keys(r.members)) {
		if !slices.Contains(r.known, name) {
			r.wrong(r.members[name], "there is no such field: expected one of %s", strings.Join(r.known, ", "))
		}
	}
}
