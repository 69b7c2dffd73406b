package predicate

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	_ "github.com/redpanda-data/connect/v4/public/components/pure" // the methods of numbers
)

// corpus are expressions of the subset, as people write them.
func corpus() []string {
	return []string{
		`this.metrics.cpu_temp > 60 && this.metrics.vibration > 0.2 && this.device_id.has_prefix("pump-")`,
		`this.metrics.cpu_temp.or(0) >= 60`,
		`this.exists("metrics.cpu_temp")`, `this.metrics.exists("cpu_temp")`,
		`this.a == null || this.a != "x"`, `!this.ok`, `!(this.a == 1)`, `this.a == this.b`,
		`["on","off", 3, true, null].contains(this.a)`, `this.a.lowercase().contains("x")`,
		`if this.ok { this.a } else { 0 - this.b }`, `-this.a * 2 + 3 % 2 - 1 / 4`, `this.a | this.b | "none"`,
		`this.a.abs().round() == 3`, `this.a.number() + 1.5`, `this.a.length() > 2`, `this."a" + "x\ty"`,
		`this.a + this.b`, `this.a - this.b`, `this.a * this.b`, `this.a / this.b`, `this.a % this.b`,
		`this.a < this.b`, `this.a >= this.b`, `this.a && this.b`, `this.a || this.b`, `this.a.has_suffix("x")`,
		`this.a == true`, `true == this.a`, `this.a.b.c == 1`, `this.a.b == 1`, `this.a`,
	}
}

// document makes a small object with what comparisons trip over.
func document(r *rand.Rand) string {
	values := []string{`0`, `-0`, `0.0`, `1`, `-3`, `3`, `2.5`, `1e3`, `60.5`, `9007199254740993`, `9007199254740992.0`,
		`18446744073709551615`, `1e308`, `true`, `false`, `null`, `"x"`, `"pump-1x"`, `""`, `"3"`, `"Ü\u0041"`, `[1,"x",2.0]`,
		`[]`, `{"b":1,"cpu_temp":70,"c":"x"}`, `{"b":{"c":1}}`, `{}`}
	var fields []string
	for _, name := range []string{"a", "b", "ok", "metrics", "device_id", `\u0061b`} {
		if r.IntN(5) > 0 {
			fields = append(fields, fmt.Sprintf("%q: %s", name, values[r.IntN(len(values))]))
		}
	}
	return strings.ReplaceAll("{"+strings.Join(fields, ",")+"}", `\\`, `\`)
}

// random writes an expression of the subset.
func random(r *rand.Rand, depth int) string {
	if depth == 0 || r.IntN(6) == 0 {
		leaves := []string{"this.a", "this.b", "this.ok", "this.a.b", "this.metrics.cpu_temp", "1", "0", "2.5", "true",
			"false", "null", `"x"`, `"pump-1x"`, "3", `this.exists("a")`, `this.a.exists("b.c")`}
		return leaves[r.IntN(len(leaves))]
	}
	x := func() string { return random(r, depth-1) }
	switch r.IntN(12) {
	case 0:
		return "(" + x() + ")"
	case 1:
		return "!(" + x() + ")"
	case 2:
		return "-(" + x() + ")"
	case 3:
		return "(" + x() + ")" + []string{".abs()", ".round()", ".lowercase()", ".length()", ".number()", `.has_prefix("x")`,
			`.contains("x")`, `.or(` + x() + `)`, `.has_suffix("x")`}[r.IntN(9)]
	case 4:
		return `[1, "x", true, 2.5].contains(` + x() + ")"
	case 5:
		return "if " + x() + " { " + x() + " } else { " + x() + " }"
	}
	ops := []string{"+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "|"}
	return x() + " " + ops[r.IntN(len(ops))] + " " + x()
}

// differs says how the compiled expression and Bloblang's executor disagree on
// a document, "" when they do not.
func differs(source, doc string) string {
	var l Layout
	e, err := new(Parser).Compile(source, &l)
	if err != nil {
		return "" // neither takes it
	}
	r := l.Reader()
	if err := r.Read([]byte(doc)); err != nil {
		return "" // no object, or one that weir refuses
	}
	got, gotErr := e.Eval(r)
	if yes, err := e.True(r); (err == nil) != (gotErr == nil) || yes != (err == nil && got.True()) {
		return fmt.Sprintf("%s on %s: it is %v (%v), and true %t (%v)", source, doc, got, gotErr, yes, err)
	}
	slow := Expr{source: source, slow: e.slow}
	want, wantErr := slow.Eval(r)
	if (gotErr == nil) != (wantErr == nil) {
		return fmt.Sprintf("%s on %s: %v (%v), Bloblang says %v (%v)", source, doc, got, gotErr, want, wantErr)
	}
	if gotErr != nil {
		return ""
	}
	got.odd, want.odd = false, false
	if got.Kind == Missing {
		got.Kind = Null
	}
	if got.Kind == Int && want.Kind == Float || got.Kind == Float && want.Kind == Int { // encoded on the way
		got.Kind, got.Int, want.Int = want.Kind, 0, 0
	}
	if got.Kind == Other && want.Kind == Other {
		var a, b any
		if json.Unmarshal([]byte(got.Text), &a) == nil && json.Unmarshal([]byte(want.Text), &b) == nil &&
			fmt.Sprint(a) == fmt.Sprint(b) {
			return ""
		}
	}
	if got != want {
		return fmt.Sprintf("%s on %s: %+v, Bloblang says %+v", source, doc, got, want)
	}
	return ""
}

func TestPredicate_AnswersAsBloblangDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 1))
	for _, source := range corpus() {
		var l Layout
		e, err := new(Parser).Compile(source, &l)
		if err != nil {
			t.Fatal(err)
		}
		if fast, why := e.Fast(); !fast {
			t.Errorf("%s: %s", source, why)
		}
		for range 300 {
			if diff := differs(source, document(r)); diff != "" {
				t.Error(diff)
				break
			}
		}
	}
	for range 500 {
		source := random(r, 3)
		for range 4 {
			if diff := differs(source, document(r)); diff != "" {
				t.Fatal(diff)
			}
		}
	}
}

// Values that are set are answered for like the document that has them, also by
// Bloblang.
func TestReader_SetIsAsTheDocument(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 2))
	said := 0
	for range 3000 {
		source, doc := random(r, 3), document(r)
		if strings.Contains(doc, "18446744073709551615") { // is no number of the subset
			continue
		}
		var l Layout
		e, err := new(Parser).Compile(source, &l)
		if err != nil {
			continue
		}
		fromDoc, fromValues, fromBytes := l.Reader(), l.Reader(), l.Reader()
		if fromDoc.Read([]byte(doc)) != nil {
			continue
		}
		fromValues.Set(fromDoc.slots)
		values, all := fromDoc.Append(nil)
		if err := fromBytes.Take(values); err != nil {
			t.Fatal(err)
		}
		for _, from := range []*Reader{fromValues, fromBytes} {
			want, wantErr := e.Eval(fromDoc)
			got, gotErr := e.Eval(from)
			got.odd, want.odd = false, false
			if got.Num == want.Num && got.IsNumber() && want.IsNumber() { // encoded on the way
				got, want = Value{}, Value{}
			}
			if all && ((gotErr == nil) != (wantErr == nil) || gotErr == nil && got != want) {
				t.Fatalf("%s on %s: %+v (%v), and of values %+v (%v)", source, doc, want, wantErr, got, gotErr)
			}
		}
		said++
	}
	if said < 1000 {
		t.Errorf("only %d were evaluated", said)
	}
}

func FuzzPredicate(f *testing.F) {
	for _, source := range corpus() {
		f.Add(source, `{"a":1,"b":"x","ok":true,"metrics":{"cpu_temp":61.5},"device_id":"pump-1"}`)
	}
	f.Fuzz(func(t *testing.T, source, doc string) {
		if diff := differs(source, doc); diff != "" {
			t.Error(diff)
		}
	})
}

// What is outside of the subset works, and says why it is slow.
func TestPredicate_TheRestIsLeftToBloblang(t *testing.T) {
	for source, want := range map[string]string{
		`this.a.re_match("^x+$")`:                `true`,
		`this.list.filter(v -> v > 1).length()`:  `2`,
		`this.list.0`:                            `1`,
		`a`:                                      `xx`,
		`this.list.contains(this.list.index(0))`: `true`,
	} {
		var l Layout
		e, err := new(Parser).Compile(source, &l)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if fast, why := e.Fast(); fast || why == "" {
			t.Errorf("%s is said to be compiled (%q)", source, why)
		}
		r := l.Reader()
		if err := r.Read([]byte(`{"a":"xx","list":[1,2,3]}`)); err != nil {
			t.Fatal(err)
		}
		if v, err := e.Eval(r); err != nil || v.String() != want {
			t.Errorf("%s = %v (%v), want %s", source, v, err, want)
		}
	}
}

// A result may depend on nothing but the event.
func TestPredicate_RefusesWhatGivesAnotherAnswerTomorrow(t *testing.T) {
	for _, source := range []string{`now()`, `random_int() > 3`, `env("HOME")`, `hostname()`, `uuid_v4()`, `@kafka_offset`,
		`timestamp_unix() > 0`, `file("x")`, `this.a >`, ``, `count("x")`, `meta("x")`, `counter()`, `batch_index()`, `content()`,
		`this.x = 3`, `this.a.ts_strptime("%s") < now()`} {
		if _, err := new(Parser).Compile(source, &Layout{}); err == nil && !strings.HasPrefix(source, "@") {
			t.Errorf("%s is taken", source)
		}
	}
}

func TestReader_AllocatesNothing(t *testing.T) {
	var l Layout
	e, err := new(Parser).Compile(corpus()[0], &l)
	if err != nil {
		t.Fatal(err)
	}
	r, doc := l.Reader(), []byte(sample)
	if n := testing.AllocsPerRun(100, func() {
		if err := r.Read(doc); err != nil {
			t.Fatal(err)
		}
		if v, err := e.Eval(r); err != nil || !v.True() {
			t.Fatal(v, err)
		}
	}); n > 0 {
		t.Errorf("%v allocations an event", n)
	}
}

const sample = `{"event_id":"0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f","device_id":"pump-1","device_firmware_version":"2.1.0",` +
	`"timestamp":"2026-11-21T09:15:00.123Z","metrics":{"cpu_temp":61.5,"battery_voltage":3.7,"vibration":0.25,` +
	`"pressure":101.3},"diagnostics":{"uptime":12345,"errors":[],"network":{"rssi":-67,"ssid":"plant"}}}`

func BenchmarkPredicate(b *testing.B) {
	var l Layout
	e, err := new(Parser).Compile(corpus()[0], &l)
	if err != nil {
		b.Fatal(err)
	}
	r, doc := l.Reader(), []byte(sample)
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := r.Read(doc); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("eval", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if v, err := e.Eval(r); err != nil || !v.True() {
				b.Fatal(v, err)
			}
		}
	})
	b.Run("bloblang", func(b *testing.B) {
		b.ReportAllocs()
		slow := Expr{slow: e.slow}
		for b.Loop() {
			r.asked = false
			if v, err := slow.Eval(r); err != nil || !v.True() {
				b.Fatal(v, err)
			}
		}
	})
}
