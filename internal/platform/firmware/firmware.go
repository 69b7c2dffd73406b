// Package firmware reads the versions of firmware that devices send, and the
// ranges of them that schemas and rules name. Versions are compared by the
// semver library; which spellings are taken is decided here, so that what is
// registered goes on meaning what it meant.
package firmware

import (
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// most is the greatest number in a version.
const most = 10<<28 + 9

// Parse reads "2", "2.1", "2.1.0", "v2.1.0" and "2.1.0-rc.1+build". What
// follows '-' or '+' is left out, whatever it is: 2.0.0-rc.1 already speaks what
// 2.0.0 speaks.
func Parse(s string) (v *semver.Version, ok bool) {
	if i := strings.IndexAny(s, "-+"); i >= 0 {
		if i == len(s)-1 {
			return nil, false
		}
		s = s[:i]
	}
	parts := strings.Split(s, ".")
	for i, part := range parts { // the library bounds the length of a text
		if digits := strings.TrimLeft(part, "0"); digits != "" || part == "" {
			parts[i] = digits
		} else {
			parts[i] = "0"
		}
	}
	v, err := semver.NewVersion(strings.Join(parts, "."))
	return v, err == nil && max(v.Major(), v.Minor(), v.Patch()) <= most
}

// Range is a set of versions, the union of its alternatives; nil has none.
type Range []alternative

// alternative holds a constraint for each comparison: the library bounds the
// length of a text, and schemas that are registered may have longer ones.
type alternative struct {
	all    []*semver.Constraints
	bounds []*semver.Version
}

func (a alternative) check(v *semver.Version) bool {
	return !slices.ContainsFunc(a.all, func(c *semver.Constraints) bool { return !c.Check(v) })
}

// ParseRange reads alternatives separated by "||", each a list of comparisons
// that all hold, such as ">=1.0.0 <2.0.0". A bound is one version also when it
// is short: ">1" has 1.0.1, and "1" has 1.0.0 alone. The other notations of the
// library are refused.
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
			c, err := semver.NewConstraint(op + bound.String()) // all three numbers: the library reads ">1" as ">=2"
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

// Contains tells whether a version that Parse has read is in the range.
func (r Range) Contains(v *semver.Version) bool {
	return slices.ContainsFunc(r, func(a alternative) bool { return a.check(v) })
}

// ContainsText tells whether a text is a version in the range.
func (r Range) ContainsText(s string) bool {
	v, ok := Parse(s)
	return ok && r.Contains(v)
}

// Possible tells whether any version is in the range. The lowest of an
// alternative is 0.0.0, a bound, or the next after one.
func (r Range) Possible() bool {
	return slices.ContainsFunc(r, func(a alternative) bool {
		return a.check(&semver.Version{}) || slices.ContainsFunc(a.bounds, func(bound *semver.Version) bool {
			next := bound.IncPatch()
			return a.check(bound) || a.check(&next)
		})
	})
}
