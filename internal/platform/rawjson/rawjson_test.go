package rawjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// accepted are documents that every JSON reader must take, one per rule of
// RFC 8259's grammar and per corner of it that readers are known to get wrong.
func accepted() []string {
	return []string{
		`null`, `true`, `false`, `""`, `"a"`, `0`, `-0`, ` 1 `, "\t\r\n[ ]\n", `[]`, `{}`, `[null]`, `[1,2]`, `[[]]`, `[{}]`,
		`{"":0}`, `{"a":{"b":[1,{"c":null}]}}`, `{"a":1,"b":2}`, `{"a":"b","A":"b"}`, `[ ""]`, `[1 ,2]`, `{ "a" : 1 }`,
		`1e5`, `1E5`, `1e+5`, `1e-5`, `1.5e5`, `0e1`, `0e+1`, `0.0`, `-0.1`, `-123`, `123456789012345678901234567890`,
		`1.7976931348623157e308`, `5e-324`,
		`1e-999`, `-1e-9999`, `0.` + strings.Repeat("0", 400) + `1`,
		`"\"\\\/\b\f\n\r\t"`, `"\u0000"`, `"\u00e9"`, `"\uD834\udd1e"`, `"\uDBFF\uDFFF"`, `"\u0022"`, `"\u005C"`, `"\\u0061"`,
		`"\\n"`,
		`"é"`, `"€"`, `"𝄞"`, "\"\u2028\u2029\"", "\"\x7f\"", "\"\ufeff\"", "\"\ufffd\"", `"/"`, `"\uFFFE"`, `"\uFFFF"`,
		"\"\U0010ffff\"",
		strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth),
		`{"` + strings.Repeat("a", 70000) + `":1}`,
	}
}

// refused are documents that every JSON reader must refuse.
func refused() []string {
	return []string{
		``, ` `, `[`, `]`, `{`, `}`, `[1`, `[1,`, `[1,]`, `[,1]`, `[,]`, `[1,,2]`, `[1 2]`, `[1:2]`, `["a"`, `["a",`,
		`["a"]]`, `[1]x`, `[][]`, `1 2`,
		`{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{,"a":1}`, `{"a" 1}`, `{"a",1}`, `{"a"::1}`, `{a:1}`, `{'a':1}`,
		`{1:1}`, `{null:1}`, `{"a":1 "b":2}`, `{"a":1,,"b":2}`, `{"a":1}}`, `{"a":1}#`, `{"a":/**/1}`, `[/**/]`, `{"a":b}`,
		`tru`, `True`, `nul`, `NULL`, `fals`, `nan`, `NaN`, `Infinity`, `-Infinity`, `inf`, `truex`, `nulll`, `undefined`,
		`+1`, `-`, `--1`, `01`, `-01`, `00`, `1.`, `.1`, `-.1`, `1.e1`, `1e`, `1e+`, `1E-`, `1ee2`, `1e1.5`, `1.2.3`, `0x1`,
		`1_000`, `1,000`, `1a`, `- 1`, `0e`, `2.e3`, `1 000`, "\uff11", `1/2`, `0.1.2`, `9.e+`,
		`"`, `"a`, `'a'`, `"\"`, `"\x00"`, `"\a"`, `"\v"`, `"\'"`, `"\0"`, `"\u"`, `"\u1"`, `"\u123"`, `"\u00g0"`, `"\U0041"`,
		`"\ "`, `"\`, `"\uD800\u"`, `"\uD800\u1"`, `"\u 123"`,
		"\"\n\"", "\"\t\"", "\"\x00\"", "\"\x1f\"", "\"a\x00b\"", "[\"a\nb\"]", "[\f]", "[\v]", "[\u00a0]", "[\u2060]",
		"\ufeff[]", "\ufeff", "[\x00]", "\x00", "*", "&", "[<null>]", "[\u20ac]",
	}
}

// refusedHere are JSON to many readers and no data that weir can keep.
func refusedHere() []string {
	return []string{
		`{"a":1,"a":1}`, `{"a":1,"\u0061":2}`, `{"":1,"":2}`, `[{"x":{"b":0,"c":0,"b":0}}]`, `{"é":1,"\u00e9":2}`,
		`1e309`, `-1e309`, `[1e99999999999]`, `1` + strings.Repeat("0", 309), `{"a":1.8e308}`,
		`"\uD800"`, `"\uDC00"`, `"\uD800\uD800"`, `"\uD800a"`, `"\uD800\n"`, `"\uDC00\uD800"`, `"\uDd1e\uD834"`,
		"\"\xff\"", "\"\xc3\"", "\"\xc3\x28\"", "\"\xe0\x80\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"",
		"\"\xc0\xaf\"", "{\"\xff\":1}", "\xff", "[\xe9]",
		strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1),
		strings.Repeat(`{"a":`, MaxDepth+1) + "1" + strings.Repeat("}", MaxDepth+1),
		strings.Repeat("[", 100000),
		bigDuplicate(),
	}
}

// bigDuplicate has more keys than are compared one by one.
func bigDuplicate() string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range 1000 {
		b.WriteString(`"k` + strconv.Itoa(i) + `":0,`)
	}
	b.WriteString(`"k7":0}`)
	return b.String()
}

func TestRawJSON_GrammarIsReadAsWritten(t *testing.T) {
	for _, s := range accepted() {
		if !json.Valid([]byte(s)) {
			t.Errorf("the list is wrong: %q", s)
		}
		if err := Document([]byte(s)); err != nil {
			t.Errorf("%.80q: %v", s, err)
		}
	}
	for _, s := range refused() {
		if json.Valid([]byte(s)) {
			t.Errorf("the list is wrong: %q", s)
		}
	}
	for _, s := range append(refused(), refusedHere()...) {
		err := Document([]byte(s))
		var se *SyntaxError
		if !errors.As(err, &se) || se.Offset < 0 || se.Offset > len(s) {
			t.Errorf("%.80q: accepted, or without a place: %v", s, err)
		}
	}
}

func TestRawJSON_EveryPrefixOfADocumentIsRefused(t *testing.T) {
	const doc = `{"a":[1.5e3,"x\u00e9\n",{"b":null,"c":true}],"d":{},"e":[false,-0.25]}`
	if err := Document([]byte(doc)); err != nil {
		t.Fatal(err)
	}
	for n := range len(doc) {
		if Document([]byte(doc[:n])) == nil {
			t.Errorf("accepted the first %d bytes", n)
		}
	}
}

var surrogate = regexp.MustCompile(`\\u[dD][89a-fA-F]`)

// FuzzDocument compares with encoding/json, which is laxer in four ways only:
// UTF-8, half surrogate pairs, duplicate keys and depth.
func FuzzDocument(f *testing.F) {
	for _, list := range [][]string{accepted(), refused(), refusedHere()} {
		for _, s := range list {
			if len(s) < 1000 {
				f.Add([]byte(s))
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		err := Document(b)
		if !bytes.Equal(before, b) {
			t.Fatalf("%q: changed", before)
		}
		var v any
		theirs := json.Unmarshal(b, &v)
		switch {
		case err == nil && theirs != nil:
			t.Fatalf("%q: accepted, encoding/json says %v", b, theirs)
		case err == nil && (!utf8.Valid(b) || repeats(b)):
			t.Fatalf("%q: accepted", b)
		case err != nil && theirs == nil && utf8.Valid(b) && !surrogate.Match(b) && !repeats(b) && depth(b) <= MaxDepth:
			t.Fatalf("%q: refused: %v", b, err)
		}
	})
}

// repeats tells whether some object of a valid document has a key twice.
func repeats(b []byte) bool {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	type frame struct {
		keys map[string]bool // nil in an array
		key  bool            // a key comes next
	}
	var stack []frame
	for {
		tok, err := d.Token()
		if err == io.EOF || err != nil {
			return false
		}
		if n := len(stack); n > 0 && stack[n-1].keys != nil {
			top := &stack[n-1]
			if s, ok := tok.(string); ok && top.key {
				if top.keys[s] {
					return true
				}
				top.keys[s], top.key = true, false
				continue
			}
			top.key = true
		}
		switch tok {
		case json.Delim('{'):
			stack = append(stack, frame{keys: map[string]bool{}, key: true})
		case json.Delim('['):
			stack = append(stack, frame{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
	}
}

func depth(b []byte) (deepest int) {
	d, now := json.NewDecoder(bytes.NewReader(b)), 0
	for {
		tok, err := d.Token()
		if err != nil {
			return deepest
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			now++
			deepest = max(deepest, now)
		case json.Delim('}'), json.Delim(']'):
			now--
		}
	}
}

// FuzzUnquote holds that a string's value is what encoding/json makes of it.
func FuzzUnquote(f *testing.F) {
	for _, s := range accepted() {
		if strings.HasPrefix(s, `"`) {
			f.Add([]byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		end, plain, err := String(b, 0)
		if err != nil {
			return
		}
		var want string
		if err := json.Unmarshal(b[:end], &want); err != nil {
			t.Fatalf("%q: %v", b[:end], err)
		}
		if got := Text(b[1:end-1], plain); got != want {
			t.Fatalf("%q: got %q, want %q", b[:end], got, want)
		}
		if got := string(Unquote(b[1 : end-1])); got != want {
			t.Fatalf("%q: unquoted %q, want %q", b[:end], got, want)
		}
	})
}

func TestRawJSON_FloatIsTheNearestDouble(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	check := func(s string) {
		t.Helper()
		want, wantErr := strconv.ParseFloat(s, 64)
		got, err := Float([]byte(s))
		if (err != nil) != (wantErr != nil) || err == nil && math.Float64bits(got) != math.Float64bits(want) {
			t.Fatalf("%s: got %v (%v), want %v (%v)", s, got, err, want, wantErr)
		}
	}
	for _, s := range []string{"0", "-0", "0.0", "-0.0", "999999999999999", "0.999999999999999", "9007199254740993",
		"0.000000000000001",
		"1e308", "1e309", "-1e309", "1e-400", "2.2250738585072011e-308", "1.7976931348623159e308", "123456789012345.6", "0.1",
		"0.30000000000000004"} {
		check(s)
	}
	for range 200_000 {
		digits := 1 + r.IntN(18)
		var b []byte
		if r.IntN(2) == 0 {
			b = append(b, '-')
		}
		point := r.IntN(digits + 1)
		for i := range digits {
			if i == point && i > 0 {
				b = append(b, '.')
			}
			c := byte('0' + r.IntN(10))
			if i == 0 && point != 1 && c == '0' {
				c = '1' // no leading zeros
			}
			b = append(b, c)
		}
		if r.IntN(5) == 0 {
			b = append(b, "e"+strconv.Itoa(r.IntN(40)-20)...)
		}
		if end, err := Number(b, 0); err != nil || end != len(b) {
			t.Fatalf("%s: %v", b, err)
		}
		check(string(b))
		check(strconv.FormatFloat(math.Float64frombits(r.Uint64()&^(1<<62)), 'e', -1, 64))
	}
}

func TestRawJSON_ObjectHandsOutEachFieldOnce(t *testing.T) {
	b := []byte(`{"a":1, "b" : [2,{"a":3}] ,"c\u0064":"x"}`)
	var got []string
	end, err := Object(b, 0, 0, func(key []byte, plain bool, i int) (int, error) {
		end, err := Value(b, i, 1)
		got = append(got, Text(key, plain)+"="+string(b[i:end]))
		return end, err
	})
	if want := []string{"a=1", `b=[2,{"a":3}]`, `cd="x"`}; err != nil || end != len(b) || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q to %d (%v), want %q", got, end, err, want)
	}
}

func TestRawJSON_ReadingDoesNotAllocate(t *testing.T) {
	b := []byte(sample)
	if n := testing.AllocsPerRun(100, func() {
		if err := Document(b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

const sample = `{"event_id":"6f1c2a34-9b7d-4e21-8a55-0c1d2e3f4a5b","device_id":"device-0042","device_firmware_version":"2.4.1","timestamp":"2026-11-21T09:30:00.123Z","metrics":{"cpu_temp":61.25,"battery_voltage":3.71,"vibration":0.042,"pressure":101.3,"humidity":44.5},"diagnostics":{"uptime_s":86400,"rssi":-61}}`

func BenchmarkDocument(b *testing.B) {
	raw := []byte(sample)
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if err := Document(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodingJSONValid(b *testing.B) {
	raw := []byte(sample)
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if !json.Valid(raw) {
			b.Fatal("invalid")
		}
	}
}

func BenchmarkFloat(b *testing.B) {
	raw := []byte("101.325")
	for b.Loop() {
		if _, err := Float(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// Has finds members of the document alone, by whatever escapes they are written, and
// refuses what Document does.
func TestHas_FindsMembersOfTheDocument(t *testing.T) {
	for raw, want := range map[string]bool{
		`{}`: false, ` {"a":1,"alert":null} `: true, `{"values":{"alert":1}}`: false, `{"a":"\"alert\":"}`: false,
		`{"\u0061lert":1}`: true, `{"alerts":1}`: false, `{"b":[{"alert":1}]}`: false,
	} {
		if has, err := Has([]byte(raw), "alert"); has != want || err != nil {
			t.Errorf("%s: %t, %v", raw, has, err)
		}
	}
	for _, raw := range append(refused(), `1`, `[]`, `{"alert":1} x`) {
		if has, err := Has([]byte(raw), "alert"); has || err == nil {
			t.Errorf("%.40q is taken", raw)
		}
	}
}
