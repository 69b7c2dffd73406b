package plugins

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// spoken are methods that no interface of weir's names, and that are called all
// the same: by whom.
var spoken = map[string]string{
	"Error": "errors", "Unwrap": "errors", "Is": "errors", "String": "fmt",
	"UnmarshalJSON": "encoding/json", "MarshalJSON": "encoding/json", "UnmarshalYAML": "yaml",
	"Len": "sort", "Less": "sort", "Swap": "sort",
	"RoundTrip": "net/http", "ServeHTTP": "net/http",
}

// awaited are names that come before their first use elsewhere, and what is to
// use them.
var awaited = map[string]string{
	"internal/platform/sketch.Sketch.Quantile": "percentiles of rules",
}

// face is what one package offers to others, and where it uses what others offer.
type face struct {
	offers   map[string]token.Pos // functions, types, variables, constants; methods as "Type.Method"
	told     map[string]bool      // types in the signature of something that is offered
	lists    [][]string           // names of one block of constants, which others read as a whole
	imports  map[string]bool
	uses     map[string]bool // "weir/a/b.Name"
	selected map[string]bool // any name after a point, and the methods of interfaces
}

// add reads a file of the package. A test of a package offers nothing.
func (a *face) add(f *ast.File, test bool) {
	imports := map[string]string{}
	for _, i := range f.Imports {
		from := strings.Trim(i.Path.Value, `"`)
		name := path.Base(from)
		if i.Name != nil {
			name = i.Name.Name
		}
		imports[name] = from
		a.imports[from] = true
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			a.selected[n.Sel.Name] = true
			if of, ok := n.X.(*ast.Ident); ok && imports[of.Name] != "" {
				a.uses[imports[of.Name]+"."+n.Sel.Name] = true
			}
		case *ast.InterfaceType:
			for _, m := range n.Methods.List {
				for _, name := range m.Names {
					a.selected[name.Name] = true
				}
			}
		}
		return true
	})
	if test {
		return
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			a.function(d)
		case *ast.GenDecl:
			a.general(d)
		}
	}
}

func (a *face) function(d *ast.FuncDecl) {
	name := d.Name.Name
	if d.Recv != nil {
		if !ast.IsExported(receiver(d)) {
			return
		}
		name = receiver(d) + "." + name
	}
	if d.Name.IsExported() {
		a.offers[name] = d.Name.Pos()
		a.tell(d.Type)
	}
}

func (a *face) general(d *ast.GenDecl) {
	var list []string
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() {
				a.offers[s.Name.Name] = s.Name.Pos()
				a.tell(s.Type)
			}
		case *ast.ValueSpec:
			for _, name := range s.Names {
				if name.IsExported() {
					a.offers[name.Name] = name.Pos()
					list = append(list, name.Name)
				}
			}
			if s.Type != nil && len(list) > 0 {
				a.tell(s.Type)
			}
		}
	}
	if d.Tok == token.CONST {
		a.lists = append(a.lists, list)
	}
}

// tell notes the types of a signature, or of a type: of a struct's fields, the
// exported.
func (a *face) tell(n ast.Node) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StructType:
			for _, field := range n.Fields.List {
				if len(field.Names) == 0 || slices.ContainsFunc(field.Names, (*ast.Ident).IsExported) {
					a.tell(field.Type)
				}
			}
			return false
		case *ast.Ident:
			a.told[n.Name] = true
		}
		return true
	})
}

// unused returns what packages offer and no other uses, by the folder. A package
// that no other imports is new: those who will use it come after it.
func unused(all map[string]*face) map[string][]string {
	names := map[string][]string{}
	for folder, a := range all {
		if !slices.ContainsFunc(slices.Collect(maps.Values(all)), func(b *face) bool { return b.imports["weir/"+folder] }) {
			continue
		}
		outside := func(used func(*face) bool) bool {
			for other, b := range all {
				if other != folder && used(b) {
					return true
				}
			}
			return false
		}
		used := map[string]bool{}
		for name := range a.offers {
			_, method, isMethod := strings.Cut(name, ".")
			used[name] = a.told[name] || outside(func(b *face) bool {
				return b.uses["weir/"+folder+"."+name] || isMethod && b.selected[method]
			}) || isMethod && spoken[method] != ""
		}
		for _, list := range a.lists {
			if slices.ContainsFunc(list, func(name string) bool { return used[name] }) {
				for _, name := range list {
					used[name] = true
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(a.offers)) {
			if !used[name] && awaited[folder+"."+name] == "" {
				names[folder] = append(names[folder], name)
			}
		}
	}
	return names
}

func TestLaws_ExportedNamesAreUsedElsewhere(t *testing.T) {
	sources, files := sources(t)
	all := map[string]*face{}
	for _, s := range sources {
		folder := path.Dir(s.path)
		if all[folder] == nil {
			all[folder] = newFace()
		}
		all[folder].add(s.file, s.test() || !strings.HasPrefix(s.path, "plugins/") && !strings.HasPrefix(s.path, "internal/"))
	}
	for folder, names := range unused(all) {
		for _, name := range names {
			t.Errorf("%s: no other package uses %s: write it in lower case", files.Position(all[folder].offers[name]), name)
		}
	}
}

func newFace() *face {
	return &face{offers: map[string]token.Pos{}, told: map[string]bool{}, uses: map[string]bool{},
		imports: map[string]bool{}, selected: map[string]bool{}}
}

// What nobody else uses is seen, and what others need is not.
func TestLaws_AnExportedNameThatNobodyUsesIsSeen(t *testing.T) {
	all := map[string]*face{"a": newFace(), "b": newFace()}
	for folder, src := range map[string]string{
		"a": `package a
			type Used struct{ Field Told; hidden Untold }
			type Told int
			type Untold int
			func (Used) Called() {}
			func (Used) Uncalled() {}
			func (Used) String() string { return "" }
			func Alone() { Alone() }
			var Lost = 1
			const ( First = 1; Second = 2 )
			const Third = 3`,
		"b": `package b
			import other "weir/a"
			var x other.Used
			func f() { x.Called(); _ = other.First; Alone() }
			func Alone() {}`,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", src, 0)
		if err != nil {
			t.Fatal(err)
		}
		all[folder].add(f, folder == "b")
	}
	if got := strings.Join(unused(all)["a"], " "); got != "Alone Lost Third Untold Used.Uncalled" {
		t.Errorf("got %s", got)
	}
}
