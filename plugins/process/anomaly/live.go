package anomaly

import (
	"context"
	"fmt"

	"weir/internal/platform/live"
)

// rulesFile follows the rules file. A file that cannot be read, or is invalid, leaves the rules as
// they are.
type rulesFile struct {
	path string
	*live.Value[[]byte, ruleSet]
}

// openRules reads the file, which must be valid at first.
func openRules(path string) (*rulesFile, error) {
	f := &rulesFile{path, live.File(path, "rules", func(raw []byte) (*ruleSet, error) {
		rules, err := ParseRules(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return newRuleSet(rules), nil
	})}
	_, err := f.Refresh(context.Background())
	return f, err
}
