package cli

import (
	"slices"
	"testing"
)

// A command that people may type stands in the help, once.
func TestHelp_HasEveryVerb(t *testing.T) {
	var named []string
	for _, g := range helpGroups() {
		named = append(named, g.names...)
	}
	for _, v := range Verbs(nil, nil, nil) {
		n := len(slices.DeleteFunc(slices.Clone(named), func(name string) bool { return name != v.Name }))
		if v.Hidden && n != 0 || !v.Hidden && n != 1 {
			t.Errorf("the help names %s %d times", v.Name, n)
		}
	}
}
