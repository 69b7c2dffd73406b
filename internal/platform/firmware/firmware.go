// Package firmware parses firmware versions of devices and the ranges of versions in schemas and rules. The semver
// library compares versions; this package decides which notations are accepted, so that registered ranges keep their
// meaning when the library changes.
package firmware

import (
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// most is the largest number allowed in a version.
const most = 10<<28 + 9

// Parse parses "2", "2.1", "2.1.0", "v2.1.0" and "2.1.0-rc.1+build". It ignores what follows '-' or '+': 2.0.0-rc.1
// has the schema of 2.0.0.
func Parse(s string) (v *semver.Version, ok bool) {
	if i := strings.IndexAny(s, "-+"); i >= 0 {
		if i == len(s)-1 {
			return nil, false
		}
		s = s[:i]
	}
	parts := strings.Split(s, ".")
	for i, part := range parts { // strip leading zeros: the library limits the length of the text
		if digits := strings.TrimLeft(part, "0"); digits != "" || part == "" {
			parts[i] = digits
		} else {
			parts[i] = "0"
		}
	}
	v, err := semver.NewVersion(strings.Join(parts, "."))
	return v, err == nil && max(v.Major(), v.Minor(), v.Patch()) <= most
}

// Range is a set of versions: the union of its alternatives. A nil Range is empty.
type Range []alternative

// alternative holds one constraint per comparison, because the library limits the length of a constraint's text and
// registered schemas may exceed it.
type alternative struct {
	all    []*semver.Constraints
	bounds []*semver.Version
}

func (a alternative) check(v *semver.Version) bool {
	return !slices.ContainsFunc(a.all, func(c *semver.Constraints) bool { return !c.Check(v) })
}

// ParseRange parses alternatives separated by "||", each a list of comparisons that must all hold, such as ">=1.0.0
// <2.0.0". A short bound is completed with zeros: ">1" contains 1.0.1, and "1" contains only 1.0.0. Other notations
// of the library are rejected.
func ParseRange(s string) (Range, error) {
	var r Range
	for text := range strings.SplitSeq(s, "||") {
		var a alternative
		for _, field := range strings.Fields(text) {
			rest := strings.TrimLeft(field, "<>=")
			op := field[:len(field)-len(rest)]
			if !slices.Contains([]string{"", "=", "<", "<=", ">", ">="}, op) {
				return nil, fmt.Errorf("parsing firmware range %q: unknown comparison %q", s, op)
			}
			bound, ok := Parse(rest)
			if !ok {
				return nil, fmt.Errorf("parsing firmware range %q: %q is not a version such as 2.1.0", s, rest)
			}
			a.bounds = append(a.bounds, bound)
			c, err := semver.NewConstraint(op + bound.String()) // three numbers: the library reads ">1" as ">=2"
			if err != nil {
				return nil, fmt.Errorf("parsing firmware range %q: %w", s, err)
			}
			a.all = append(a.all, c)
		}
		if len(a.all) == 0 {
			return nil, fmt.Errorf(`parsing firmware range %q: expected comparisons such as ">=1.0.0 <2.0.0"`, s)
		}
		r = append(r, a)
	}
	return r, nil
}

// Contains tells whether a version returned by Parse is in the range.
func (r Range) Contains(v *semver.Version) bool {
	return slices.ContainsFunc(r, func(a alternative) bool { return a.check(v) })
}

// ContainsText tells whether a text is a version in the range.
func (r Range) ContainsText(s string) bool {
	v, ok := Parse(s)
	return ok && r.Contains(v)
}

// Possible tells whether any version is in the range. The lowest version of an alternative is 0.0.0, one of its
// bounds, or the patch after a bound.
func (r Range) Possible() bool {
	return slices.ContainsFunc(r, func(a alternative) bool {
		return a.check(&semver.Version{}) || slices.ContainsFunc(a.bounds, func(bound *semver.Version) bool {
			next := bound.IncPatch()
			return a.check(bound) || a.check(&next)
		})
	})
}
