package etl

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const lookingUp = `{"lookup": {"name": "names", "source": {"type": "csv", "path": "names.csv", "columns": [
	{"name": "n", "type": "int64"}, {"name": "k", "type": "text"}, {"name": "title", "type": "text"}]},
	"on": {"k": "k", "n": "n"}, "columns": {"title": "name"}, "on_failure": "ON"}}`

// naming is a pipeline that looks rows up in a file.
func naming(t *testing.T, onFailure, file string, rows []row) *Pipeline {
	t.Helper()
	p := gathering(t, strings.Replace(lookingUp, "ON", onFailure, 1), 7, rows)
	if err := os.WriteFile(filepath.Join(p.dir, "names.csv"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLookup_AgreesWithComparingEachRowWithEachOther(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 9))
	for range 12 {
		rows := someRows(random, random.IntN(60))
		file := "title,k,n\nnobody,,1\n"
		var table []row
		for i, r := range someRows(random, 20) {
			key := row{r[0], {text: strconv.Itoa(random.IntN(3))}}
			if !key[0].null && !slices.ContainsFunc(table, func(o row) bool { return same(o[:2], key) }) {
				table = append(table, append(key, cell{text: "t" + strconv.Itoa(i)}))
				file += "t" + strconv.Itoa(i) + "," + key[0].text + "," + key[1].text + "\n"
			}
		}
		for _, onFailure := range []string{onNull, onReject, onDrop} {
			var want []row
			for _, r := range rows {
				name := cell{null: true}
				for _, o := range table {
					if same(o[:2], r[:2]) {
						name = o[2]
					}
				}
				if name.null && onFailure != onNull && !r[0].null && !r[1].null {
					continue
				}
				want = append(want, append(slices.Clone(r), name))
			}
			got, counts := rowsOf(t, naming(t, onFailure, file, rows))
			if !slices.EqualFunc(got, want, same) || counts.Rejected+counts.Dropped != int64(len(rows)-len(want)) {
				t.Fatalf("%s: %v\nwant\n%v\n%+v", onFailure, got, want, counts)
			}
		}
	}
}

func TestLookup_IsRefusedWithItsReason(t *testing.T) {
	one := []row{{{text: "a"}, {text: "1"}, {null: true}, {null: true}, {null: true}}}
	for file, says := range map[string]string{
		"title,k,n\nx,a,1\ny,b,1\nz,a,1\n": "looking up names: row 3: another row has the same key",
		"title,k,n\nx,a,one\n":             `looking up names: row 1: column "n": it is no whole number`,
		"title,k\nx,a\n":                   `looking up names: reading the header of names.csv`,
		"title,k,n\nx,b,1\n":               `row 1: step 1 (lookup): names has no row with this k, n`,
	} {
		p := naming(t, onFail, file, one)
		if _, err := p.Run(t.Context(), options(t)); !Final(err) || !strings.Contains(err.Error(), says) ||
			len(contents(t, p)) > 0 {
			t.Errorf("%q: want %s, got %v", file, says, err)
		}
	}
	var large strings.Builder
	for i := range 2000 {
		large.WriteString(strings.Repeat("x", 1000) + ",a," + strconv.Itoa(i) + "\n")
	}
	p := naming(t, onFail, "title,k,n\n"+large.String(), one)
	p.memory = 1
	if _, err := p.Run(t.Context(), options(t)); !Final(err) || !strings.Contains(err.Error(), "more than 1 MiB") {
		t.Error(err)
	}
	for change, says := range map[[2]string]string{
		{`"on": {"k": "k", "n": "n"}`, `"on": {"k": "n"}`}:                           `column "k" is text, and "n" of names is int64`,
		{`"on": {"k": "k", "n": "n"}`, `"on": {"z": "n"}`}:                           `there is no column "z" here`,
		{`"on": {"k": "k", "n": "n"}`, `"on": {"k": "z"}`}:                           `looking up names: there is no column "z" here`,
		{`{"title": "name"}`, `{"titel": "name"}`}:                                   `looking up names: there is no column "titel"`,
		{`{"title": "name"}`, `{"title": "at"}`}:                                     `two columns would be named "at"`,
		{`"columns": {"title": "name"}, "on_failure": "ON"`, `"on_failure": "null"`}: "it asks for nothing",
		{`"name": "names", `, ``}:                                                    `"name" is missing`,
		{`"on": {"k": "k", "n": "n"},`, ``}:                                          `"on" is missing`,
	} {
		step := strings.Replace(strings.Replace(lookingUp, change[0], change[1], 1), `"ON"`, `"fail"`, 1)
		_, err := loaded(t, map[string]string{"p.json": strings.NewReplacer("BLOCK", "3", "STEPS", step).Replace(gathered)})
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "/steps/0") {
			t.Errorf("%v: want %s, got %v", change, says, err)
		}
	}
}

// A run goes on only with the table that it began with.
func TestLookup_AnotherTableBeginsAnew(t *testing.T) {
	for _, changed := range []bool{false, true} {
		dir := folder(t, map[string]string{"names.csv": "title,k,n\nx,a,1\n", "in.ndjson": strings.Repeat(
			`{"k": "a", "n": 1, "d": null, "f": null, "at": null}`+"\n", 9), "p.json": strings.NewReplacer("BLOCK", "2", "STEPS",
			strings.Replace(lookingUp, "ON", "fail", 1), `"path": "none"`, `"path": "in.ndjson"`).Replace(gathered)})
		p, err := Load(filepath.Join(dir, "p.json"))
		if err != nil {
			t.Fatal(err)
		}
		o, n, on := options(t), 6, false
		p.source = breaking{p.source, &n, errors.New("the cable is out")}
		if _, err := p.Run(t.Context(), o); err == nil {
			t.Fatal("it did not break")
		}
		name := "x"
		if changed {
			name = "other"
			if err := os.WriteFile(filepath.Join(dir, "names.csv"), []byte("title,k,n\nother,a,1\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		o.Tell = func(line string) { on = on || strings.HasPrefix(line, "going on with run") }
		if _, err := p.Run(t.Context(), o); err != nil || on == changed ||
			strings.Count(contents(t, p)["o.ndjson"], `"name":"`+name+`"`) != 9 {
			t.Errorf("changed %t: %v, went on: %t\n%s", changed, err, on, contents(t, p)["o.ndjson"])
		}
	}
}

// A test has its own tables, and asks none.
func TestLookup_ATestHasItsTables(t *testing.T) {
	text := strings.NewReplacer("BLOCK", "3", "STEPS", strings.Replace(lookingUp, "ON", "reject", 1)).Replace(gathered)
	text = strings.TrimSuffix(text, "}") + `, "tests": [{"name": "a", "rows": [{"k": "a", "n": 1}, {"k": "b", "n": 1}],
		"tables": {"names": {"rows": [{"k": "a", "n": 1, "title": "Ann"}]}},
		"expect": {"rows": [{"k": "a", "n": 1, "d": null, "f": null, "at": null, "name": "Ann"}],
			"rejects": [{"row": 2, "step": 1, "reason": "names has no row with this k, n"}]}}]}`
	for text, says := range map[string]string{text: "", strings.Replace(text, `"tables": {"names"`, `"tables": {"others"`, 1): `lacks "names"`,
		strings.Replace(text, `"tables": {"names": {"rows": [{"k": "a", "n": 1, "title": "Ann"}]}},`, "", 1): `lacks "names"`,
		strings.Replace(text, `"title": "Ann"}]`, `"title": "Ann"}, {"k": "a", "n": 1}]`, 1):                 "same key"} {
		p, err := loaded(t, map[string]string{"p.json": text})
		if says != "" {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("want %s, got %v", says, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if results, err := p.Test(t.Context(), time.Now); err != nil || len(results) != 1 || len(results[0].Difference) > 0 {
			t.Errorf("%+v, %v", results, err)
		}
	}
}
