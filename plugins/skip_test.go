package plugins

import (
	"go/ast"
	"strings"
	"testing"
)

// skips are the calls by which a file skips its tests itself.
func skips(f *ast.File) (names []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
			if on, ok := sel.X.(*ast.Ident); ok && (on.Name == "t" || on.Name == "b" || on.Name == "tb" || on.Name == "f") &&
				(sel.Sel.Name == "Skip" || sel.Sel.Name == "Skipf" || sel.Sel.Name == "SkipNow") {
				names = append(names, on.Name+"."+sel.Sel.Name)
			}
		}
		return true
	})
	return names
}

// What is skipped goes by tests/integration/require: in CI a server or a tool
// that is missing fails its test.
func TestLaws_TestsAreSkippedByRequireAlone(t *testing.T) {
	all, _ := sources(t)
	home := false
	for _, s := range all {
		names := skips(s.file)
		switch {
		case strings.HasPrefix(s.path, "tests/integration/require/"):
			home = home || len(names) > 0
		case s.test() && len(names) > 0:
			t.Errorf("%s: %v: use tests/integration/require", s.path, names)
		}
	}
	if !home {
		t.Error("nothing is seen where tests are skipped: this proves nothing")
	}
}
