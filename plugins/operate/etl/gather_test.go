package etl

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const gathered = `{"name": "g", "block": BLOCK,
	"source": {"type": "ndjson", "path": "none", "columns": [{"name": "k", "type": "text"}, {"name": "n", "type": "int16"},
		{"name": "d", "type": "decimal(9,2)"}, {"name": "f", "type": "float64"}, {"name": "at", "type": "timestamptz"}]},
	"steps": [STEPS],
	"sinks": [{"format": "ndjson", "url": "file://out", "object": "o.ndjson"}],
	"rejects": {"url": "file://out", "object": "r.ndjson"}}`

// gathering is a pipeline over rows of a test.
func gathering(t *testing.T, steps string, block int, rows []row) *Pipeline {
	t.Helper()
	p, err := loaded(t, map[string]string{"p.json": strings.NewReplacer("BLOCK", strconv.Itoa(block), "STEPS", steps).
		Replace(gathered)})
	if err != nil {
		t.Fatal(err)
	}
	p.source = mockSource{p.columns, rows}
	return p
}

// someRows have few keys, and values whose order as texts is not their own.
func someRows(random *rand.Rand, n int) []row {
	all := make([]row, n)
	for i := range all {
		all[i] = row{{text: string(rune('a' + random.IntN(3)))}, {text: strconv.Itoa(random.IntN(4000) - 2000)},
			{text: big.NewRat(random.Int64N(2e9)-1e9, 100).FloatString(2)},
			{text: strconv.FormatFloat(float64(random.IntN(64)-32)*0.1, 'g', -1, 64)},
			{text: time.UnixMicro(random.Int64N(30)*100_000).UTC().Format(formTimestamp) + "Z"}}
		if random.IntN(3) == 0 {
			all[i][1].text = strconv.Itoa(random.IntN(3))
		}
		for j := range all[i] {
			if random.IntN(6) == 0 {
				all[i][j] = cell{null: true}
			}
		}
		if all[i][2].text == "-0.00" {
			all[i][2].text = "0.00"
		}
	}
	return all
}

// rowsOf runs a pipeline and returns the rows of its sink, as its blocks have them.
func rowsOf(t *testing.T, p *Pipeline) ([]row, Counts) {
	t.Helper()
	s := stage{dir: filepath.Join(t.TempDir(), "s")}
	release, err := s.lock()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	_, at, err := p.stageRows(t.Context(), Options{Now: time.Now, Tell: func(string) {}}, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	var all []row
	for n := at.begins(); n < at.Blocks; n++ {
		b, err := s.get(n)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b.rows...)
	}
	if n := at.Counts.unexplained(); n != 0 || at.Counts.Written != int64(len(all)) {
		t.Errorf("%d rows are not accounted for: %+v, %d rows", n, at.Counts, len(all))
	}
	return all, at.Counts
}

func same(a, b row) bool {
	return slices.EqualFunc(a, b, func(x, y cell) bool { return x.null == y.null && (x.null || x.text == y.text) })
}

func TestDedupe_AgreesWithComparingEachRowWithEachOther(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 5))
	for range 15 {
		rows := someRows(random, random.IntN(60))
		for keep, steps := range map[string]string{
			keepFirst: `{"dedupe": {"by": ["k", "n"]}}`, keepLast: `{"dedupe": {"by": ["k", "n"], "keep": "last"}}`} {
			var want []row
			for i, r := range rows {
				others := rows[:i]
				if keep == keepLast {
					others = rows[i+1:]
				}
				if !slices.ContainsFunc(others, func(o row) bool { return same(o[:2], r[:2]) }) {
					want = append(want, r)
				}
			}
			got, counts := rowsOf(t, gathering(t, steps, 4+random.IntN(30), rows))
			if !slices.EqualFunc(got, want, same) || counts.Duplicates != int64(len(rows)-len(want)) {
				t.Fatalf("%s of %v:\n%v\nwant\n%v\n%+v", keep, rows, got, want, counts)
			}
		}
	}
}

func TestUnique_ARowWithTheKeyOfAnotherFails(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 5))
	for range 15 {
		rows := someRows(random, random.IntN(60))
		var want []row
		for i, r := range rows {
			if r[0].null || r[1].null || !slices.ContainsFunc(rows[:i], func(o row) bool { return same(o[:2], r[:2]) }) {
				want = append(want, r)
			}
		}
		got, counts := rowsOf(t, gathering(t, `{"unique": {"by": ["k", "n"], "on_failure": "reject"}}`, 4+random.IntN(30), rows))
		if !slices.EqualFunc(got, want, same) || counts.Rejected != int64(len(rows)-len(want)) {
			t.Fatalf("of %v:\n%v\nwant\n%v\n%+v", rows, got, want, counts)
		}
	}
	p := gathering(t, `{"filter": "this.n != 5"}, {"unique": {"by": ["k"]}}`, 2, []row{
		{{text: "a"}, {text: "5"}, {null: true}, {null: true}, {null: true}},
		{{text: "a"}, {text: "1"}, {null: true}, {null: true}, {null: true}},
		{{text: "a"}, {text: "2"}, {null: true}, {null: true}, {null: true}}})
	if _, err := p.Run(t.Context(), options(t)); !Final(err) || !strings.Contains(err.Error(),
		"row 3: step 2 (unique): another row has the same k") {
		t.Error(err)
	}
}

// naive computes an aggregate over the texts of a column of a group.
func naive(function string, of columnType, texts []string) *big.Rat {
	var out *big.Rat
	for _, text := range texts {
		v, _ := new(big.Rat).SetString(text)
		switch {
		case out == nil:
			out = v
		case function == "min" && v.Cmp(out) < 0, function == "max" && v.Cmp(out) > 0:
			out = v
		case function == "sum" || function == "avg":
			out = new(big.Rat).Add(out, v)
		}
	}
	if function == "avg" && out != nil {
		out.Quo(out, new(big.Rat).SetInt64(int64(len(texts))))
	}
	return out
}

func TestAggregate_IsExactWhateverTheOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 5))
	columns := []string{"k", "n", "d", "f"}
	for range 15 {
		rows := someRows(random, random.IntN(80))
		var made []string
		for _, c := range columns[1:] {
			for _, f := range []string{"sum", "min", "max", "avg", "count"} {
				made = append(made, fmt.Sprintf(`{"column": "%s_%s", "%s": "%s"}`, f, c, f, c))
			}
		}
		steps := fmt.Sprintf(`{"aggregate": {"by": ["k"], "columns": [{"column": "rows", "count": "*"}, %s]}}`,
			strings.Join(made, ", "))
		p := gathering(t, steps, 4+random.IntN(30), rows)
		got, counts := rowsOf(t, p)
		planned, problems := p.plan(p.columns)
		if len(problems) > 0 || counts.Combined != int64(len(rows)) || counts.Made != int64(len(got)) {
			t.Fatal(problems, counts)
		}
		shuffled := slices.Clone(rows)
		random.Shuffle(len(rows), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if again, _ := rowsOf(t, gathering(t, steps, 40, shuffled)); !slices.EqualFunc(got, again, same) {
			t.Fatalf("in another order: %v\n%v", got, again)
		}
		var keys []cell
		for _, r := range rows {
			if !slices.ContainsFunc(keys, func(c cell) bool { return same(row{c}, row{r[0]}) }) {
				keys = append(keys, r[0])
			}
		}
		slices.SortFunc(keys, columnType{kind: kindText}.compareCells)
		if len(keys) != len(got) {
			t.Fatalf("%d groups of %d keys", len(got), len(keys))
		}
		for g, key := range keys {
			of := func(column int) (texts []string, all int) {
				for _, r := range rows {
					if !same(row{r[0]}, row{key}) {
						continue
					}
					if all++; !r[column].null {
						texts = append(texts, r[column].text)
					}
				}
				return texts, all
			}
			if _, all := of(1); !same(row{got[g][0]}, row{key}) || got[g][1].text != strconv.Itoa(all) {
				t.Fatalf("group %v: %v, want %d rows", key, got[g], all)
			}
			for i, c := range planned.columns()[2:] {
				function, name, _ := strings.Cut(c.name, "_")
				texts, _ := of(slices.Index(columns, name))
				is := got[g][2+i]
				if function == "count" {
					if is.text != strconv.Itoa(len(texts)) {
						t.Fatalf("%s is %v, want %d", c.name, is, len(texts))
					}
					continue
				}
				want := naive(function, c.of, texts)
				if want == nil || is.null {
					if want != nil || !is.null {
						t.Fatalf("%s is %v, want %v", c.name, is, want)
					}
					continue
				}
				v, _ := new(big.Rat).SetString(is.text)
				off := new(big.Rat).Abs(new(big.Rat).Sub(v, want))
				switch { // an average may be rounded at its last digit, a float is the nearest
				case c.of.kind == kindFloat64:
					if near, _ := want.Float64(); strconv.FormatFloat(near, 'g', -1, 64) != is.text {
						t.Fatalf("%s is %s, want %v of %v", c.name, is.text, near, texts)
					}
				case function == "avg":
					if off.Mul(off, big.NewRat(2, 1)).Cmp(new(big.Rat).SetFrac(big.NewInt(1),
						new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(c.of.scale)), nil))) > 0 {
						t.Fatalf("%s is %s, want %s of %v", c.name, is.text, want.FloatString(12), texts)
					}
				case off.Sign() != 0:
					t.Fatalf("%s is %s, want %s of %v", c.name, is.text, want.FloatString(12), texts)
				}
			}
		}
	}
}

// The order of canonical texts is that of their values.
func TestCompare_IsByValue(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 5))
	for of, next := range map[columnType]func() string{
		{kind: kindInt64}: func() string {
			return strconv.FormatInt(random.Int64()>>random.IntN(64)-1<<random.IntN(20), 10)
		},
		{kindDecimal, 9, 2}: func() string { return big.NewRat(random.Int64N(3e4)-15e3, 100).FloatString(2) },
		{kind: kindFloat64}: func() string { return strconv.FormatFloat(random.NormFloat64()*1e3, 'g', -1, 64) },
	} {
		for range 3000 {
			a, b := next(), next()
			x, _ := new(big.Rat).SetString(a)
			y, _ := new(big.Rat).SetString(b)
			if of.compare(a, b) != x.Cmp(y) {
				t.Fatalf("%s: %s and %s: %d", of, a, b, of.compare(a, b))
			}
		}
	}
	zoned, nan := columnType{kind: kindTimestampTZ}, columnType{kind: kindFloat64}
	for _, c := range []struct {
		of         columnType
		less, more string
	}{{zoned, "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.5Z"},
		{zoned, "2026-01-02T03:04:05.25Z", "2026-01-02T03:04:05.3Z"},
		{columnType{kind: kindTimestamp}, "2026-01-02T03:04:05", "2026-01-02T03:04:05.000001"},
		{nan, "Infinity", "NaN"}, {nan, "-Infinity", "-1e300"}, {columnType{kind: kindBool}, "false", "true"}} {
		if c.of.compare(c.less, c.more) >= 0 || c.of.compare(c.more, c.less) <= 0 || c.of.compare(c.less, c.less) != 0 {
			t.Errorf("%s: %s and %s", c.of, c.less, c.more)
		}
	}
}

func TestAggregate_TypesAreKnownBeforeARun(t *testing.T) {
	for step, want := range map[string]string{
		`{"aggregate": {"columns": [{"column": "x", "count": "*"}]}}`:                             "x int64",
		`{"aggregate": {"by": ["at", "k"]}}`:                                                      "at timestamptz, k text",
		`{"aggregate": {"columns": [{"column": "x", "sum": "n"}, {"column": "y", "avg": "n"}]}}`:  "x int64, y decimal(38,6)",
		`{"aggregate": {"columns": [{"column": "x", "sum": "d"}, {"column": "y", "avg": "d"}]}}`:  "x decimal(38,2), y decimal(38,8)",
		`{"aggregate": {"columns": [{"column": "x", "sum": "f"}, {"column": "y", "min": "at"}]}}`: "x float64, y timestamptz",
		`{"aggregate": {"columns": [{"column": "x", "sum": "n", "type": "decimal(5,0)"}]}}`:       "x decimal(5,0)",
		`{"aggregate": {"columns": [{"column": "x", "sum": "k"}]}}`:                               "! sum is for numbers",
		`{"aggregate": {"columns": [{"column": "x", "avg": "n", "type": "int64"}]}}`:              "! is no type of a avg",
		`{"aggregate": {"columns": [{"column": "x", "min": "n", "type": "int64"}]}}`:              "! a type is for sum and avg",
		`{"aggregate": {"columns": [{"column": "x", "min": "z"}]}}`:                               `! there is no column "z"`,
		`{"aggregate": {"by": ["k"], "columns": [{"column": "k", "count": "*"}]}}`:                `! two columns would be named "k"`,
		`{"aggregate": {"columns": [{"column": "x"}]}}`:                                           "! expected one of count",
		`{"aggregate": {"columns": [{"column": "x", "min": "n", "max": "n"}]}}`:                   "! expected one of count",
		`{"aggregate": {}}`: "! it makes no column", `{"aggregate": {"by": []}}`: `! expected the names`,
		`{"dedupe": {"by": ["z"]}}`: `! there is no column "z"`, `{"dedupe": {"keep": "best"}}`: "! expected one of first, last",
		`{"unique": {}}`: "! expected the names", `{"aggregate": {"columns": []}}`: "! expected a list",
		`{"derive": {"column": "j", "type": "json", "mapping": "this"}}, {"dedupe": {"by": ["j"]}}`: "! is json",
		`{"derive": {"column": "j", "type": "json", "mapping": "this"}}, {"dedupe": {}}`:            "! is json",
	} {
		p, err := loaded(t, map[string]string{"p.json": strings.NewReplacer("BLOCK", "3", "STEPS", step).Replace(gathered)})
		if says, refused := strings.CutPrefix(want, "! "); refused {
			if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "/steps/") {
				t.Errorf("%s: want %s, got %v", step, says, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", step, err)
			continue
		}
		if planned, _ := p.plan(p.columns); list(planned.columns()) != want {
			t.Errorf("%s: %s, want %s", step, list(planned.columns()), want)
		}
	}
}

// What does not fit, or has no value, is told by the name of its column.
func TestAggregate_NothingIsRoundedOrCut(t *testing.T) {
	null := cell{null: true}
	r := func(n, f string) row { return row{null, {text: n}, null, {text: f}, null} }
	for _, c := range []struct{ step, says string }{
		{`{"aggregate": {"columns": [{"column": "x", "sum": "n", "type": "int16"}]}}`, `column "x": it does not fit into an int16`},
		{`{"aggregate": {"columns": [{"column": "x", "sum": "n", "type": "decimal(4,0)"}]}}`, `column "x": it does not fit`},
		{`{"aggregate": {"columns": [{"column": "x", "sum": "f"}]}}`, `row 2: step 1 (aggregate): column "x" is no finite number`},
		{`{"filter": "this.n > 0"}, {"aggregate": {"columns": [{"column": "x", "sum": "f", "type": "decimal(9,1)"}]}},
			{"validate": {"column": "x", "not_null": true}}`, "no finite number"},
	} {
		p := gathering(t, c.step, 1, []row{r("32767", "0.25"), r("1", "NaN")})
		if _, err := p.Run(t.Context(), options(t)); !Final(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: want %s, got %v", c.step, c.says, err)
		}
	}
	p := gathering(t, `{"aggregate": {"columns": [{"column": "x", "sum": "f", "type": "decimal(9,1)"}]}}`, 1, []row{r("1", "0.25")})
	if _, err := p.Run(t.Context(), options(t)); !Final(err) || !strings.Contains(err.Error(), "more digits behind") {
		t.Error(err)
	}
	// no rows, no key: one group, as in SQL; its number in the rejects is none
	got, _ := rowsOf(t, gathering(t, `{"aggregate": {"columns": [{"column": "n", "count": "*"}, {"column": "s", "sum": "n"}]}}`, 1, nil))
	if len(got) != 1 || got[0][0].text != "0" || !got[0][1].null {
		t.Errorf("of no rows: %v", got)
	}
	if got, _ := rowsOf(t, gathering(t, `{"aggregate": {"by": ["k"]}}`, 1, nil)); len(got) != 0 {
		t.Errorf("of no rows: %v", got)
	}
}

func TestGather_IsRefusedBeyondItsMemory(t *testing.T) {
	rows := make([]row, 2000)
	for i := range rows {
		rows[i] = row{{text: fmt.Sprintf("%01000d", i)}, {null: true}, {null: true}, {null: true}, {null: true}}
	}
	for _, step := range []string{`{"dedupe": {"by": ["k"]}}`, `{"unique": {"by": ["k"]}}`, `{"aggregate": {"by": ["k"]}}`} {
		p := gathering(t, step, 100, rows)
		p.memory = 1
		if _, err := p.Run(t.Context(), options(t)); !Final(err) || !strings.Contains(err.Error(), "step 1") ||
			!strings.Contains(err.Error(), "more than 1 MiB: raise memory_mib") {
			t.Errorf("%s: %v", step, err)
		}
		if got := contents(t, p); len(got) > 0 {
			t.Errorf("%s: there is %v", step, got)
		}
		p.memory = 8
		if r, err := p.Run(t.Context(), options(t)); err != nil || r.Counts.Written != 2000 {
			t.Errorf("%s: %+v, %v", step, r, err)
		}
	}
}

// Wherever a run breaks off - before, between and within its gathers - it ends as
// one that did not, and the source is not asked again.
func TestGather_GoesOnFromTheBlocksBeforeIt(t *testing.T) {
	steps := `{"validate": {"column": "n", "min": -1500, "on_failure": "reject"}}, {"dedupe": {"by": ["k", "n"], "keep": "last"}},
		{"validate": {"column": "n", "max": 1500, "on_failure": "reject"}}, {"unique": {"by": ["at"], "on_failure": "reject"}},
		{"aggregate": {"by": ["k"], "columns": [{"column": "n", "count": "*"}, {"column": "d", "sum": "d"}]}},
		{"validate": {"column": "k", "not_null": true, "on_failure": "reject"}}, {"filter": "this.k != \"b\""}`
	rows := someRows(rand.New(rand.NewPCG(6, 5)), 150)
	whole := gathering(t, steps, 7, rows)
	report, err := whole.Run(t.Context(), options(t))
	if err != nil {
		t.Fatal(err)
	}
	c, want := report.Counts, contents(t, whole)
	if c.unexplained() != 0 || c.Duplicates == 0 || c.Rejected == 0 || c.Combined == 0 || c.Filtered != 1 ||
		!strings.Contains(want["r.ndjson"], `"step":6`) || !strings.Contains(want["r.ndjson"], `"step":4`) {
		t.Fatalf("%+v\n%s", c, want["r.ndjson"])
	}
	for gathers := range 4 {
		p, o := gathering(t, steps, 7, rows), options(t)
		s := o.stage(p.Name)
		release, err := s.lock()
		if err != nil {
			t.Fatal(err)
		}
		at, err := p.extract(t.Context(), o, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		planned, _ := p.plan(p.columns)
		for _, next := range planned.segments()[1 : 1+gathers] {
			if err := p.gather(t.Context(), o, s, planned, next, at); err != nil {
				t.Fatal(err)
			}
		}
		// half a block, and a whole one, of what was to come
		for n, text := range []string{"half", "\x00\x00"} {
			if err := os.WriteFile(s.path(at.Blocks+n), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		release()
		p.source = closedSource{}
		again, err := p.Run(t.Context(), o)
		if err != nil || fmt.Sprint(again.Counts) != fmt.Sprint(c) || fmt.Sprint(contents(t, p)) != fmt.Sprint(want) {
			t.Errorf("after %d gathers: %v\n%+v\n%+v", gathers, err, again, c)
		}
	}
}

// closedSource cannot be asked.
type closedSource struct{ mockSource }

func (closedSource) open(context.Context) (reading, error) {
	return nil, errors.New("it is asked again")
}
