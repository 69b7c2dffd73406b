package anomaly

import (
	"bytes"
	"fmt"
	"os"
	"sync/atomic"
)

// live is the rules file as it is now. A file that cannot be read or is wrong
// leaves the rules as they are.
type live struct {
	path  string
	rules atomic.Pointer[RuleSet]
	raw   []byte // of the last attempt, good or bad
}

// openRules reads the file, which must be right to begin with.
func openRules(path string) (*live, error) {
	l := &live{path: path}
	if _, err := l.refresh(); err != nil {
		return nil, err
	}
	return l, nil
}

// refresh reads the file when it has changed. It returns an error once for
// each change for the worse.
func (l *live) refresh() (changed bool, err error) {
	raw, err := os.ReadFile(l.path)
	if err != nil {
		missing := []byte(err.Error())
		if bytes.Equal(missing, l.raw) {
			return false, nil
		}
		l.raw = missing
		return false, fmt.Errorf("reading rules: %w", err)
	}
	if bytes.Equal(raw, l.raw) {
		return false, nil
	}
	l.raw = raw
	rules, err := ParseRules(raw)
	if err != nil {
		return false, fmt.Errorf("%s: %w", l.path, err)
	}
	l.rules.Store(NewRuleSet(rules))
	return true, nil
}
