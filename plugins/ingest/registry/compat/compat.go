// Package compat compares versions of a JSON Schema: can a reader by one version read what was
// written by the other?
package compat

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Level says against which versions, and in which direction, a new version
// must be compatible. The names are Confluent's.
type Level string

// The levels. Backward: a reader by the new schema can read what was written by the old. Forward: a
// reader by the old schema can read what is written by the new. Full: both. Transitive: this holds
// for all earlier versions, not only for the last.
const (
	LevelNone               Level = "NONE"
	LevelBackward           Level = "BACKWARD"
	LevelBackwardTransitive Level = "BACKWARD_TRANSITIVE"
	LevelForward            Level = "FORWARD"
	LevelForwardTransitive  Level = "FORWARD_TRANSITIVE"
	LevelFull               Level = "FULL"
	LevelFullTransitive     Level = "FULL_TRANSITIVE"
)

// ParseLevel reads a level, in any case.
func ParseLevel(s string) (Level, error) {
	l := Level(strings.ToUpper(s))
	if slices.Contains([]Level{LevelNone, LevelBackward, LevelBackwardTransitive, LevelForward, LevelForwardTransitive,
		LevelFull, LevelFullTransitive}, l) {
		return l, nil
	}
	return "", fmt.Errorf("compatibility level %q is not one of NONE, BACKWARD, BACKWARD_TRANSITIVE, FORWARD, "+
		"FORWARD_TRANSITIVE, FULL, FULL_TRANSITIVE", s)
}

// Policy tells what counts as compatible.
type Policy string

const (
	// PolicyStrict decides like Confluent's registry, including what that overlooks: an optional
	// property cannot be added to an open object, because old data may have anything under that
	// name.
	PolicyStrict Policy = "strict"
	// PolicyAdditive allows adding an optional property to an open object. Removing a property
	// breaks its readers, so it is not compatible. It also compares what Confluent's registry
	// overlooks: formats, patternProperties, units, conditions and the like.
	PolicyAdditive Policy = "additive"
)

// ParsePolicy reads a policy, in any case.
func ParsePolicy(s string) (Policy, error) {
	switch p := Policy(strings.ToLower(s)); p {
	case PolicyStrict, PolicyAdditive:
		return p, nil
	}
	return "", fmt.Errorf("policy %q is not one of strict, additive", s)
}

// Difference is a change between two versions of a schema.
type Difference struct {
	Rule     string `json:"rule"`
	Pointer  string `json:"pointer"` // into the newer schema, or the older where it is gone from the newer
	Message  string `json:"message"`
	Breaking bool   `json:"breaking"`
}

// String returns the rule, the pointer, and what changed.
func (d Difference) String() string {
	return fmt.Sprintf("%s at #%s: %s", d.Rule, d.Pointer, d.Message)
}

// Breaking returns the differences that break compatibility.
func Breaking(all []Difference) (breaking []Difference) {
	for _, d := range all {
		if d.Breaking {
			breaking = append(breaking, d)
		}
	}
	return breaking
}

// Backward compares two versions of a schema: can a reader by the new one
// read all that was valid by the old one?
func Backward(policy Policy, older, newer []byte) ([]Difference, error) {
	return differences(policy, older, newer, true)
}

// forward compares two versions of a schema: can a reader by the old one read
// all that is valid by the new one?
func forward(policy Policy, older, newer []byte) ([]Difference, error) {
	return differences(policy, newer, older, false)
}

// Check returns what breaks compatibility of a new version with earlier ones,
// oldest first, at a level.
func (l Level) Check(policy Policy, newer []byte, earlier [][]byte) ([]Difference, error) {
	if l == LevelNone || len(earlier) == 0 {
		return nil, nil
	}
	if !strings.HasSuffix(string(l), "_TRANSITIVE") {
		earlier = earlier[len(earlier)-1:]
	}
	var breaking []Difference
	for i := len(earlier) - 1; i >= 0; i-- {
		for _, d := range []struct {
			applies bool
			compare func(Policy, []byte, []byte) ([]Difference, error)
		}{
			{!strings.HasPrefix(string(l), "FORWARD"), Backward},
			{!strings.HasPrefix(string(l), "BACKWARD"), forward},
		} {
			if !d.applies {
				continue
			}
			found, err := d.compare(policy, earlier[i], newer)
			if err != nil {
				return nil, err
			}
			for _, diff := range Breaking(found) {
				if !slices.Contains(breaking, diff) {
					breaking = append(breaking, diff)
				}
			}
		}
	}
	return breaking, nil
}

// differences compares what a writer's schema allows with what a reader's accepts.
func differences(policy Policy, writer, reader []byte, newIsReader bool) ([]Difference, error) {
	w, err := parseShapes(writer)
	if err != nil {
		return nil, fmt.Errorf("reading the %s schema: %w", map[bool]string{true: "old", false: "new"}[newIsReader], err)
	}
	r, err := parseShapes(reader)
	if err != nil {
		return nil, fmt.Errorf("reading the %s schema: %w", map[bool]string{true: "new", false: "old"}[newIsReader], err)
	}
	found := compareAll(policy, newIsReader, w, r)
	if err := errors.Join(w.err, r.err); err != nil {
		return nil, fmt.Errorf("comparing schemas: %w", err)
	}
	return found, nil
}
