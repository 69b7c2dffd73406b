package geo

import "strings"

// IsRegion is whether a text looks like a code of ISO 3166-1, or of 3166-2.
func IsRegion(s string) bool {
	country, part, has := strings.Cut(s, "-")
	upper := func(s string, digits bool) bool {
		for _, c := range []byte(s) {
			if (c < 'A' || c > 'Z') && (!digits || c < '0' || c > '9') {
				return false
			}
		}
		return true
	}
	return len(country) == 2 && upper(country, false) && (!has || len(part) >= 1 && len(part) <= 3 && upper(part, true))
}
