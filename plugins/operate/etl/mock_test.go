package etl

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const tested = `{"name": "orders",
	"source": {"type": "csv", "path": "none.csv", "on_failure": "drop",
		"columns": [{"name": "id", "type": "int64"}, {"name": "a", "type": "decimal(9,2)"}, {"name": "j", "type": "json"}]},
	"steps": [{"filter": "this.id > 1"}, {"validate": {"column": "a", "not_null": true, "on_failure": "reject"}},
		{"validate": {"column": "a", "max": 100}}],
	"sinks": [{"format": "parquet", "url": "file://out", "object": "o.parquet"}],
	"rejects": {"url": "file://out", "object": "r.ndjson"},
	"tests": [TESTS]}`

func TestMock_ATestSaysWhatIsOtherwise(t *testing.T) {
	for _, c := range []struct{ test, difference string }{
		{`"rows": [{"id": 1}, {"id": 2, "a": 1.5, "j": {"b": 1.0, "a": []}}, {"id": 3}], "expect": {"filtered": 1, "dropped": 0,
			"rows": [{"id": 2, "a": "1.50", "j": {"a": [], "b": 1.0}}],
			"rejects": [{"row": 3, "step": 2, "reason": "column \"a\" is null"}]}`, ""},
		{`"rows": [], "expect": {"rows": []}`, ""},
		{`"lines": ["a,id,j", "1,2,", "x,2,", "1.5,3,\"{\"\"x\"\": 1}\""], "expect": {"dropped": 1,
			"rows": [{"id": 2, "a": "1", "j": null}, {"id": 3, "a": "1.5", "j": {"x": 1}}]}`, ""},
		{`"rows": [{"id": 2, "a": "200"}], "expect": {"fails": "row 1: step 3 (validate): column \"a\" is out of its range"}`, ""},
		{`"lines": ["id"], "expect": {"fails": "it has no column \"a\""}`, ""},
		{`"rows": [{"id": 2, "a": 1}, {"id": 3, "a": 1}], "expect": {"rows": [{"id": 3, "a": 1, "j": null}, {"id": 4, "a": 1, "j": null}]}`,
			`rows:|+ {"id":2,"a":"1.00","j":null}|- {"id":4,"a":"1.00","j":null}`},
		{`"rows": [{"id": 2}], "expect": {"rows": [], "rejects": [{"row": 1, "step": 2, "reason": "no"}]}`,
			`rejects:|- row 1, step 2: no|+ row 1, step 2: column "a" is null`},
		{`"rows": [{"id": 2}], "expect": {"rows": []}`, `rejects:|+ row 1, step 2: column "a" is null`},
		{`"rows": [{"id": 1}], "expect": {"rows": [], "filtered": 0}`, `filtered:|- 0|+ 1`},
		{`"rows": [{"id": 2, "a": 200}], "expect": {"rows": []}`,
			`+ fails: row 1: step 3 (validate): column "a" is out of its range`},
		{`"rows": [{"id": 2, "a": 2}], "expect": {"fails": "x"}`, `- fails: x`},
		{`"rows": [{"id": 2, "a": 200}], "expect": {"fails": "x"}`,
			`- fails: x|+ fails: row 1: step 3 (validate): column "a" is out of its range`},
	} {
		p, err := loaded(t, map[string]string{"p.json": strings.Replace(tested, "TESTS", `{"name": "t", `+c.test+"}", 1)})
		if err != nil {
			t.Errorf("%s: %v", c.test, err)
			continue
		}
		results, err := p.Test(t.Context(), time.Now)
		if err != nil || p.Tests() != 1 || len(results) != 1 || strings.Join(results[0].Difference, "|") != c.difference {
			t.Errorf("%s: %+v, %v", c.test, results, err)
		}
		if entries, err := os.ReadDir(p.dir); err != nil || len(entries) != 1 {
			t.Errorf("%s: the test left something: %v, %v", c.test, entries, err)
		}
	}
}

func TestMock_WhatIsWrongInATestIsNamedWithItsPlace(t *testing.T) {
	for test, says := range map[string]string{
		`{"rows": [], "expect": {"rows": []}}`:                                                                 `/tests/0: "name" is missing`,
		`{"name": "a", "expect": {"rows": []}}`:                                                                `/tests/0: expected either "rows" or "lines"`,
		`{"name": "a", "rows": []}`:                                                                            `/tests/0: "expect" is missing`,
		`{"name": "a", "rows": [], "expect": {}}`:                                                              `/tests/0/expect: expected either "rows" or "fails"`,
		`{"name": "a", "rows": [{"id": "1"}], "expect": {"rows": []}}`:                                         `/tests/0/rows/0/id: column "id": a text is no int64`,
		`{"name": "a", "rows": [{"x": 1}], "expect": {"rows": []}}`:                                            `/tests/0/rows/0/x: there is no such field`,
		`{"name": "a", "rows": [], "expect": {"rows": [{"id": 1}]}}`:                                           `/tests/0/expect/rows/0: column "a" is missing`,
		`{"name": "a", "rows": [], "expect": {"rows": [], "fails": "x"}}`:                                      `/tests/0/expect: expected either`,
		`{"name": "a", "rows": [], "expect": {"rows": [], "rejects": [{"row": 1, "reason": "x"}]}}`:            "expected row, step and reason",
		`{"name": "a", "lines": [], "expect": {"rows": []}}`:                                                   "begins with its header",
		`{"name": "a", "rows": [], "expect": {"rows": []}}, {"name": "a", "rows": [], "expect": {"rows": []}}`: "another test",
	} {
		_, err := loaded(t, map[string]string{"p.json": strings.Replace(tested, "TESTS", test, 1)})
		if !errors.As(err, new(*ProblemsError)) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: want %s, got %v", test, says, err)
		}
	}
}

// Tests are no work: a run that was interrupted goes on when they have changed.
func TestMock_TestsChangeNoPipeline(t *testing.T) {
	without, err := loaded(t, map[string]string{"p.json": strings.Replace(tested, "TESTS", "", 1)})
	if err != nil {
		t.Fatal(err)
	}
	with, err := loaded(t, map[string]string{"p.json": strings.Replace(tested, "TESTS", `{"$ref": "t.json"}`, 1),
		"t.json": `{"name": "a", "rows": [], "expect": {"rows": []}}`})
	if err != nil || with.Tests() != 1 || with.hash() != without.hash() {
		t.Errorf("%v: %s, %s", err, with.hash(), without.hash())
	}
}

// A difference turns one list into the other, and equal lists have none.
func TestDifference_TurnsOneIntoTheOther(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	lines := func() []string {
		all := make([]string, random.IntN(9))
		for i := range all {
			all[i] = string(rune('a' + random.IntN(3)))
		}
		return all
	}
	for range 3000 {
		a, b := lines(), lines()
		d := difference(a, b)
		counts := map[string]int{}
		for _, line := range a {
			counts[line]++
		}
		for _, line := range d {
			counts[line[2:]] += map[byte]int{'-': -1, '+': 1}[line[0]]
		}
		for _, line := range b {
			counts[line]--
		}
		for line, n := range counts {
			if n != 0 {
				t.Fatalf("%v to %v: %v leaves %d of %s", a, b, d, n, line)
			}
		}
		if slices.Equal(a, b) != (len(d) == 0) {
			t.Fatalf("%v to %v: %v", a, b, d)
		}
	}
	long := make([]string, mostDifference+1)
	for i := range long {
		long[i] = fmt.Sprint(i)
	}
	if d := difference(long, []string{"x"}); len(d) != 2 {
		t.Errorf("%d lines", len(d))
	}
}

// Each recipe is right, and its tests pass; one that reads files runs.
func TestRecipe_EachPassesItsTests(t *testing.T) {
	recipes, err := filepath.Glob("../../../recipes/*.json")
	if err != nil || len(recipes) < 6 {
		t.Fatal(recipes, err)
	}
	index, err := os.ReadFile("../../../recipes/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range recipes {
		p, err := Load(file)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		name := filepath.Base(file)
		if p.Name+".json" != name || !strings.Contains(string(index), "`"+name+"`") {
			t.Errorf("%s: its name is %s, and recipes/README.md must name it", file, p.Name)
		}
		results, err := p.Test(t.Context(), time.Now)
		if err != nil || len(results) == 0 {
			t.Errorf("%s: %d tests, %v", file, len(results), err)
		}
		for _, r := range results {
			if len(r.Difference) > 0 {
				t.Errorf("%s: %s:\n%s", file, r.Name, strings.Join(r.Difference, "\n"))
			}
		}
		switch p.source.(type) {
		case fileSource, unionSource:
		default:
			continue
		}
		out := t.TempDir()
		for i := range p.sinks {
			p.sinks[i].url = "file://" + out
		}
		if p.rejects != nil {
			p.rejects.url = "file://" + out
		}
		report, err := p.Run(t.Context(), options(t))
		if err != nil || report.Counts.Written == 0 {
			t.Errorf("%s: %+v, %v", file, report, err)
			continue
		}
		if findings, err := p.Audit(t.Context(), report); err != nil || len(findings) > 0 {
			t.Errorf("%s: %v, %v", file, findings, err)
		}
	}
}
