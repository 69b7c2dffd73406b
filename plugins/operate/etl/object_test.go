package etl

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func objectColumns() (all []column) {
	for i, of := range allTypes() {
		all = append(all, column{fmt.Sprintf("c%d", i), of})
	}
	return append(all, column{"é", columnType{kind: kindText}})
}

// both reads an object in one pass, and with care.
func both(t *testing.T, columns []column, missing, ignore bool, raw string) (quick bool) {
	t.Helper()
	o := newObjectReader("the line", columns, missing, ignore)
	passed := o.pass([]byte(raw), 1)
	got, err := o.read([]byte(raw), 1)
	var want row
	n, wrong := parseData("the line", []byte(raw))
	if wrong == nil {
		want, wrong = objectCells(n, columns, missing, ignore)
	}
	if fmt.Sprint(err) != fmt.Sprint(wrong) || err == nil && !slices.Equal(got, want) ||
		passed != nil && (wrong != nil || !slices.Equal(passed, want)) {
		t.Errorf("%q (%v, %v): in one pass %+v, then %+v, %v; with care %+v, %v", raw, missing, ignore, passed, got, err,
			want, wrong)
	}
	return passed != nil
}

func FuzzObject(f *testing.F) {
	for _, raw := range objects() {
		f.Add(raw)
	}
	columns := objectColumns()
	f.Fuzz(func(t *testing.T, raw string) {
		for n := range 4 {
			both(t, columns[:], n&1 > 0, n&2 > 0, raw)
			both(t, columns[3:5], n&1 > 0, n&2 > 0, raw)
		}
	})
}

func objects() (all []string) {
	values := []string{`null`, `true`, `false`, `1`, `-0`, `007`, `1.50`, `1e2`, `1e999`, `99999999999999999999`, `"x"`,
		`""`, `"\u00e9\n"`, `"\ud800"`, `"2026-01-02T03:04:05Z"`, `"2026-01-02 03:04:05.50"`, `"2026-02-30"`, `"AP8="`,
		`"12.5"`, `"12"`, `"NaN"`, `"0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f"`, `{"b": [1.10, null], "a": "\u003c"}`, `[1, 2]`,
		`{"a": 1, "a": 2}`, `[`, `"`, `tru`, "\"\xff\"", "\"\x01\"", strings.Repeat("[", 63) + strings.Repeat("]", 63),
		strings.Repeat("[", 70) + strings.Repeat("]", 70)}
	for _, c := range objectColumns() {
		for _, v := range values {
			all = append(all, fmt.Sprintf(`{"%s": %s}`, c.name, v),
				fmt.Sprintf("\t{ \"%s\":%s , \"x\": %[2]s}\r\n", c.name, v))
		}
	}
	return append(all, `{}`, ` [] `, ``, `{"c1": 1, "c1": 2}`, `{"c1": 1} x`, "\ufeff"+`{"c1": 1}`, `{"\u00631": 1}`,
		`{"c1": 1,}`, `{"x": 1, "x": 2}`, `{"é": "é"}`, `{"c3": 1, "c4": 0.5}`, `{"c4": 0.5, "c3": null}`, `{"y":1,"c3": 7, "c4": 1, "z": {}}`)
}

// An object read in one pass is what it is when it is read with care, and so is what
// is wrong with it.
func TestObject_InOnePassAsWithCare(t *testing.T) {
	columns, quick := objectColumns(), 0
	for _, raw := range objects() {
		for n := range 4 {
			for _, some := range [][]column{columns, columns[3:5], columns[:1]} {
				if both(t, some, n&1 > 0, n&2 > 0, raw) {
					quick++
				}
			}
		}
	}
	if quick < 500 {
		t.Errorf("%d objects were read in one pass", quick)
	}
}

// Rows of a slab are apart, whatever is read after them, and have room for more.
func TestObject_RowsStayAsTheyWere(t *testing.T) {
	o := newObjectReader("the line", []column{{"a", columnType{kind: kindText}},
		{"n", columnType{kind: kindDecimal, precision: 9, scale: 1}}}, false, false)
	var rows []row
	raw := make([]byte, 0, 200)
	for i := range 5000 {
		raw = fmt.Appendf(raw[:0], `{"a": "text %d", "n": %d}`, i, i)
		r, err := o.read(raw, 1)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, append(r, cell{text: "more"}))
	}
	for i, r := range rows {
		want := row{{text: fmt.Sprintf("text %d", i)}, {text: fmt.Sprintf("%d.0", i)}, {text: "more"}}
		if !slices.Equal(r, want) {
			t.Fatalf("row %d became %+v", i, r)
		}
	}
}
