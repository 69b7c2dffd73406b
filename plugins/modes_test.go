package plugins

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

// openToOthers are the calls by which a file makes files or folders that others
// than their owner may use, whatever the umask of its process is.
func openToOthers(f *ast.File) (at []token.Pos) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		switch sel.Sel.Name {
		case "OpenFile", "WriteFile", "Mkdir", "MkdirAll", "Chmod":
			if mode, ok := call.Args[len(call.Args)-1].(*ast.BasicLit); ok {
				if n, err := strconv.ParseInt(mode.Value, 0, 64); err == nil && n&0o077 != 0 {
					at = append(at, call.Pos())
				}
			}
		case "Create":
			if on, ok := sel.X.(*ast.Ident); ok && on.Name == "os" {
				at = append(at, call.Pos())
			}
		}
		return true
	})
	return at
}

// Whatever weir writes, whichever command writes it and wherever it lies, its user
// alone reads.
func TestLaws_FilesAreTheirOwnersAlone(t *testing.T) {
	all, files := sources(t)
	for _, s := range all {
		if s.test() || strings.HasPrefix(s.path, "tests/") {
			continue
		}
		for _, pos := range openToOthers(s.file) {
			t.Errorf("%s: others may use what this makes: 0o600, or 0o700 for a folder", files.Position(pos))
		}
	}
	for body, open := range map[string]bool{
		`_ = os.WriteFile(p, b, 0o644)`: true, `_ = os.MkdirAll(p, 0755)`: true, `_, _ = os.Create(p)`: true,
		`_, _ = os.OpenFile(p, os.O_CREATE, 0o640)`: true,
		`_ = os.WriteFile(p, b, 0o600)`:             false, `_ = os.Mkdir(p, 0o700)`: false, `_, _ = store.Create(ctx, spec)`: false,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nfunc f() {\n"+body+"\n}\n", 0)
		if err != nil {
			t.Fatal(err)
		}
		if (len(openToOthers(f)) > 0) != open {
			t.Errorf("%s: seen as %v", body, !open)
		}
	}
}
