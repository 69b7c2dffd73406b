package privacy

import (
	"fmt"
	"slices"

	"weir/internal/platform/pii"
)

// Tokens returns what stands in the events of a fleet for a value that is hashed: the
// token of each key, that of the newest first. The type is a kind, "field" for what a
// schema or a config names with the action hash.
func Tokens(keys, fleet, kindName, value string) (tokens []string, err error) {
	k := slices.Index(kindNames[:], kindName)
	if k < 0 {
		return nil, fmt.Errorf("type %q: expected one of %v", kindName, kindNames)
	}
	ring, err := parseKeys(keys)
	if err != nil {
		return nil, fmt.Errorf("reading the keys: %w", err)
	}
	var text pii.Text
	text.Fold([]byte(value), false)
	for i := range ring.keys {
		tokens = append(tokens, ring.keys[i].of(fleet).hashed(kind(k), canonical(kind(k), text.Folded)))
	}
	return tokens, nil
}
