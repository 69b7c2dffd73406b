package plugins

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tables finds the tables that a file of Go makes, as far as a row of them tells
// of a fleet or a device.
func tables(file *ast.File) (found []string) {
	create := regexp.MustCompile(`CREATE TABLE (?:IF NOT EXISTS )?(\w+)\s*\(([^;]*)`)
	column := regexp.MustCompile(`\b(fleet|device|device_id|devices TEXT)\b`)
	ast.Inspect(file, func(n ast.Node) bool {
		text := ""
		switch n := n.(type) {
		case *ast.BinaryExpr: // of parts: what lies between them is not known
			text = concatenated(n)
		case *ast.BasicLit:
			text, _ = strconv.Unquote(n.Value)
		}
		for _, m := range create.FindAllStringSubmatch(text, -1) {
			if column.MatchString(m[2]) && !slices.Contains(found, m[1]) {
				found = append(found, m[1])
			}
		}
		return true
	})
	return found
}

func concatenated(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return concatenated(e.X) + " " + concatenated(e.Y)
	case *ast.BasicLit:
		text, _ := strconv.Unquote(e.Value)
		return text
	}
	return "x"
}

// Tombstones outlive what they are about, and name a device by a hash.
func outlives(table string) bool { return table == "erased" }

func TestLaws_EveryTableOfAFleetHasAStore(t *testing.T) {
	known := map[string]bool{}
	for _, kind := range stores() {
		for _, table := range kind.Tables {
			known[table] = true
		}
	}
	all, _ := sources(t)
	found := 0
	for _, s := range all {
		if s.test() || strings.HasPrefix(s.path, "tests/") {
			continue
		}
		for _, table := range tables(s.file) {
			if found++; !known[table] && !outlives(table) {
				t.Errorf("%s makes table %s, which has rows of a fleet and is in no store of plugins.go: "+
					"neither retention nor an erasure knows it", s.path, table)
			}
		}
	}
	if found < 10 {
		t.Fatalf("found only %d tables", found)
	}
	if err := stores().Check(); err != nil {
		t.Error(err)
	}
}

func TestLaws_ATableWithoutAStoreIsSeen(t *testing.T) {
	for text, want := range map[string]string{
		"`CREATE TABLE toy (id TEXT, fleet TEXT)`":                    "toy",
		"`CREATE TABLE a (id TEXT); CREATE TABLE b (device_id)`":      "b",
		"`CREATE TABLE toy (hash ` + blob + ` NOT NULL, fleet TEXT)`": "toy",
		"`CREATE TABLE IF NOT EXISTS toy (devices TEXT)`":             "toy",
		"`CREATE TABLE toy (id TEXT PRIMARY KEY)`":                    "",
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nvar blob = ``\nvar _ = "+text, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(tables(file), " "); got != want {
			t.Errorf("%s: found %q, expected %q", text, got, want)
		}
	}
}
