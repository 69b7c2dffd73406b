package plugins

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
)

// What a package variable holds is of nobody: neither two processes in one test nor two stores keep it
// apart. What a process shares goes by its resources (platform/pool) or by a value that somebody opened.
func TestLaws_PackageVariablesStayAsTheyAre(t *testing.T) {
	all, files := sources(t)
	folders := map[string][]*ast.File{}
	for _, s := range all {
		if !s.test() {
			folders[path.Dir(s.path)] = append(folders[path.Dir(s.path)], s.file)
		}
	}
	for _, of := range folders {
		for _, name := range mutable(of) {
			t.Errorf("%s: package variable %s is changed at run time", files.Position(name.Pos()), name.Name)
		}
	}
}

// mutable returns the package variables that functions of a package change, where they do, and those that
// are there to be changed, by their type. It does not look into types that the package names itself.
func mutable(of []*ast.File) (found []*ast.Ident) {
	globals := map[string]bool{}
	for _, file := range of {
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				spec := spec.(*ast.ValueSpec)
				for _, name := range spec.Names {
					globals[name.Name] = true
				}
				if holds(spec) {
					found = append(found, spec.Names...)
				}
			}
		}
	}
	for _, file := range of {
		for _, d := range file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				found = append(found, changedIn(fn, globals)...)
			}
		}
	}
	return found
}

// holds tells whether variables are of a type of sync or atomic, or point to one. Functions such as those of
// sync.OnceValue are none.
func holds(spec *ast.ValueSpec) (yes bool) {
	types := []ast.Expr{spec.Type}
	for _, v := range spec.Values {
		if point, ok := v.(*ast.UnaryExpr); ok {
			v = point.X
		}
		if made, ok := v.(*ast.CompositeLit); ok {
			types = append(types, made.Type)
		}
		if made, ok := v.(*ast.CallExpr); ok && len(made.Args) == 1 { // new(sync.Map)
			if name, ok := made.Fun.(*ast.Ident); ok && name.Name == "new" {
				types = append(types, made.Args[0])
			}
		}
	}
	for _, of := range types {
		if of == nil {
			continue
		}
		ast.Inspect(of, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				of, ok := sel.X.(*ast.Ident)
				yes = yes || ok && (of.Name == "sync" || of.Name == "atomic")
			}
			return true
		})
	}
	return yes
}

// changedIn returns the package variables that a function changes, whole or in part. A name that the function
// declares anywhere is taken for its own.
func changedIn(fn *ast.FuncDecl, globals map[string]bool) (changed []*ast.Ident) {
	own := map[string]bool{}
	var assigned []*ast.Ident
	declare := func(e ast.Expr) {
		if id, ok := e.(*ast.Ident); ok {
			own[id.Name] = true
		}
	}
	assign := func(e ast.Expr) {
		if id := variable(e); id != nil {
			assigned = append(assigned, id)
		}
	}
	note := func(e ast.Expr, declares bool) {
		if declares {
			declare(e)
		} else {
			assign(e)
		}
	}
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, name := range n.Names {
				declare(name)
			}
		case *ast.ValueSpec:
			for _, name := range n.Names {
				declare(name)
			}
		case *ast.RangeStmt:
			note(n.Key, n.Tok == token.DEFINE)
			note(n.Value, n.Tok == token.DEFINE)
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				note(left, n.Tok == token.DEFINE)
			}
		case *ast.IncDecStmt:
			assign(n.X)
		case *ast.CallExpr:
			if name, ok := n.Fun.(*ast.Ident); ok && slices.Contains([]string{"delete", "clear"}, name.Name) {
				assign(n.Args[0])
			}
		}
		return true
	})
	for _, id := range assigned {
		if id.Name != "_" && globals[id.Name] && !own[id.Name] {
			changed = append(changed, id)
		}
	}
	return changed
}

// variable returns the variable that is assigned to, or of which a part is.
func variable(e ast.Expr) *ast.Ident {
	switch e := e.(type) {
	case *ast.Ident:
		return e
	case *ast.IndexExpr:
		return variable(e.X)
	case *ast.SelectorExpr:
		return variable(e.X)
	case *ast.StarExpr:
		return variable(e.X)
	case *ast.ParenExpr:
		return variable(e.X)
	}
	return nil
}

func TestLaws_AChangedPackageVariableIsSeen(t *testing.T) {
	for text, want := range map[string]string{
		"var a sync.Map":                                            "a",
		"var a, b atomic.Int64":                                     "a b",
		"var a = &sync.Pool{}":                                      "a",
		"var a = new(sync.Mutex)":                                   "a",
		"var a struct{ mu sync.Mutex }":                             "a",
		"var a map[string]*atomic.Bool":                             "a",
		"var a = map[string]int{}; func f() { a[``] = 1 }":          "a",
		"var a = map[string]int{}; func f() { delete(a, ``) }":      "a",
		"var a struct{ n int }; func f() { a.n++ }":                 "a",
		"var a = new(int); func f() { *a = 1 }":                     "a",
		"var a int; func f() { a = 1 }":                             "a",
		"func f() { a = 1 }\nvar a int":                             "a",
		"var a = sync.OnceValue(func() int { return 1 })":           "",
		"var a = map[string]int{`x`: 1}; func f() int { return 1 }": "",
		"var a int; func f(a int) { a = 1 }":                        "",
		"var a []int; func f() { a := []int{1}; a[0] = 2 }":         "",
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\n"+text, 0)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, id := range mutable([]*ast.File{file}) {
			names = append(names, id.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: found %q, expected %q", text, got, want)
		}
	}
	two := []*ast.File{}
	for _, text := range []string{"package x\nvar a int", "package x\nfunc f() { a = 1 }"} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", text, 0)
		if err != nil {
			t.Fatal(err)
		}
		two = append(two, file)
	}
	if found := mutable(two); len(found) != 1 {
		t.Errorf("a variable that another file changes: found %v", found)
	}
}
