package enrich

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// keyed is a look-up by a key, of a processor that has no other.
func keyed(t testing.TB, key string) (*processor, *named) {
	t.Helper()
	p := processorOf(t, fmt.Sprintf("lookups: [{ name: a, key: %q, sql: 'sqlite://x', query: y, "+
		"result_map: 'root.a = this' }]", key))
	return p, p.lookups[0]
}

// A key that is made of an event's bytes is the one that the engine makes, whatever the
// event is.
func TestKey_IsWhatTheEngineMakes(t *testing.T) {
	values := []string{`"x"`, `""`, `"null"`, `null`, `1`, `1.50`, `-0`, `1e400`, `true`, `{"b":"y"}`, `{"b":null}`,
		`["x"]`,
		`"\u00fc\n\ud83d\ude00"`, `"\ud800"`, `{"b":{"c":"z"}}`, `{"b":7}`, `"ä\u0000"`}
	r := rand.New(rand.NewPCG(1, 2))
	events := []string{``, `x`, `[]`, `"x"`, `{}`, `{"a":"x"`, `{"a":"x"} {}`, `{"a":"x","a":"y"}`, "{\"a\":\"\xff\"}",
		`{"a":{"b":"x"},"a":{}}`, `{"\u0061":"x"}`}
	for range 300 {
		events = append(events, fmt.Sprintf(`{"a":%s,"other":[1,{"a":2}],"c":%s}`, values[r.IntN(len(values))],
			values[r.IntN(len(values))]))
	}
	compiled := 0
	for _, key := range []string{"${! this.a }", "${!this.a.b}", "${! this.a.b.c }", "${! this.a.or(this.c) }",
		"${! this.a.or(\"none\") }", "${! this.c.lowercase() }", "${! this.a + this.c }", "${! this.a.length() }", "x",
		"x}", "${! this.a }-${! this.c }", "${! @fleet }", "${! content() }", `${! json("a") }`, "${! now() }"} {
		p, n := keyed(t, key)
		if n.expr != nil {
			compiled++
		}
		for _, raw := range events {
			msg := service.NewMessage([]byte(raw))
			reader := p.keys.read(msg)
			got := n.keyOf(msg, reader)
			p.keys.giveBack(reader)
			want, err := n.key.TryString(service.NewMessage([]byte(raw)))
			if err != nil || want == "null" {
				want = ""
			}
			if got != want && key != "${! now() }" {
				t.Errorf("%s of %s is %q, and by the engine %q (%v)", key, raw, got, want, err)
			}
		}
	}
	if compiled != 8 {
		t.Errorf("%d keys are compiled, expected 8", compiled)
	}
}

// What it costs to see that an event has no key, as most have none, and to look up one
// that is known.
func BenchmarkEnrich_Key(b *testing.B) {
	for name, payload := range map[string]string{"none": `"page":"/p/17"`, "one": `"product":"p17"`} {
		raw := fmt.Appendf(nil, `{"event_id":"6f1c2a34-9b7d-4e21-8a55-0c1d2e3f4a5b","device_id":"press-00017",`+
			`"device_firmware_version":"1.2.0","timestamp":"2026-11-28T00:00:00Z","metrics":{},`+
			`"metadata":{"type":"page_viewed","source":"web"},`+
			`"user":{"id":"pii-field-k1-0123456789012345678901234567890123456789012","email":`+
			`"pii-email-k1-0123456789012345678901234567890123456789012"},"context":{"user_agent":"Mozilla/5.0 (X11; Linux `+
			`x86_64) Gecko/20100101 Firefox/128.0"},"payload":{%s}}`, payload)
		p, n := keyed(b, "${! this.payload.product }")
		for _, by := range []string{"bytes", "engine"} {
			b.Run(name+"/"+by, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					msg := service.NewMessage(raw)
					if by == "engine" {
						_ = n.keyOf(msg, nil)
						continue
					}
					reader := p.keys.read(msg)
					_ = n.keyOf(msg, reader)
					p.keys.giveBack(reader)
				}
			})
		}
	}
}
