package anomaly

import (
	"fmt"
	"strings"
)

// version is a firmware version: MAJOR.MINOR.PATCH; what follows '-' or '+' is
// left out.
type version [3]uint64

func parseVersion(s string) (v version, ok bool) {
	s = strings.TrimPrefix(s, "v")
	if i := strings.IndexAny(s, "-+"); i >= 0 {
		s = s[:i]
	}
	parts := strings.Split(s, ".")
	if len(parts) > len(v) {
		return v, false
	}
	for i, part := range parts {
		if part == "" || len(part) > 9 {
			return v, false
		}
		for _, c := range []byte(part) {
			if c < '0' || c > '9' {
				return v, false
			}
			v[i] = v[i]*10 + uint64(c-'0')
		}
	}
	return v, true
}

func (v version) compare(o version) int {
	for i := range v {
		if v[i] != o[i] {
			if v[i] < o[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// firmwareRange is a list of comparisons that all hold, such as ">=2.0.0 <3".
// An empty one takes every firmware, also what is no version.
type firmwareRange []comparison

type comparison struct {
	op string
	v  version
}

func parseFirmwareRange(s string) (firmwareRange, error) {
	var r firmwareRange
	for _, field := range strings.Fields(s) {
		rest := strings.TrimLeft(field, "<>=")
		c := comparison{op: field[:len(field)-len(rest)]}
		switch c.op {
		case "", "=", "<", "<=", ">", ">=":
		default:
			return nil, fmt.Errorf("parsing firmware range %q: unknown comparison %q", s, c.op)
		}
		var ok bool
		if c.v, ok = parseVersion(rest); !ok {
			return nil, fmt.Errorf("parsing firmware range %q: %q is no version such as 2.1.0", s, rest)
		}
		r = append(r, c)
	}
	return r, nil
}

func (r firmwareRange) contains(firmware string) bool {
	if len(r) == 0 {
		return true
	}
	v, ok := parseVersion(firmware)
	if !ok {
		return false
	}
	for _, c := range r {
		n, holds := v.compare(c.v), false
		switch c.op {
		case "<":
			holds = n < 0
		case "<=":
			holds = n <= 0
		case ">":
			holds = n > 0
		case ">=":
			holds = n >= 0
		default:
			holds = n == 0
		}
		if !holds {
			return false
		}
	}
	return true
}
