package etl

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
)

var update = flag.Bool("update", false, "write testdata/lineage.txt anew")

// What a mapping reads, with the places where `this` is another.
func TestReadsOf_EachFormOfAMapping(t *testing.T) {
	columns := make([]column, 0, 8)
	for _, name := range []string{"id", "amount", "items", "price", "a.b", "é", "kind", "name"} {
		columns = append(columns, column{name: name})
	}
	for mapping, want := range map[string]string{
		`this.id`:                              "id",
		`this.id.string() + this.name`:         "id name",
		`root = this.amount * this.price`:      "amount price",
		`price * 2`:                            "price",
		`"price"`:                              "",
		`42`:                                   "",
		`now()`:                                "",
		`this."a.b"`:                           "a.b",
		`this."é" + "this.id"`:                 "é",
		`this.other.id`:                        "",
		`this.items.map_each(this.price)`:      "items",
		`this.items.map_each(i -> i.price)`:    "items",
		`this.items.map_each(i -> this.price)`: "items price",
		`this.items.map_each(price -> price.sum)`:                   "items",
		`this.items.filter(this.id > 1).length()`:                   "items",
		`this.items.fold(0, item -> item.tally + item.value.price)`: "items",
		`this.kind.or(this.name)`:                                   "kind name",
		`this.kind.catch(this.name)`:                                "kind name",
		`this.name.slice(0, this.id)`:                               "id name",
		`this.items.(price | amount)`:                               "items",
		`(this.price | this.amount)`:                                "amount price",
		`match this.kind { this == "a" => 1, _ => 2 }`:              "kind",
		`match { this.kind == "a" => this.id, _ => 2 }`:             "id kind",
		`root = match this.items { this.id == 1 => this.price
  _ => "x" }`: "items",
		`root = if this.id > 1 { this.name } else { null }`:           "id name",
		"let x = this.price # this.id\nroot = $x + this.name":         "name price",
		"map m { root = this.price }\nroot = this.items.apply(\"m\")": "items",
		`{"price": this.id, "n": [this.name]}`:                        "id name",
		`this`:                                                        "*",
		`this.without("id")`:                                          "*",
		`this.get("id")`:                                              "*",
		`this.map_each(x -> x)`:                                       "*",
		`this.(id + amount)`:                                          "*",
		`root = if this.id > 1 { this.name }`:                         "*", // else it is the row
		`nothing()`:                                                   "*",
		`root = """this.id"""`:                                        "",
		`this.name.replace_all("\"", "this.id")`:                      "name",
		`this.name.re_match("^\\d{2}") && !this.kind.contains("(")`:   "kind name",
	} {
		if _, err := bloblang.Parse(mapping); err != nil {
			t.Errorf("%s: it is no mapping: %v", mapping, err)
		}
		is := readsOf(mapping, columns)
		if want == "*" {
			want = strings.Join(names(columns), " ")
		}
		wanted := strings.Fields(want)
		slices.Sort(wanted)
		if slices.Sort(is); !slices.Equal(is, wanted) {
			t.Errorf("%s reads %v, expected %v", mapping, is, wanted)
		}
	}
}

// What a mapping does not read changes nothing of what it says: each column of a
// row is taken away and set to something else.
func TestReadsOf_NoOtherColumnMatters(t *testing.T) {
	row := map[string]any{"id": int64(7), "name": "ann", "kind": "b", "amount": 2.5,
		"items": []any{map[string]any{"id": int64(1), "price": 3.0}, map[string]any{"id": int64(7), "price": 1.0}}}
	columns := make([]column, 0, len(row))
	for name := range row {
		columns = append(columns, column{name: name})
	}
	for _, mapping := range []string{
		`this.items.map_each(i -> i.price * this.amount)`, `this.items.filter(i -> i.id == this.id).index(0).price`,
		`this.items.map_each(this.price).sum()`, `match this.kind { this == "b" => "x", _ => "y" }`,
		`this.name.slice(0, this.id - 5)`, `root = if this.id > 5 { this.name } else { this.kind }`,
		`let a = this.id
root.n = $a
root.k = this.kind.uppercase()`, `this.items.(this.index(0)).price.or(this.amount)`, `id + 1`,
		`this.items.sort_by(i -> i.price).index(0).id`, `this.items.any(i -> i.id == this.id)`,
		`this.items.fold(0, item -> item.tally + item.value.price)`, `this.items.map(x -> x.length())`,
		`(this.nothing_there | this.name)`, `this.name.catch("x") + this.kind.or("y")`, `this.format_json().length()`,
		`match { this.id > 5 && this.kind == "b" => this.name, _ => "none" }`,
		`[this.id, this.name].join("-").or(this.kind)`, `{"a": {"b": this.amount}}.a.b`,
	} {
		exe, err := bloblang.Parse(mapping)
		if err != nil {
			t.Fatalf("%s: %v", mapping, err)
		}
		say := func(r map[string]any) any {
			v, err := exe.Query(r)
			if err != nil {
				return "it fails" // what it says of it may quote the row
			}
			return v
		}
		want, read := say(maps.Clone(row)), readsOf(mapping, columns)
		for name := range row {
			if slices.Contains(read, name) {
				continue
			}
			for _, other := range []any{nil, "other", int64(99), []any{}} {
				changed := maps.Clone(row)
				changed[name] = other
				if is := say(changed); !reflect.DeepEqual(is, want) {
					t.Errorf("%s reads %v, but with another %s it says %v and not %v", mapping, read, name, is, want)
				}
			}
		}
	}
}

// A method of a newer engine whose argument is a query is looked at, before it is
// taken for one that leaves `this` alone.
func TestReadsOf_KnowsEachMethodThatTakesAQuery(t *testing.T) {
	leaves := []string{"catch", "or"} // `this` as it is
	bloblang.GlobalEnvironment().WalkMethods(func(name string, spec *bloblang.MethodView) {
		for _, p := range spec.TemplateData().Params.Definitions {
			if p.ValueType == "query expression" && !slices.Contains(contextual, name) && !slices.Contains(leaves, name) {
				t.Errorf("the argument of %s is a query: is `this` another in it?", name)
			}
		}
	})
}

// lineageOf is that of a recipe, with the columns that its tests say.
func lineageOf(t *testing.T, p *Pipeline) *Lineage {
	t.Helper()
	columns, mocked := p.columns, *p
	if len(p.tests) > 0 {
		columns, mocked.tables = p.tests[0].columns, p.tests[0].tables
	}
	planned, problems := mocked.plan(columns)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return mocked.lineage(columns, planned)
}

// Each column of the sinks of each recipe comes of columns of its sources that are
// there, or of the rows, or is said to come of none; and so does what is written.
func TestLineage_OfEachRecipe(t *testing.T) {
	files, err := filepath.Glob("../../../recipes/*.json")
	if err != nil || len(files) < 6 {
		t.Fatal(files, err)
	}
	docs, err := os.ReadFile("../../../docs/etl.md")
	if err != nil {
		t.Fatal(err)
	}
	var golden strings.Builder
	for _, file := range files {
		p, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		l := lineageOf(t, p)
		golden.WriteString("# " + p.Name + "\n" + strings.Join(l.Text(), "\n") + "\n\n")
		if len(l.Columns) == 0 || len(l.Sinks) != len(p.sinks) {
			t.Errorf("%s: %d columns, %v", p.Name, len(l.Columns), l.Sinks)
		}
		if picture := strings.Join(l.Mermaid(), "\n"); p.Name == "readings_by_site" &&
			!strings.Contains(string(docs), "```mermaid\n"+picture+"\n```") {
			t.Errorf("docs/etl.md has another picture of %s:\n%s", p.Name, picture)
		}
		for _, c := range l.Columns {
			if c.Constant != (len(c.From)+len(c.By) == 0) && !strings.Contains(stepList(c.Steps), "count") {
				t.Errorf("%s: column %s comes of nothing, and is not said to", p.Name, c.Column)
			}
			for _, o := range slices.Concat(c.From, c.By) {
				if !slices.ContainsFunc(l.Sources, func(s LineageSource) bool { return s.Name == o.Source }) {
					t.Errorf("%s: column %s comes of %s, which is no source", p.Name, c.Column, o)
				}
				if strings.HasPrefix(o.Source, "source") && indexOf(p.tests[0].columns, o.Column) < 0 {
					t.Errorf("%s: column %s comes of %s, which the source has not", p.Name, c.Column, o)
				}
			}
		}
		if raw, err := json.Marshal(l); err != nil || strings.Contains(string(raw), "null") {
			t.Errorf("%s: %s, %v", p.Name, raw, err)
		}
	}
	const kept = "testdata/lineage.txt"
	if *update {
		if err := os.WriteFile(kept, []byte(golden.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	if d := difference(strings.Split(string(want), "\n"), strings.Split(golden.String(), "\n")); len(d) > 0 {
		t.Errorf("the lineage is another (-update keeps it):\n%s", strings.Join(d, "\n"))
	}
}

// One pipeline with a step of each kind, and what is hard in each.
func TestLineage_ThroughEachStep(t *testing.T) {
	p := ofText(t, `{
  "name": "all",
  "source": { "type": "union", "sources": [
    { "type": "ndjson", "path": "a.ndjson", "columns": [
      {"name": "id", "type": "int64"}, {"name": "items", "type": "json"},
      {"name": "site", "type": "text"}, {"name": "note", "type": "text"}] },
    { "type": "ndjson", "path": "b.ndjson", "columns": [
      {"name": "note", "type": "text"}, {"name": "id", "type": "int64"},
      {"name": "items", "type": "json"}, {"name": "site", "type": "text"}] } ] },
  "steps": [
    { "filter": "this.note != null" },
    { "rename": {"id": "site", "site": "id"} },
    { "unnest": { "column": "items", "columns": [
      {"name": "sku", "type": "text"}, {"name": "price", "type": "int64"}] } },
    { "lookup": { "name": "names", "source": { "type": "csv", "path": "n.csv",
      "columns": [{"name": "key", "type": "text"}, {"name": "called", "type": "text"}] },
      "on": {"id": "key"}, "columns": {"called": "name"}, "on_failure": "drop" } },
    { "derive": { "column": "price", "type": "int64", "mapping": "this.price * 2" } },
    { "derive": { "column": "unit", "type": "text", "mapping": "\"EUR\"" } },
    { "validate": { "column": "sku", "not_null": true, "on_failure": "drop" } },
    { "aggregate": { "by": ["name", "unit"], "columns": [
      {"column": "total", "sum": "price"}, {"column": "rows", "count": "*"}] } },
    { "select": ["total", "rows", "name", "unit"] } ],
  "sinks": [{ "format": "parquet", "url": "file://out", "object": "x" }] }`)
	const both = "source 1.%, source 2.%"
	of := func(column string) string { return strings.ReplaceAll(both, "%", column) }
	want := map[string][3]string{
		"total": {of("items"), "lookup names.called, lookup names.key, " + of("site"), "3 unnest, 5 derive, 8 aggregate sum"},
		"rows":  {"", "lookup names.called, lookup names.key, " + of("site"), "8 aggregate count"},
		"name":  {"lookup names.called", "lookup names.key, " + of("site"), "4 lookup"},
		"unit":  {"", "", "6 derive"},
	}
	l := lineageOf(t, p)
	for _, c := range l.Columns {
		is := [3]string{originList(c.From), originList(c.By), stepList(c.Steps)}
		if is != want[c.Column] || c.Constant != (c.Column == "unit") {
			t.Errorf("%s: %q, expected %q; constant %v", c.Column, is, want[c.Column], c.Constant)
		}
	}
	var rows []string
	for _, s := range l.Rows {
		rows = append(rows, stepList([]LineageStep{s})+" "+originList(s.Columns))
	}
	if want := []string{"1 filter " + of("note"), "3 unnest " + of("items"), "4 lookup " + of("site"),
		"7 validate " + of("items"), "8 aggregate lookup names.called"}; !slices.Equal(rows, want) {
		t.Errorf("%q, expected %q", rows, want)
	}
}

// A picture has each column once, and its lines join what is there; nothing that
// stands in a pipeline ends a text of it.
func TestLineage_Mermaid(t *testing.T) {
	p := ofText(t, `{ "name": "odd",
  "source": { "type": "csv", "path": "a\"]; end #.csv", "columns": [
    {"name": "a\"b] --> c", "type": "text"}, {"name": "end", "type": "text"}] },
  "steps": [{ "rename": {"end": "subgraph <b>"} }],
  "sinks": [{ "format": "ndjson", "url": "file://out", "object": "x" }] }`)
	is := strings.Join(lineageOf(t, p).Mermaid(), "\n")
	want := `flowchart LR
  subgraph s0["source: csv file a#quot;]; end #35;.csv"]
    s0c0["a#quot;b] --#gt; c"]
    s0c1["end"]
  end
  subgraph to["x as ndjson"]
    to0["a#quot;b] --#gt; c text"]
    to1["subgraph #lt;b#gt; text"]
  end
  s0c0 --> to0
  s0c1 -->|"1 rename"| to1`
	if is != want {
		t.Errorf("%s\nexpected\n%s", is, want)
	}
}

func ofText(t *testing.T, text string) *Pipeline {
	t.Helper()
	p, err := loaded(t, map[string]string{"p.json": text})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
