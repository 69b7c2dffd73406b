package registry

import (
	"fmt"
	"strings"
)

// version is a firmware version: MAJOR.MINOR.PATCH. A pre-release or build
// part is read and left out: 2.0.0-rc.1 already speaks what 2.0.0 speaks.
type version [3]uint32

func (v version) compare(o version) int {
	for i := range v {
		switch {
		case v[i] < o[i]:
			return -1
		case v[i] > o[i]:
			return 1
		}
	}
	return 0
}

// parseVersion reads "2", "2.1", "2.1.0", "v2.1.0" and "2.1.0-rc.1+build".
func parseVersion(s string) (v version, ok bool) {
	s = strings.TrimPrefix(s, "v")
	if i := strings.IndexAny(s, "-+"); i >= 0 {
		if i == len(s)-1 {
			return v, false
		}
		s = s[:i]
	}
	for part := 0; ; part++ {
		if part == len(v) {
			return v, false
		}
		n := 0
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			if v[part] > 1<<28 {
				return v, false
			}
			v[part] = v[part]*10 + uint32(s[n]-'0')
			n++
		}
		switch {
		case n == 0:
			return v, false
		case n == len(s):
			return v, true
		case s[n] != '.':
			return v, false
		}
		s = s[n+1:]
	}
}

// firmwareRange is which firmware versions a schema describes: alternatives
// separated by "||", each a list of comparisons that all hold, for example
// ">=1.0.0 <2.0.0".
type firmwareRange [][]comparison

type comparison struct {
	op string
	v  version
}

func (c comparison) holds(v version) bool {
	switch n := v.compare(c.v); c.op {
	case ">=":
		return n >= 0
	case ">":
		return n > 0
	case "<=":
		return n <= 0
	case "<":
		return n < 0
	default:
		return n == 0
	}
}

func parseFirmwareRange(s string) (firmwareRange, error) {
	var r firmwareRange
	for _, alternative := range strings.Split(s, "||") {
		var all []comparison
		for _, field := range strings.Fields(alternative) {
			rest := strings.TrimLeft(field, "<>=")
			c := comparison{op: field[:len(field)-len(rest)]}
			switch c.op {
			case "", "=", "<", "<=", ">", ">=":
			default:
				return nil, fmt.Errorf("parsing firmware range %q: unknown comparison %q", s, c.op)
			}
			var ok bool
			if c.v, ok = parseVersion(rest); !ok {
				return nil, fmt.Errorf("parsing firmware range %q: %q is not a version", s, rest)
			}
			all = append(all, c)
		}
		if len(all) == 0 {
			return nil, fmt.Errorf(`parsing firmware range %q: expected comparisons such as ">=1.0.0 <2.0.0"`, s)
		}
		r = append(r, all)
	}
	return r, nil
}

func (r firmwareRange) contains(v version) bool {
	for _, all := range r {
		in := true
		for _, c := range all {
			in = in && c.holds(v)
		}
		if in {
			return true
		}
	}
	return false
}

// possible tells whether any version is in the range: one at a bound of it, or
// just above or below.
func (r firmwareRange) possible() bool {
	for _, all := range r {
		for _, c := range all {
			for _, v := range []version{c.v, c.v.after(), c.v.before()} {
				if (firmwareRange{all}).contains(v) {
					return true
				}
			}
		}
	}
	return false
}

func (v version) after() version {
	v[2]++
	return v
}

// before returns a version below, or v itself if there is none.
func (v version) before() version {
	const most = 1 << 20
	switch {
	case v[2] > 0:
		return version{v[0], v[1], v[2] - 1}
	case v[1] > 0:
		return version{v[0], v[1] - 1, most}
	case v[0] > 0:
		return version{v[0] - 1, most, most}
	}
	return v
}
