package gate

import (
	"bytes"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func gzipped(t testing.TB, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zstdStreamed is a frame that does not name the size of its content.
func zstdStreamed(t testing.TB, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	for part := body; len(part) > 0; {
		n := min(len(part), 100_000)
		if _, err := w.Write(part[:n]); err != nil {
			t.Fatal(err)
		}
		part = part[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstdWhole(t testing.TB, body []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(body, nil)
}

func TestGate_CompressedBodies(t *testing.T) {
	w := newWorld(t, "")
	batch := batchBody(100, ",", "[", "]")
	bomb := bytes.Repeat([]byte(" "), 200<<20)
	encoders := map[string]func(testing.TB, []byte) []byte{"gzip": gzipped, "zstd": zstdStreamed, "zstd, sized": zstdWhole}
	for name, encode := range encoders {
		encoding, _, _ := strings.Cut(name, ",")
		t.Run(name, func(t *testing.T) {
			send := func(body []byte) reply {
				w.sink.set(func(s *sink) { s.got = nil })
				return w.send("POST", "/v1/events", "application/json", body, "Content-Encoding", encoding)
			}
			if r := send(encode(t, batch)); r.status != 202 || *r.Accepted != 100 {
				t.Errorf("a batch: %d %.200s", r.status, r.body)
			}
			if got := w.sink.all(); len(got) != 100 || !strings.Contains(string(batch), got[99].value) {
				t.Errorf("%d delivered", len(got))
			}
			if r := send(encode(t, bomb)); r.status != 413 {
				t.Errorf("a bomb: %d %.200s", r.status, r.body)
			}
			for what, body := range map[string][]byte{
				"truncated":       encode(t, batch)[:200],
				"plain":           batch,
				"text after":      append(encode(t, batch), "text"...),
				"empty":           {},
				"of empty":        encode(t, nil),
				"gzip-like bytes": []byte("\x1f\x8b\x08\x00\x00"),
				"zstd-like bytes": []byte("\x28\xb5\x2f\xfd\x00"),
			} {
				r := send(body)
				if r.status != 400 || r.Accepted == nil || *r.Accepted != 0 || *r.Rejected != 0 || r.Events == nil ||
					r.Detail == "" {
					t.Errorf("%s: %d %.200s", what, r.status, r.body)
				}
				if n := len(w.sink.all()); n != 0 {
					t.Errorf("%s: %d events were queued", what, n)
				}
			}
		})
	}
}

func TestGate_LimitsOfAnEventAreExact(t *testing.T) {
	w := newWorld(t, "    limits: { max_event_bytes: 1000, max_depth: 4, max_metrics: 5, max_string_bytes: 100 }")
	with := func(field string) string { return goodEvent[:len(goodEvent)-1] + "," + field + "}" }
	pad := func(n int) string {
		e := with(`"x":""`)
		for len(e) < n-60 {
			e = e[:len(e)-1] + `,"` + strings.Repeat("k", 3) + string(rune('a'+len(e)%26)) + string(rune('a'+len(e)/26%26)) +
				`":"` + strings.Repeat("y", 40) + `"}`
		}
		return e[:len(e)-1] + strings.Repeat(" ", n-len(e)) + "}"
	}
	metrics := func(n int) string {
		m := []string{}
		for i := range n {
			m = append(m, `"m`+string(rune('a'+i))+`":1`)
		}
		return strings.Replace(goodEvent, `{"cpu_temp":41.5,"battery_voltage":3.7,"vibration":0.2}`, "{"+strings.Join(m, ",")+
			"}", 1)
	}
	for _, c := range []struct{ name, body, code string }{
		{"1000 bytes", pad(1000), ""},
		{"1001 bytes", pad(1001), "event_too_large"},
		{"4 levels", with(`"x":{"y":[[1]]}`), ""},
		{"5 levels", with(`"x":{"y":[[{}]]}`), "invalid_json"},
		{"5 metrics", metrics(5), ""},
		{"6 metrics", metrics(6), "event_too_large"},
		{"6 metrics by an escaped name", strings.Replace(metrics(6), `"metrics"`, `"m\u0065trics"`, 1), "event_too_large"},
		{"many members elsewhere", with(`"diagnostics":{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6}`), ""},
		{"100 bytes of text", with(`"x":"` + strings.Repeat("y", 100) + `"`), ""},
		{"101 bytes of text", with(`"x":"` + strings.Repeat("y", 101) + `"`), "event_too_large"},
		{"a name of 101 bytes", with(`"` + strings.Repeat("y", 101) + `":1`), "event_too_large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := w.post("[" + c.body + "," + goodEvent + "]")
			if *r.Accepted != map[bool]int{true: 2, false: 1}[c.code == ""] || r.Events[0].Code != c.code ||
				r.Events[1].Code != "" {
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
}
