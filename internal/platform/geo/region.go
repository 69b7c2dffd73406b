package geo

import "strings"

// IsRegion tells whether a text has the form of an ISO 3166-1 or 3166-2 code.
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
