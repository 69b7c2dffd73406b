package quality

import (
	"strings"

	"weir/plugins/ingest/privacy"
	"weir/plugins/ingest/registry"
)

// hiddenBy tells of which fields no value is kept: those that any version of the
// schemas says hold personal data (x-pii), and what is within them.
func hiddenBy(set *registry.Set) func(pointer string) bool {
	var all [][]string
	everything := false
	for _, s := range set.Schemas() {
		pointers, whole := privacy.Annotated(s.Document)
		everything = everything || !whole
		for _, p := range pointers {
			all = append(all, strings.Split(p, "/"))
		}
	}
	return func(pointer string) bool {
		if everything {
			return true
		}
		parts := strings.Split(pointer, "/")
		for _, p := range all {
			if within(parts, p) {
				return true
			}
		}
		return false
	}
}

// within tells whether a pointer is the place, or below it; a * stands for any name.
func within(pointer, place []string) bool {
	if len(pointer) < len(place) {
		return false
	}
	for i, name := range place {
		if name != "*" && name != pointer[i] {
			return false
		}
	}
	return true
}
