package etl

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// unnesting is a pipeline whose text k is taken for JSON.
func unnesting(t *testing.T, unnest, more string, lists ...string) *Pipeline {
	t.Helper()
	var rows []row
	for i, list := range lists {
		rows = append(rows, row{{list, list == "null"}, {text: fmt.Sprint(i)}, {null: true}, {null: true}, {null: true}})
	}
	return gathering(t, `{"derive": {"column": "j", "type": "json", "mapping": "root = if this.k == null { null } else { `+
		`this.k.parse_json() }"}}, {"select": ["n", "j"]}, {"unnest": `+unnest+`}`+more, 2, rows)
}

// Each element is a row, with what is beside the list, in the order of both.
func TestUnnest_EachElementIsARow(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 1))
	for range 10 {
		var lists, want []string
		made := 0
		for i := range random.IntN(20) {
			var elements []string
			for e := range random.IntN(4) {
				elements = append(elements, fmt.Sprintf(`{"sku": "s%d", "q": %d}`, e, i))
				want = append(want, fmt.Sprintf(`{"n":%d,"sku":"s%d","q":"%d.0"}`, i, e, i))
				made++
			}
			lists = append(lists, "["+strings.Join(elements, ",")+"]")
		}
		lists = append(lists, "null")
		p := unnesting(t, `{"column": "j", "columns": [{"name": "sku", "type": "text"}, {"name": "q", "type": "decimal(5,1)"}]}`,
			"", lists...)
		got, counts := rowsOf(t, p)
		planned, _ := p.plan(p.columns)
		var is []string
		for _, r := range got {
			is = append(is, shown(planned.columns(), r))
		}
		if strings.Join(is, "\n") != strings.Join(want, "\n") || counts.Combined != int64(len(lists)) ||
			counts.Made != int64(made) {
			t.Fatalf("%v\nwant\n%v\n%+v", is, want, counts)
		}
	}
}

func TestUnnest_WhatIsNoListIsRefused(t *testing.T) {
	const value = `{"column": "j", "value": {"name": "v", "type": "int16"}, "on_failure": "reject"`
	p := unnesting(t, value+`, "empty": "keep"}`, `, {"validate": {"column": "v", "max": 5, "on_failure": "drop"}},
		{"unique": {"by": ["v"], "on_failure": "reject"}}`, `[1, 2, 9]`, `[]`, `null`, `{"a": 1}`, `[3, "x"]`, `[2, null]`)
	got, counts := rowsOf(t, p)
	planned, _ := p.plan(p.columns)
	var is []string
	for _, r := range got {
		is = append(is, shown(planned.columns(), r))
	}
	if want := `{"n":0,"v":1}|{"n":0,"v":2}|{"n":1,"v":null}|{"n":2,"v":null}|{"n":5,"v":null}`; strings.Join(is, "|") != want ||
		counts.Rejected != 3 || counts.Dropped != 1 {
		t.Errorf("%v, %+v", is, counts)
	}
	if _, err := p.Run(t.Context(), options(t)); err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{`"row":4,"step":3,"reason":"column \"j\" is no list"`,
		`"row":5,"step":3,"reason":"column \"j\": element 2: a text is no int16"`,
		`"row":6,"step":5,"reason":"another row has the same v"`} {
		if !strings.Contains(contents(t, p)["r.ndjson"], says) {
			t.Errorf("want %s in\n%s", says, contents(t, p)["r.ndjson"])
		}
	}
	for unnest, says := range map[string]string{
		`{"column": "j"}`: `"columns" is missing`, `{"column": "n", "value": {"name": "v", "type": "text"}}`: `is int16: a list is json`,
		`{"column": "z", "value": {"name": "v", "type": "text"}}`: "no column", `{"column": "j", "value": {"name": "n", "type": "text"}}`: "two columns",
		`{"column": "j", "value": {"name": "v", "type": "text"}, "columns": []}`: "expected either",
	} {
		_, err := loaded(t, map[string]string{"p.json": strings.NewReplacer("BLOCK", "3", "STEPS",
			`{"derive": {"column": "j", "type": "json", "mapping": "this"}}, {"unnest": `+unnest+`}`).Replace(gathered)})
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "/steps/1") {
			t.Errorf("%s: want %s, got %v", unnest, says, err)
		}
	}
}
