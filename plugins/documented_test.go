package plugins

import (
	"go/ast"
	"strings"
	"testing"
)

// conventional are methods whose names say their contract.
var conventional = map[string]bool{"Error": true, "String": true, "Unwrap": true, "ServeHTTP": true, "Len": true,
	"Less": true, "Swap": true}

// undocumented returns the exported names of a file that no comment describes.
func undocumented(f *ast.File) (names []*ast.Ident) {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			hidden := d.Recv != nil && !ast.IsExported(receiver(d))
			if d.Name.IsExported() && d.Doc == nil && !hidden && !(d.Recv != nil && conventional[d.Name.Name]) {
				names = append(names, d.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() && s.Doc == nil && d.Doc == nil {
						names = append(names, s.Name)
					}
				case *ast.ValueSpec:
					for _, name := range s.Names {
						if name.IsExported() && s.Doc == nil && d.Doc == nil && s.Comment == nil {
							names = append(names, name)
						}
					}
				}
			}
		}
	}
	return names
}

// receiver is the name of a method's type.
func receiver(d *ast.FuncDecl) string {
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	switch t := t.(type) {
	case *ast.Ident:
		return t.Name
	case *ast.IndexExpr:
		if id, ok := t.X.(*ast.Ident); ok {
			return id.Name
		}
	}
	return ""
}

func TestLaws_ExportedNamesAreDocumented(t *testing.T) {
	all, files := sources(t)
	packages := map[string]bool{} // whether a file of it has a package comment
	for _, s := range all {
		if s.test() || s.file.Name.Name == "main" || strings.HasPrefix(s.path, "tests/") {
			continue
		}
		folder := s.path[:strings.LastIndex(s.path, "/")]
		packages[folder] = packages[folder] || s.file.Doc != nil
		for _, name := range undocumented(s.file) {
			t.Errorf("%s: %s needs a comment: contract, units, errors", files.Position(name.Pos()), name.Name)
		}
	}
	for folder, has := range packages {
		if !has {
			t.Errorf("%s has no package comment", folder)
		}
	}
	if len(packages) < 20 {
		t.Fatalf("looked at only %d packages", len(packages))
	}
}
