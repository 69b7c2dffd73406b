package anomaly

import (
	"context"
	"fmt"

	"weir/internal/platform/live"
)

// rulesFile is the rules file as it is now. A file that cannot be read or is
// wrong leaves the rules as they are.
type rulesFile struct {
	path string
	*live.Value[[]byte, ruleSet]
}

// openRules reads the file, which must be right to begin with.
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
