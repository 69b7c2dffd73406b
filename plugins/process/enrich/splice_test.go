package enrich

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"
)

// decoded is a document as one that reads it has it.
func decoded(t *testing.T, raw []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return v
}

// What is put into an event's bytes is what the engine puts into the event; and what an
// event has stays as it was sent.
func TestSplice_PutsWhatTheEngineDoes(t *testing.T) {
	values := []string{`"x"`, `null`, `1.50`, `-0`, `[1,{"c":2}]`, `{"c":"y"}`, `{}`, `{"b":{"c":1}}`, `"\u00fc"`, `true`}
	r := rand.New(rand.NewPCG(3, 4))
	pick := func() string { return values[r.IntN(len(values))] }
	done := 0
	for _, mapping := range []string{"root.a = this", "root.a.b = this.c", "root.a.b.d = this.c.b", "root.z = this.c",
		"root.a.y = this.c\nroot.a.z = this.b"} {
		made, err := bloblang.Parse(mapping)
		if err != nil {
			t.Fatal(err)
		}
		s := spliceOf(mapping)
		if s == nil {
			t.Fatalf("%q is not read", mapping)
		}
		for range 400 {
			event := fmt.Sprintf(`{"id": 7,"a" :%s,"x":%s}`, pick(), pick())
			if r.IntN(4) == 0 {
				event = fmt.Sprintf(`{"x":%s}`, pick())
			}
			answer := fmt.Sprintf(`{"c":%s,"b":%s}`, pick(), pick())
			if r.IntN(4) == 0 {
				answer = pick()
			}
			got, ok := s.apply([]byte(event), []byte(answer))
			if !ok {
				continue
			}
			done++
			changed, err := service.NewMessage([]byte(event)).BloblangMutateFrom(made, service.NewMessage([]byte(answer)))
			if err != nil {
				t.Fatalf("%s with %s: %s, and by the engine %v", event, answer, got, err)
			}
			want, err := changed.AsBytes()
			if err != nil || !reflect.DeepEqual(decoded(t, got), decoded(t, want)) {
				t.Fatalf("%q, %s with %s: %s, and by the engine %s (%v)", mapping, event, answer, got, want, err)
			}
		}
	}
	if done < 300 {
		t.Errorf("%d were put into bytes", done)
	}
}

// What may be otherwise is left to the engine.
func TestSplice_LeavesTheRest(t *testing.T) {
	for _, mapping := range []string{"root = this", "root.a = this.b.uppercase()", "root.a = if this.b { 1 }",
		"root.a = 1", "root.a = this.b\nmeta x = 1", "let a = this", `root."a b" = this`, "root.a = this.0", ""} {
		if s := spliceOf(mapping); s != nil {
			t.Errorf("%q is read as %v", mapping, s)
		}
	}
	s := spliceOf("root.a.b = this.c")
	for _, one := range [][2]string{{`{"a":{"b":1}}`, `{"c":1}`}, {`{"a":[]}`, `{"c":1}`}, {`{}`, `{"c":1}`},
		{`{"a":{}}`, `{"d":1}`}, {`{"a":{}}`, `[1]`}, {`{"a":{}}`, `{"c":1} x`}, {`{"a":{}} x`, `{"c":1}`}, {`[]`, `{"c":1}`},
		{``, `{"c":1}`}, {`{"a":{}`, `{"c":1}`}, {`{"a":{"\u0062":1}}`, `{"c":1}`}, {`{"\u0061":1,"a":{}}`, `{"c":1}`},
		{`{"a":{}}`, `{"\u0063":1}`}, {`{"a":{}}`, ``}, {`{"a":{},"a":{}}`, `{"c":1}`}} {
		if got, ok := s.apply([]byte(one[0]), []byte(one[1])); ok {
			t.Errorf("%s with %s: %s", one[0], one[1], got)
		}
	}
	if got, ok := s.apply([]byte("{\"n\":1.50,\"a\": { } }\n"), []byte(` {"c": "x"}`)); !ok ||
		string(got) != "{\"n\":1.50,\"a\": { \"b\":\"x\"} }\n" {
		t.Errorf("%s %v", got, ok)
	}
}
