package etl

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const united = `{"name": "u", "block": 2, "source": {"type": "union", "on_failure": "reject", "sources": [
		{"type": "csv", "path": "a.csv", "columns": [{"name": "id", "type": "int64"}, {"name": "x", "type": "text"}]},
		{"type": "csv", "path": "b.csv", "columns": [{"name": "x", "type": "text"}, {"name": "id", "type": "int64"}]},
		{"type": "ndjson", "path": "c.ndjson", "columns": [{"name": "id", "type": "int64"}, {"name": "x", "type": "text"}]}]},
	"sinks": [{"format": "csv", "url": "file://out", "object": "o.csv"}],
	"rejects": {"url": "file://out", "object": "r.ndjson"}}`

func unitedFiles() map[string]string {
	return map[string]string{"p.json": united, "a.csv": "id,x\n1,a\n2,b\n3,c\n", "b.csv": "x,id\n",
		"c.ndjson": "{\"id\": 4, \"x\": \"d\"}\n{\"id\": \"5\", \"x\": \"e\"}\n{\"id\": 6, \"x\": null}\n"}
}

// Sources are read one after the other, with their columns in the order of the
// first, and a run that broke off goes on in the right one of them.
func TestUnion_ReadsEachSourceOnce(t *testing.T) {
	for after := 1; after <= 7; after++ {
		files := unitedFiles()
		if after%2 == 0 { // a source without rows is passed over, one with some is read
			files["b.csv"] += "z,9\n"
		}
		p, err := loaded(t, files)
		if err != nil {
			t.Fatal(err)
		}
		want := "id,x\n1,a\n2,b\n3,c\n4,d\n6,\n"
		if after%2 == 0 {
			want = "id,x\n1,a\n2,b\n3,c\n9,z\n4,d\n6,\n"
		}
		o, n, on := options(t), after, false
		o.Tell = func(line string) { on = on || strings.HasPrefix(line, "going on with run") }
		p.source = breaking{p.source, &n, errors.New("the cable is out")}
		if _, err := p.Run(t.Context(), o); err == nil {
			t.Fatalf("after %d rows it did not break", after)
		}
		r, err := p.Run(t.Context(), o)
		if err != nil || on != (after > 2) || contents(t, p)["o.csv"] != want || r.Counts.Rejected != 1 {
			t.Errorf("after %d rows: %v, went on: %t\n%s", after, err, on, contents(t, p)["o.csv"])
			continue
		}
		if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 {
			t.Errorf("%v, %v", findings, err)
		}
	}
}

func TestUnion_ColumnsAreTheSameInEach(t *testing.T) {
	for says, change := range map[string][2]string{
		`p.json: /source/sources/1: column "id" is int32, and int64 in the first source`: {
			`{"name": "x", "type": "text"}, {"name": "id", "type": "int64"}`, `{"name": "x", "type": "text"}, {"name": "id", "type": "int32"}`},
		`p.json: /source/sources/1: it has no column "id"`: {`{"name": "x", "type": "text"}, {"name": "id", "type": "int64"}`,
			`{"name": "x", "type": "text"}`},
		`p.json: /source/sources/1: it has a column "y"`:               {`[{"name": "x"`, `[{"name": "y", "type": "text"}, {"name": "x"`},
		`p.json: /source/sources/0/type: expected one of`:              {`{"type": "csv", "path": "a.csv"`, `{"type": "union", "path": "a.csv"`},
		`p.json: /source/sources/2/on_failure: there is no such field`: {`"path": "c.ndjson"`, `"path": "c.ndjson", "on_failure": "drop"`},
	} {
		files := unitedFiles()
		files["p.json"] = strings.Replace(united, change[0], change[1], 1)
		if _, err := loaded(t, files); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %s, got %v", says, err)
		}
	}
	// of sources that say their columns themselves, a run knows when it opens them
	p, err := loaded(t, unitedFiles())
	if err != nil {
		t.Fatal(err)
	}
	p.columns = nil
	p.source = unionSource{[]source{mockSource{[]column{{"id", columnType{kind: kindInt64}}}, nil},
		mockSource{[]column{{"id", columnType{kind: kindText}}}, nil}}}
	if _, err := p.Run(t.Context(), options(t)); !Final(err) || !strings.Contains(err.Error(),
		`opening source 2, rows of a test: column "id" is text, and int64`) {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "b.csv"), []byte("y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err = Load(filepath.Join(p.dir, "p.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Plan(t.Context()); err == nil || !strings.Contains(err.Error(), "reading the header of b.csv") {
		t.Error(err)
	}
}

// A check is of all rows: it lets them go on, or the sinks stay as they were.
func TestCheck_IsOfAllRows(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	at := func(text string) row {
		return row{{null: true}, {null: true}, {null: true}, {null: true}, {text, text == ""}}
	}
	rows := []row{at("2026-11-27T11:00:00Z"), at("2026-11-27T11:00:00.5Z"), at("")}
	const fresh = `{"check": {"column": "at", "max_age": "%s"}}`
	for _, c := range []struct {
		step string
		rows []row
		says string
	}{
		{`{"check": {"min_rows": 3, "max_rows": 3}}`, rows, ""}, {`{"check": {"max_rows": 0}}`, nil, ""},
		{`{"check": {"min_rows": 4}}`, rows, "step 1 (check): 3 rows are fewer than 4"},
		{`{"check": {"min_rows": 1}}`, nil, "0 rows are fewer than 1"},
		{`{"check": {"max_rows": 2}}`, rows, "3 rows are more than 2"},
		{fmt.Sprintf(fresh, "59m59.5s"), rows, ""},
		{fmt.Sprintf(fresh, "59m59.4s"), rows, `the newest value of column "at" is 1h0m0s old, and more than 59m59.4s`},
		{fmt.Sprintf(fresh, "1h"), rows[2:], `column "at" has no value`},
		{`{"filter": "this.at == null"}, {"check": {"min_rows": 2}}`, rows, "step 2 (check): 1 rows are fewer than 2"},
	} {
		p, o := gathering(t, c.step, 2, c.rows), options(t)
		o.Now = func() time.Time { return now }
		r, err := p.Run(t.Context(), o)
		if c.says == "" {
			if err != nil || r.Counts.Written != int64(len(c.rows)) || r.Counts.unexplained() != 0 {
				t.Errorf("%s: %+v, %v", c.step, r, err)
			}
			continue
		}
		if !Final(err) || !strings.Contains(err.Error(), c.says) || len(contents(t, p)) > 0 {
			t.Errorf("%s: want %s, got %v; there is %v", c.step, c.says, err, contents(t, p))
		}
	}
	for step, says := range map[string]string{
		`{"check": {}}`: "it asks for nothing", `{"check": {"min_rows": 2, "max_rows": 1}}`: "no number is in it",
		`{"check": {"column": "at"}}`: "go together", `{"check": {"column": "at", "max_age": "soon"}}`: "expected a time",
		`{"check": {"column": "k", "max_age": "1h"}}`: `column "k" is text`, `{"check": {"column": "z", "max_age": "1h"}}`: "no column",
		`{"validate": {"column": "n", "one_of": ["1"]}}`: "so is one_of", `{"validate": {"column": "k", "one_of": []}}`: "each once",
	} {
		_, err := loaded(t, map[string]string{"p.json": strings.NewReplacer("BLOCK", "3", "STEPS", step).Replace(gathered)})
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "/steps/0") {
			t.Errorf("%s: want %s, got %v", step, says, err)
		}
	}
}

func TestValidate_OneOf(t *testing.T) {
	of := func(text string) row {
		return row{{text, text == "null"}, {null: true}, {null: true}, {null: true}, {null: true}}
	}
	got, counts := rowsOf(t, gathering(t, `{"validate": {"column": "k", "one_of": ["a", ""], "on_failure": "drop"}}`, 9,
		[]row{of("a"), of("b"), of(""), of("null"), of("A")}))
	if len(got) != 3 || counts.Dropped != 2 {
		t.Errorf("%v, %+v", got, counts)
	}
}
