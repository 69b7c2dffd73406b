package plugins

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/plugins/operate/tracing"
)

type source struct {
	path string // relative to the repository
	room string // its folder below plugins, such as ingest/gate, or ""
	file *ast.File
	size int
}

func (s source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

func sources(t *testing.T) (all []source, files *token.FileSet) {
	t.Helper()
	files = token.NewFileSet()
	root := ".."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "data") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(files, path, raw, parser.ParseComments)
		if err != nil {
			return err
		}
		if ast.IsGenerated(f) {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		s := source{path: filepath.ToSlash(rel), file: f, size: strings.Count(string(raw), "\n")}
		if in, ok := strings.CutPrefix(filepath.ToSlash(filepath.Dir(s.path)), "plugins/"); ok {
			s.room = in
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("found only %d Go files", len(all))
	}
	return all, files
}

func TestLaws_NothingHappensAtImport(t *testing.T) {
	all, files := sources(t)
	for _, s := range all {
		for _, d := range s.file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s has an init function: register explicitly", files.Position(fn.Pos()))
			}
		}
	}
}

func TestLaws_FilesAreShortAndNamesSayWhatTheyHold(t *testing.T) {
	all, _ := sources(t)
	for _, s := range all {
		if s.size > 500 {
			t.Errorf("%s has %d lines: at most 500", s.path, s.size)
		}
		if name := s.file.Name.Name; slices.Contains([]string{"util", "utils", "common", "types", "helpers"}, name) {
			t.Errorf("%s: package %s says nothing", s.path, name)
		}
	}
}

func TestLaws_MainIsShort(t *testing.T) {
	raw, err := os.ReadFile("../main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(raw), "\n"); n >= 80 {
		t.Errorf("main.go has %d lines: under 80", n)
	}
}

// ours lists the components that Register adds, by type and name.
func ours(t *testing.T) (env *service.Environment, added map[string]*service.ConfigView) {
	t.Helper()
	upstream, env, registered := map[string]bool{}, service.NewEnvironment(), false
	walk := func(env *service.Environment, visit func(string, *service.ConfigView)) {
		in := func(kind string) func(string, *service.ConfigView) {
			return func(name string, c *service.ConfigView) { visit(kind+" "+name, c) }
		}
		env.WalkInputs(in("input"))
		env.WalkOutputs(in("output"))
		env.WalkProcessors(in("processor"))
		env.WalkCaches(in("cache"))
		env.WalkRateLimits(in("rate_limit"))
		env.WalkBuffers(in("buffer"))
		env.WalkMetrics(in("metrics"))
		env.WalkTracers(func(name string, c *service.ConfigView) {
			if name != "otlp" || registered { // of the global environment, where an earlier test may have left it
				visit("tracer "+name, c)
			}
		})
		env.WalkScanners(in("scanner"))
	}
	walk(env, func(name string, _ *service.ConfigView) { upstream[name] = true })
	before := len(upstream)
	env = env.Clone()
	// The engine walks the tracers of its global environment, whichever it is asked for.
	if err := errors.Join(Register(env), tracing.Register(service.GlobalEnvironment())); err != nil {
		t.Fatal(err)
	}
	registered = true
	added, after := map[string]*service.ConfigView{}, 0
	walk(env, func(name string, c *service.ConfigView) {
		after++
		if !upstream[name] {
			added[name] = c
		}
	})
	if len(added) < 5 || after != before+len(added) {
		t.Fatalf("found %d components of ours beside %d of upstream's", len(added), before)
	}
	return env, added
}

func TestLaws_ComponentsTakeNoUpstreamName(t *testing.T) {
	all, _ := sources(t)
	_, added := ours(t)
	registered := 0
	for _, s := range all {
		if s.room == "" || s.test() {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) < 3 {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !strings.HasPrefix(sel.Sel.Name, "Register") {
				return true
			}
			if name, ok := call.Args[0].(*ast.BasicLit); ok {
				registered++
				kind := strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(sel.Sel.Name, "Register"), "Batch"))
				if _, ok := added[kind+" "+strings.Trim(name.Value, `"`)]; !ok {
					t.Errorf("%s registers %s %s, a name that upstream has taken or that Register does not reach", s.path, kind,
						name.Value)
				}
			}
			return true
		})
	}
	if registered == 0 {
		t.Fatal("found no registration")
	}
}
