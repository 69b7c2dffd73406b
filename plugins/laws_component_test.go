package plugins

import (
	"go/ast"
	"path"
	"strings"
	"testing"
)

// describes tells whether a file has a function that returns a component's spec.
func describes(file *ast.File) bool {
	for _, d := range file.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Type.Results == nil || len(fn.Type.Results.List) != 1 {
			continue
		}
		if star, ok := fn.Type.Results.List[0].Type.(*ast.StarExpr); ok {
			if sel, ok := star.X.(*ast.SelectorExpr); ok && sel.Sel.Name == "ConfigSpec" {
				return true
			}
		}
	}
	return false
}

// Whoever knows a component's kind and name finds its fields and its constructor:
// in kind_name.go of its room.
func TestLaws_AComponentIsAFileOfItsName(t *testing.T) {
	all, _ := sources(t)
	files := map[string]source{}
	for _, s := range all {
		if s.room != "" && describes(s.file) {
			files[strings.TrimSuffix(path.Base(s.path), ".go")] = s
		}
	}
	_, added := ours(t)
	for component, view := range added {
		if view.IsDeprecated() { // a former name
			continue
		}
		name := strings.ReplaceAll(component, " ", "_")
		if _, ok := files[name]; !ok {
			t.Errorf("%s: found no file %s.go with its spec", component, name)
		}
		delete(files, name)
	}
	for name, s := range files {
		t.Errorf("%s: %s is no component of plugins.go", s.path, name)
	}
}
