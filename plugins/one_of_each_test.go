package plugins

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// law names one thing that is done in one place.
type law struct {
	name  string
	home  string                // the folder that does it for all
	other map[string]string     // files that may too, and why
	broke func(n ast.Node) bool // whether a node does it
}

var leaseUpdate = regexp.MustCompile(`(?is)\bUPDATE\b.*\bSET\b.*\b(lease_until|claimed_until)\b`)

func laws() []law {
	readers := []string{"FieldString", "FieldInt", "FieldBool", "FieldDuration", "FieldFloat", "FieldStringList",
		"FieldStringMap"}
	positions := []string{"ListStartOffsets", "ListEndOffsets", "ListCommittedOffsets", "ListOffsetsAfterMilli",
		"FetchOffsets", "FetchOffsetsForTopics", "FetchManyOffsets"}
	return []law{
		{name: "fields of a config are read by conf.Read", home: "internal/platform/conf", broke: calls(readers...)},
		{name: "positions in the log are read by kafka.Positions", home: "internal/platform/kafka",
			broke: calls(positions...), other: map[string]string{
				"internal/platform/broker/retention.go": "the broker itself, which passes over a partition that it cannot read",
				"plugins/operate/etl/sink_kafka.go":     "a note that is committed with what was written",
			}},
		{name: "JSON is answered by httpx", home: "internal/platform/httpx", broke: answersJSON, other: map[string]string{
			"plugins/ingest/gate/reply.go": "the hot path: an answer for each event that weir takes in, written without " +
				"building values",
			"plugins/ingest/registry/http.go": "Confluent's media type and error codes, which its clients expect",
		}},
		{name: "leases are taken, kept and given back by jobs.Table", home: "internal/platform/jobs", broke: updatesLease,
			other: map[string]string{
				"plugins/notify/alert/queue.go": "a delivery has no owner, and its row two keys: whoever sent it records that, " +
					"and frees it",
			}},
		{name: "folders for a while are made by tempdir.Make", home: "internal/platform/tempdir", broke: calls("MkdirTemp")},
	}
}

// calls tells of a call of a method by one of these names.
func calls(names ...string) func(ast.Node) bool {
	return func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		return ok && slices.Contains(names, sel.Sel.Name)
	}
}

// answersJSON tells of a header of an answer that is set to JSON, by name or by a
// constant; a request's header (req.Header.Set) is none.
func answersJSON(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CallExpr:
		set, ok := n.Fun.(*ast.SelectorExpr)
		if !ok || (set.Sel.Name != "Set" && set.Sel.Name != "Add") || len(n.Args) != 2 || !isContentType(n.Args[0]) {
			return false
		}
		if of, ok := set.X.(*ast.SelectorExpr); ok && of.Sel.Name == "Header" {
			return false
		}
		return isJSON(n.Args[1])
	case *ast.AssignStmt: // h["Content-Type"] = …
		for i, left := range n.Lhs {
			if at, ok := left.(*ast.IndexExpr); ok && isContentType(at.Index) && i < len(n.Rhs) {
				found := false
				ast.Inspect(n.Rhs[i], func(n ast.Node) bool {
					e, ok := n.(ast.Expr)
					found = found || ok && isJSON(e)
					return !found
				})
				return found
			}
		}
	}
	return false
}

func isContentType(e ast.Expr) bool {
	lit, ok := e.(*ast.BasicLit)
	return ok && strings.EqualFold(strings.Trim(lit.Value, "`\""), "Content-Type")
}

func isJSON(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return strings.Contains(strings.ToLower(e.Value), "json")
	case *ast.Ident: // typeJSON, registryMediaType
		name := strings.ToLower(e.Name)
		return strings.Contains(name, "json") || strings.Contains(name, "mediatype")
	}
	return false
}

// updatesLease tells of SQL that sets a lease by hand.
func updatesLease(n ast.Node) bool {
	lit, ok := n.(*ast.BasicLit)
	return ok && lit.Kind == token.STRING && leaseUpdate.MatchString(lit.Value)
}

// second finds where a file does what is another folder's. Excused is whether it
// does, and may by an exception.
func (l law) second(file string, f *ast.File) (at []token.Pos, excused bool) {
	if path.Dir(file) == l.home {
		return nil, false
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if n != nil && l.broke(n) {
			at = append(at, n.Pos())
		}
		return true
	})
	if l.other[file] != "" {
		return nil, len(at) > 0
	}
	return at, false
}

func TestLaws_OneWayForEachThing(t *testing.T) {
	all, files := sources(t)
	for _, l := range laws() {
		used, inHome := map[string]bool{}, false
		for _, s := range all {
			if s.test() || !strings.HasPrefix(s.path, "plugins/") && !strings.HasPrefix(s.path, "internal/") {
				continue
			}
			at, excused := l.second(s.path, s.file)
			for _, pos := range at {
				t.Errorf("%s: %s (%s)", files.Position(pos), l.name, l.home)
			}
			used[s.path] = excused
			inHome = inHome || path.Dir(s.path) == l.home
		}
		if !inHome {
			t.Errorf("%s: there is no %s", l.name, l.home)
		}
		for file := range l.other {
			if !used[file] {
				t.Errorf("%s: %s is an exception that nothing needs: take it out", l.name, file)
			}
		}
	}
}

// Each way of doing a thing a second time is seen, and what is like it is not.
func TestLaws_ASecondWayIsSeen(t *testing.T) {
	for _, c := range []struct {
		law    int
		body   string
		broken bool
	}{
		{0, `_, _ = c.FieldString("url")`, true},
		{0, `f := c.FieldDuration; _ = f`, true},
		{0, `_, _ = c.FieldStringList("a", "b")`, true},
		{0, `_, _ = c.FieldBatchPolicy("batching")`, false},
		{1, `_, _ = admin.ListEndOffsets(ctx, "t")`, true},
		{1, `ask := admin.ListCommittedOffsets; _ = ask`, true},
		{1, `_, _ = admin.FetchOffsetsForTopics(ctx, "g", "t")`, true},
		{1, `_ = admin.CommitAllOffsets(ctx, "g", o)`, false},
		{2, `w.Header().Set("Content-Type", "application/json")`, true},
		{2, `w.Header().Set("content-type", "application/problem+json; charset=utf-8")`, true},
		{2, `h := w.Header(); h["Content-Type"] = []string{typeJSON}`, true},
		{2, `req.Header.Set("Content-Type", "application/json")`, false},
		{2, `w.Header().Set("Content-Type", "text/csv")`, false},
		{3, "_, _ = db.Exec(`UPDATE job SET owner = $1, lease_until = $2 WHERE id = $3`)", true},
		{3, "_, _ = db.Exec(`update x\nset claimed_until = 0`)", true},
		{3, "_, _ = db.Exec(`SELECT 1 FROM job WHERE lease_until > $1`)", false},
		{4, `_, _ = os.MkdirTemp("", "x-")`, true},
		{4, `_, _ = os.CreateTemp(dir, "x-")`, false},
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nfunc f() {\n"+c.body+"\n}\n", 0)
		if err != nil {
			t.Fatalf("%s: %v", c.body, err)
		}
		l := laws()[c.law]
		if at, _ := l.second("plugins/serve/x/x.go", f); (len(at) > 0) != c.broken {
			t.Errorf("%s: seen %v, want %v: %s", l.name, len(at) > 0, c.broken, c.body)
		}
		if at, _ := l.second(l.home+"/x.go", f); len(at) > 0 {
			t.Errorf("%s: its home may not: %s", l.name, c.body)
		}
	}
}

// folders reads the folders of the tree in a page: an entry's depth is how far it
// is indented, by two.
func folders(page string) (all []string) {
	_, tree, _ := strings.Cut(page, "```text\nplugins/")
	tree, _, _ = strings.Cut("plugins/"+tree, "\n```")
	var at []string
	for line := range strings.Lines(tree) {
		name := strings.TrimLeft(line, " ")
		depth := (len(line) - len(name)) / 2
		name, _, ok := strings.Cut(name, "/")
		if ok && depth <= len(at) {
			at = append(at[:depth:depth], name)
			all = append(all, strings.Join(at, "/"))
		}
	}
	return all
}

// untrue says what a tree of folders leaves out of those with Go files, and what
// it has that is on the way to none of them.
func untrue(told, there []string) (wrong []string) {
	for _, folder := range there {
		if !slices.Contains(told, folder) {
			wrong = append(wrong, folder+" is not in the tree")
		}
	}
	for i, folder := range told {
		if slices.Contains(told[:i], folder) {
			wrong = append(wrong, folder+" is in the tree twice")
		}
		if !slices.ContainsFunc(there, func(f string) bool { return strings.HasPrefix(f+"/", folder+"/") }) {
			wrong = append(wrong, folder+" is in the tree, and is gone")
		}
	}
	return wrong
}

func TestLaws_TheTreeOfRoomsIsTrue(t *testing.T) {
	page, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{"plugins/ingest/gate/ingestpb": true} // generated: sources leaves it out
	all, _ := sources(t)
	for _, s := range all {
		if strings.HasPrefix(s.path, "plugins/") || strings.HasPrefix(s.path, "internal/") {
			there[path.Dir(s.path)] = true
		}
	}
	for _, wrong := range untrue(folders(string(page)), slices.Sorted(maps.Keys(there))) {
		t.Errorf("docs/architecture.md, The rooms: %s", wrong)
	}
	told := folders("```text\nplugins/  p\n  a/  x\n    b/  y\n  c/  z\n```")
	if got := strings.Join(told, " "); got != "plugins plugins/a plugins/a/b plugins/c" {
		t.Errorf("a tree is read as %s", got)
	}
	if got := untrue(told, []string{"plugins/a/b", "plugins/d"}); len(got) != 2 {
		t.Errorf("one folder is left out and one is gone: %q", got)
	}
}
