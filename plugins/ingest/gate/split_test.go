package gate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"weir/internal/platform/rawjson"
	"weir/internal/platform/text"
)

const space = " \t\r\n"

// strict tells whether the gate and the check of each event together take the
// whole body.
func strict(body []byte) bool {
	items, err := split(body, nil, 1<<30)
	if err != nil {
		return false
	}
	for _, it := range items {
		if rawjson.Document(it.raw) != nil {
			return false
		}
	}
	return len(bytes.Trim(body, space)) > 0
}

// agree checks the splitter against encoding/json, and returns what is wrong.
func agree(body []byte) error {
	body = text.WithoutBOM(body) // which encoding/json does not pass over
	valid := json.Valid(body)
	got := strict(body)
	if got && !valid {
		return fmt.Errorf("taken, but encoding/json refuses it")
	}
	if !valid || !utf8.Valid(body) || len(bytes.Trim(body, space)) == 0 {
		return nil
	}
	items, err := split(body, nil, 1<<30)
	if err != nil {
		return fmt.Errorf("valid, but not split: %w", err)
	}
	want := []json.RawMessage{bytes.Trim(body, space)}
	if want[0][0] == '[' {
		want = nil // decoding appends to what is there, which is the body
		if err := json.Unmarshal(body, &want); err != nil {
			return err
		}
	}
	if len(items) != len(want) {
		return fmt.Errorf("%d events, expected %d", len(items), len(want))
	}
	for i := range items {
		if !bytes.Equal(items[i].raw, want[i]) {
			return fmt.Errorf("event %d is %.60q, expected %.60q", i, items[i].raw, want[i])
		}
		var object map[string]any
		if json.Unmarshal(want[i], &object) == nil && rawjson.Document(want[i]) == nil {
			id, _ := object["event_id"].(string)
			if !strings.Contains(id, `\`) && !strings.Contains(id, `"`) && id != string(items[i].id) && plainASCII([]byte(id)) &&
				len(id) <= maxIDLen && !bytes.Contains(want[i], []byte(`"event_id`+"\\")) &&
				bytes.Contains(want[i], []byte(`"`+id+`"`)) {
				return fmt.Errorf("event %d has the id %q, expected %q", i, items[i].id, id)
			}
		}
	}
	return nil
}

func TestGate_SplitterAgreesWithEncodingJSON(t *testing.T) {
	for _, body := range jsonCases() {
		if err := agree([]byte(body)); err != nil {
			t.Errorf("%.80q: %v", body, err)
		}
	}
}

// jsonCases is in the style of the public JSON test suites: what must be taken,
// what must not, and the edges between.
func jsonCases() []string {
	values := []string{
		`0`, `-0`, `1`, `-1`, `1.5`, `1e5`, `1E+5`, `1e-5`, `123456789012345678901234567890`, `01`, `+1`, `.5`, `5.`, `1e`,
		`1e+`, `-`, `--1`, `0x1`, `1_000`, `NaN`, `Infinity`, `-Infinity`,
		`true`, `false`, `null`, `True`, `nul`, `truee`, `nil`, `undefined`,
		`""`, `"a"`, `"\""`, `"\\"`, `"\\\""`, `"\\\\"`, `"\/"`, `"\b\f\n\r\t"`, `"\u0041"`, `"\ud83d\ude00"`, `"\ud83d"`,
		`"\u00g0"`, `"\x41"`, `"\`, `"\"`, `"`, `"a`, `'a'`, "\"\t\"", "\"\x00\"", "\"\n\"", "\"\x7f\"", "\"\xff\"", "\"é\"",
		"\"\xc3\"", "\"\u2028\"",
		`[]`, `[ ]`, `[1]`, `[1,2]`, `[1,]`, `[,1]`, `[,]`, `[1 2]`, `[`, `]`, `[1`, `[[]]`, `[[[1],2],3]`, `[1}`, `[{}`,
		`["]"]`, `["[",1]`, `[1]]`, `[1],`, `["a,b","c\",d"]`,
		`{}`, `{ }`, `{"a":1}`, `{"a":1,"b":[2,{"c":"}"}]}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,"a":1}`, `{a:1}`, `{'a':1}`,
		`{"a":1 "b":2}`, `{"a":1:2}`, `{"a":1}}`, `{"a":{"b":1}`, `{1:1}`, `{"a":1]`, `{"":0}`,
		`{"event_id":"x"}`, `{"event_id" : "x"}`, `{"event_id":5}`, `{"a":{"event_id":"inner"},"event_id":"outer"}`,
		`{"a":"event_id","event_id":"y"}`, `{"a":["event_id","z"],"b":1}`, `{"event\u005fid":"x"}`,
		`{"x":"\"event_id\":\"no\""}`,
		`// comment`, `/* c */ 1`, `# 1`, "\ufeff1", `1 1`, `{} {}`, `[] []`, `1,2`, `:`, `,`, "\x00", `{"a":1}#`,
	}
	cases := append([]string(nil), values...)
	for _, v := range values {
		cases = append(cases, " "+v+"\r\n", "["+v+"]", "["+v+","+v+"]", `[ {"k":`+v+`} , "s" ]`, `{"k":[`+v+`]}`, "[1,"+v,
			v+"]", "\v"+v)
	}
	for _, n := range []int{1, 63, 64, 65, 1000} {
		cases = append(cases, strings.Repeat("[", n)+strings.Repeat("]", n), strings.Repeat(`{"a":`, n)+"1"+
			strings.Repeat("}", n), strings.Repeat("[", n))
	}
	return cases
}

func TestGate_EventIDIsTakenFromTheTopLevel(t *testing.T) {
	for body, want := range map[string]string{
		`{"a":{"event_id":"inner"},"event_id":"outer"}`:   "outer",
		`{"event_id":"a","event_id":"b"}`:                 "a",
		`{"event\u005fid":"x"}`:                           "x",
		`{"diagnostics":{"event_id":"inner"}}`:            "",
		`{"event_id":5}`:                                  "",
		`{"event_id":"` + strings.Repeat("x", 129) + `"}`: "",
		`{"event_id":"a\"b"}`:                             "",
		`{"event_id":"a` + "\n" + `b"}`:                   "",
		`{"event_id":"é"}`:                                "",
		`{"x":"event_id","y":"z"}`:                        "",
		`"event_id"`:                                      "",
		`{"event_id":"x"`:                                 "x", // broken, but its sender knows it by this
	} {
		items, err := split([]byte(body), nil, 1)
		if err != nil || len(items) != 1 || string(items[0].id) != want {
			t.Errorf("%s: %+v %v", body, items, err)
		}
	}
}

func TestGate_ItemsDoNotShareRoomToGrow(t *testing.T) {
	body := []byte(`[{"a":1},{"b":2}]`)
	items, err := split(body, nil, 10)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(items[0].raw, "overwritten"...)
	if string(items[1].raw) != `{"b":2}` {
		t.Errorf("an append reached the next event: %s", body)
	}
}

func FuzzSplit(f *testing.F) {
	for _, c := range jsonCases() {
		f.Add([]byte(c))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if err := agree(body); err != nil {
			t.Fatal(err)
		}
		for _, cut := range []func([]byte, []item, int) ([]item, error){split, splitLines} {
			whole, err := cut(body, nil, 1<<30)
			at := 0
			for _, it := range whole { // in order, within the body, not overlapping
				n := bytes.Index(body[at:], it.raw)
				if n < 0 || len(it.raw) != cap(it.raw) {
					t.Fatalf("%.60q is not a piece of %.60q", it.raw, body[at:])
				}
				at += n + len(it.raw)
				if !plainASCII(it.id) {
					t.Fatalf("id %q", it.id)
				}
			}
			if limited, lerr := cut(body, nil, 1); len(limited) > 1 || len(whole) > 1 && err == nil &&
				!errors.Is(lerr, errTooMany) {
				t.Fatalf("the limit is not kept: %d, %v", len(limited), lerr)
			}
			reply := appendVerdicts(nil, whole, nil)
			if !json.Valid(reply) {
				t.Fatalf("the reply is not JSON: %s", reply)
			}
		}
	})
}

func batchBody(n int, sep, open, end string) []byte {
	events := make([]string, n)
	for i := range events {
		events[i] = strings.Replace(goodEvent, "2a10", fmt.Sprintf("%04x", i), 1)
	}
	return []byte(open + strings.Join(events, sep) + end)
}

// What the gate does for each event besides moving it through the engine.
func BenchmarkSplitAndVerdict(b *testing.B) {
	for name, body := range map[string][]byte{"array": batchBody(100, ",", "[", "]"), "lines": batchBody(100, "\n", "",
		"")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			cut := split
			if name == "lines" {
				cut = splitLines
			}
			for b.Loop() {
				items, err := cut(body, make([]item, 0, 100), 100)
				if err != nil || len(items) != 100 {
					b.Fatal(err)
				}
				appendVerdicts(make([]byte, 0, 64+96*len(items)), items, nil)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/event")
		})
	}
}

func BenchmarkMessages(b *testing.B) {
	g := &gate{}
	items, err := split(batchBody(100, ",", "[", "]"), nil, 100)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		g.messages(&request{fleet: "acme", items: items}, nil)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/event")
}
