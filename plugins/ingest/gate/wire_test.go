package gate

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

const bom = "\uFEFF"

func utf16Of(s string, big bool) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		if big {
			b = append(b, byte(u>>8), byte(u))
		} else {
			b = append(b, byte(u), byte(u>>8))
		}
	}
	return string(b)
}

// A byte order mark is passed over wherever a text begins, and is no part of
// the event; UTF-16 is named as what it is.
func TestBody_AByteOrderMarkCostsNoEvent(t *testing.T) {
	w := newWorld(t, "")
	second := strings.Replace(goodEvent, "5f0c9d0e", "6f0c9d0e", 1)
	for _, c := range []struct{ kind, body string }{
		{typeJSON, bom + goodEvent},
		{typeJSON, bom + " [" + goodEvent + "," + second + "]"},
		{typeNDJSON, bom + goodEvent + "\n" + bom + second + "\n" + bom},
		{typeNDJSON, goodEvent + "\r\n" + bom + "\r\n"},
	} {
		if r := w.send("POST", "/v1/events", c.kind, []byte(c.body)); r.status != 202 {
			t.Errorf("%.40q: %d %s", c.body, r.status, r.body)
		}
	}
	for _, d := range w.sink.all() {
		if !strings.HasPrefix(d.value, `{"event_id"`) {
			t.Errorf("stored: %.40q", d.value)
		}
	}
	for _, body := range []string{utf16Of(goodEvent, false), utf16Of(goodEvent, true), utf16Of(bom+goodEvent, false),
		utf16Of(bom+"["+goodEvent+"]", true)} {
		for _, kind := range []string{typeJSON, typeNDJSON} {
			if r := w.send("POST", "/v1/events", kind, []byte(body)); r.status != 400 || !strings.Contains(r.body, "UTF-16") ||
				strings.Count(r.body, `"index"`) != 1 {
				t.Errorf("%.20q: %d %s", body, r.status, r.body)
			}
		}
	}
}

// A request with both lengths is answered by its chunks, and its connection is
// closed; chunks alone keep it open.
func TestConn_ClosesAfterARequestOfTwoLengths(t *testing.T) {
	w := newWorld(t, "")
	head := "POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: " + w.key + "\r\n"
	chunks := fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(goodEvent), goodEvent)
	for name, c := range map[string]struct {
		parts  []string
		closed bool
	}{
		"chunks alone":            {[]string{head + chunks}, false},
		"both":                    {[]string{head + "Content-Length: 5\r\n" + chunks}, true},
		"both, in other letters":  {[]string{head + "cONTENT-lENGTH: 5\r\n" + chunks}, true},
		"the name in two reads":   {[]string{head + "Content-Le", "ngth: 5\r\n" + chunks}, true},
		"the name in many reads":  {append(strings.Split(head+"Content-Length", ""), ": 5\r\n"+chunks), true},
		"behind another, at once": {[]string{head + chunks + head + "Content-Length: 5\r\n" + chunks}, true},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", w.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			for _, p := range c.parts {
				if _, err := conn.Write([]byte(p)); err != nil {
					t.Fatal(err)
				}
				if len(c.parts) > 1 {
					time.Sleep(5 * time.Millisecond)
				}
			}
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			in := bufio.NewReader(conn)
			res, err := http.ReadResponse(in, nil)
			if err != nil || res.StatusCode != http.StatusAccepted || res.Close != c.closed {
				t.Errorf("answered %v, closing %v (%v)", res.Status, res.Close, err)
			}
		})
	}
}

// Pages of the listed origins may send, and no others.
func TestGate_AnswersPreflightsOfListedOrigins(t *testing.T) {
	w := newWorld(t, "    allowed_origins: [ https://app.example.com ]")
	asks := func(origin string) map[string]string {
		return map[string]string{"Origin": origin, "Access-Control-Request-Method": "POST"}
	}
	r := w.preflight(t, asks("https://app.example.com"))
	if r.StatusCode != http.StatusNoContent || r.Header.Get("Access-Control-Allow-Origin") != "https://app.example.com" ||
		!strings.Contains(r.Header.Get("Access-Control-Allow-Headers"), "X-API-Key") {
		t.Errorf("a preflight: %d %v", r.StatusCode, r.Header)
	}
	if r := w.preflight(t, asks("https://other.example.com")); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("of another: %d", r.StatusCode)
	}
	if r := newWorld(t, "").preflight(t, asks("https://app.example.com")); r.StatusCode != http.StatusMethodNotAllowed ||
		r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("without origins: %d %v", r.StatusCode, r.Header)
	}
	if r := w.post(goodEvent, "Origin", "https://app.example.com"); r.status != 202 ||
		r.header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("an event: %d %v", r.status, r.header)
	}
}

func (w *world) preflight(t *testing.T, header map[string]string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, w.url+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res
}

// The gate is ready again with the first event that is taken, and when nobody
// has tried for a while; short pressure is not told.
func TestReadiness_TellsOnlyOfLastingRefusals(t *testing.T) {
	start := time.Now()
	after := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	var r readiness
	if r.reason(start, true) != nil {
		t.Error("nothing was refused, and the gate is not ready")
	}
	r.refused(wrongMethod("POST"), start)
	r.refused(&refusal{name: "quota-exceeded"}, start)
	if r.since.Load() != 0 {
		t.Error("what is a client's own counts")
	}
	for s := range 10 {
		r.refused(logUnavailable(), after(s))
	}
	if r.reason(after(9), false) != nil {
		t.Error("not ready after nine seconds")
	}
	if why := r.reason(after(12), false); why == nil || why.name != "log-unavailable" {
		t.Errorf("after twelve seconds: %v", why)
	}
	if r.reason(after(60), false) != nil {
		t.Error("not ready, and nobody has tried for fifty seconds")
	}
	if r.reason(after(60), true) == nil {
		t.Error("ready, and the backlog stops everything")
	}
	r.taken()
	if r.reason(after(60), true) != nil {
		t.Error("not ready though an event was taken")
	}
}

// A log that cannot be written for ten seconds is told to load balancers, and
// that it can again at once.
func TestGate_IsNotReadyWhileTheLogCannotBeWritten(t *testing.T) {
	w := newWorld(t, "")
	ready := func() reply { return w.send("GET", "/ready", "", nil) }
	if r := ready(); r.status != 200 {
		t.Fatalf("at first: %d %s", r.status, r.body)
	}
	w.sink.set(func(s *sink) { s.fail = errors.New("the disk is full") })
	begun := time.Now()
	for ready().status == 200 {
		if r := w.post(goodEvent); r.status != 503 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		if time.Since(begun) > 60*time.Second {
			t.Fatal("the gate is ready and takes nothing")
		}
		time.Sleep(200 * time.Millisecond)
	}
	if took := time.Since(begun); took < unreadyAfter {
		t.Errorf("not ready after %s", took)
	}
	if r := ready(); !strings.Contains(r.body, "log-unavailable") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := w.send("GET", "/healthz", "", nil); r.status != 200 {
		t.Errorf("healthz: %d", r.status)
	}
	w.sink.set(func(s *sink) { s.fail = nil })
	if r := w.post(goodEvent); r.status != 202 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if r := ready(); r.status != 200 {
		t.Errorf("with room again: %d %s", r.status, r.body)
	}
}
