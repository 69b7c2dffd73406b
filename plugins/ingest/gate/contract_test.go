package gate

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/apikey"
	"weir/internal/platform/text"
)

func TestGate_AcceptedEventsArriveAsSent(t *testing.T) {
	w := newWorld(t, "")
	odd := "  " + strings.Replace(goodEvent, `"d-1"`, "\"d-2\" ", 1) + "\n"
	trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	r := w.post("["+goodEvent+" , "+odd+"]", "Traceparent", trace, "Weir_fleet", "spoofed")
	if r.status != 202 || *r.Accepted != 2 || *r.Rejected != 0 || len(r.Events) != 2 {
		t.Fatalf("got %d %s", r.status, r.body)
	}
	if e := r.Events[1]; e.Index != 1 || e.Status != 202 || e.EventID == nil ||
		*e.EventID != "5f0c9d0e-31f4-4c0e-8f0a-9d8f6f3b2a10" {
		t.Errorf("verdict %+v", e)
	}
	got := w.sink.all()
	if len(got) != 2 || got[0].value != goodEvent || got[1].value != strings.TrimSpace(odd) {
		t.Fatalf("delivered %q", got)
	}
	for _, d := range got {
		at, ok := text.ParseTime(d.received)
		if d.fleet != "acme" || !ok || time.Since(at) > time.Minute || d.code != "" || d.trace != trace {
			t.Errorf("metadata %+v", d)
		}
	}
	if got[0].received != got[1].received {
		t.Error("one request was stamped twice")
	}
	if r.header.Get("Date") == "" {
		t.Error("the reply has no Date for devices to set their clocks by")
	}
}

// Every kind of bad input has its status and message, leaves nothing among the
// accepted events, and every event refused by verdict reaches the dead letters.
func TestGate_BadInputGetsItsAnswer(t *testing.T) {
	w := newWorld(t, "")
	many := strings.Repeat(goodEvent+",", 100) + goodEvent
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	cases := []struct {
		name, body string
		status     int
		accepted   int
		codes      []string // of the events in order, "" for accepted
	}{
		{"not JSON", "hello", 400, 0, []string{"invalid_json"}},
		{"gzip-looking bytes", "\x1f\x8b\x08\x00\x00", 400, 0, []string{"invalid_json"}},
		{"an array that does not end", "[" + goodEvent, 400, 0, []string{"invalid_json"}},
		{"text after the array", "[" + goodEvent + "] x", 400, 0, []string{"invalid_json"}},
		{"mismatched brackets", `[{"a":[1}]`, 400, 0, []string{"invalid_json"}},
		{"a string that does not end", `["a]`, 400, 0, []string{"invalid_json"}},
		{"NaN beside a good event", "[NaN," + goodEvent + "]", 207, 1, []string{"invalid_json", ""}},
		{"NaN as a metric", "[" + strings.Replace(goodEvent, "41.5", "NaN", 1) + "," + goodEvent + "]", 207, 1,
			[]string{"invalid_json", ""}},
		{"a number outside double", strings.Replace(goodEvent, "41.5", "1e999", 1), 400, 0, []string{"invalid_json"}},
		{"duplicate keys", "[" + goodEvent + "," + strings.Replace(goodEvent, `"d-1"`, `"d-1","device_id":"d-2"`, 1) + "]",
			207, 1, []string{"", "invalid_json"}},
		{"invalid UTF-8", strings.Replace(goodEvent, "d-1", "d-\xff", 1), 400, 0, []string{"invalid_json"}},
		{"deep nesting", "[" + deep + "," + goodEvent + "]", 207, 1, []string{"invalid_json", ""}},
		{"a wrong type", strings.Replace(goodEvent, "41.5", `"hot"`, 1), 400, 0, []string{"invalid_event"}},
		{"missing fields", `{"event_id":"5f0c9d0e-31f4-4c0e-8f0a-9d8f6f3b2a10"}`, 400, 0, []string{"invalid_event"}},
		{"not an object", `[1,"a",null,` + goodEvent + `]`, 207, 1, []string{"invalid_event", "invalid_event",
			"invalid_event", ""}},
		{"a comma too many", `[` + goodEvent + `,]`, 207, 1, []string{"", "invalid_json"}},
		{"an event that is too large", strings.Replace(goodEvent, "{", `{"x":"`+strings.Repeat("y", 70_000)+`",`, 1), 400, 0,
			[]string{"event_too_large"}},
		{"an empty body", "", 400, 0, nil},
		{"white space", " \n", 400, 0, nil},
		{"an empty array", " [ ] ", 400, 0, nil},
		{"101 events", "[" + many + "]", 413, -1, nil},
		{"10 MB", strings.Repeat(" ", 10<<20), 413, -1, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w.sink.set(func(s *sink) { s.got = nil })
			r := w.post(c.body)
			if r.status != c.status {
				t.Fatalf("status %d, expected %d: %.300s", r.status, c.status, r.body)
			}
			got := w.sink.all()
			if c.accepted < 0 {
				if r.header.Get("Content-Type") != "application/problem+json" || r.Detail == "" || len(got) != 0 {
					t.Fatalf("%v, %d delivered: %s", r.header, len(got), r.body)
				}
				return
			}
			if r.Accepted == nil || *r.Accepted != c.accepted || *r.Rejected != len(c.codes)-c.accepted ||
				len(r.Events) != len(c.codes) || r.Events == nil {
				t.Fatalf("body %.300s", r.body)
			}
			if len(c.codes) == 0 && r.Detail == "" {
				t.Error("nothing says why")
			}
			if len(got) != len(c.codes) {
				t.Fatalf("%d messages, expected %d", len(got), len(c.codes))
			}
			for i, code := range c.codes {
				e := r.Events[i]
				status := 202
				if code != "" {
					status = 400
					if len(e.Errors) == 0 || e.Errors[0].Message == "" {
						t.Errorf("event %d has no message", i)
					}
				}
				if e.Index != i || e.Code != code || e.Status != status || got[i].code != code {
					t.Errorf("event %d: verdict %+v, in the stream %q; expected %q", i, e, got[i].code, code)
				}
			}
		})
	}
}

func TestGate_LinesAreEventsOfTheirOwn(t *testing.T) {
	w := newWorld(t, "")
	body := goodEvent + "\r\n\n{\"broken\n" + goodEvent + "\n]\n  \n" + goodEvent
	r := w.send("POST", "/v1/events", "application/x-ndjson", []byte(body))
	if r.status != 207 || *r.Accepted != 3 || *r.Rejected != 2 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	for i, status := range []int{202, 400, 202, 400, 202} {
		if r.Events[i].Status != status {
			t.Errorf("line %d: %+v", i, r.Events[i])
		}
	}
	if r := w.send("POST", "/v1/events", "application/x-ndjson",
		[]byte(strings.Repeat(goodEvent+"\n", 101))); r.status != 413 {
		t.Errorf("101 lines: %d", r.status)
	}
}

func TestGate_MinimalReplyHasTheRejectedEventsOnly(t *testing.T) {
	w := newWorld(t, "")
	r := w.post("["+goodEvent+",NaN,"+goodEvent+",{}]", "Prefer", "return=minimal")
	if r.status != 207 || *r.Accepted != 2 || *r.Rejected != 2 || len(r.Events) != 2 || r.Events[0].Index != 1 ||
		r.Events[1].Index != 3 || r.header.Get("Preference-Applied") != "return=minimal" {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	if r := w.post(goodEvent, "Prefer", "return = minimal"); r.status != 202 || *r.Accepted != 1 ||
		r.body != `{"accepted":1,"rejected":0,"events":[]}`+"\n" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := w.post(goodEvent, "Prefer", "respond-async"); r.status != 202 || len(r.Events) != 1 ||
		r.header.Get("Preference-Applied") != "" {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestGate_RefusalsAreProblems(t *testing.T) {
	w := newWorld(t, "")
	admin, _, err := w.store.Create(t.Context(), "", apikey.Options{Admin: true})
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, method, path, contentType string
		headers                         []string
		status                          int
		header, value                   string
	}{
		{"no key", "POST", "/v1/events", "application/json", []string{"X-API-Key", ""}, 401, "Www-Authenticate",
			`Bearer realm="weir"`},
		{"an unknown key", "POST", "/v1/events", "application/json", []string{"X-API-Key", strings.Repeat("x", 68)}, 401, "",
			""},
		{"a changed key", "POST", "/v1/events", "application/json", []string{"X-API-Key", w.key[:len(w.key)-4] + "aaaa"}, 401,
			"", ""},
		{"an admin key", "POST", "/v1/events", "application/json", []string{"X-API-Key", admin}, 403, "", ""},
		{"a wrong method", "GET", "/v1/events", "", nil, 405, "Allow", "POST"},
		{"a wrong path", "POST", "/v1/event", "application/json", nil, 404, "", ""},
		{"a wrong media type", "POST", "/v1/events", "text/csv", nil, 415, "", ""},
		{"another charset", "POST", "/v1/events", "application/json; charset=utf-16", nil, 415, "", ""},
		{"an unknown encoding", "POST", "/v1/events", "application/json", []string{"Content-Encoding", "br"}, 415, "", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := w.send(c.method, c.path, c.contentType, []byte(goodEvent), c.headers...)
			if r.status != c.status || r.header.Get("Content-Type") != "application/problem+json" || r.Type == "" ||
				r.Detail == "" {
				t.Errorf("got %d %v %s", r.status, r.header, r.body)
			}
			if c.header != "" && r.header.Get(c.header) != c.value {
				t.Errorf("%s: %q", c.header, r.header.Get(c.header))
			}
			for _, secret := range []string{w.key, w.addr, "d-1"} {
				if strings.Contains(r.body, secret) {
					t.Errorf("the reply tells %q", secret)
				}
			}
		})
	}
	if n := len(w.sink.all()); n != 0 {
		t.Errorf("%d events were queued", n)
	}
	bearer := w.post(goodEvent, "X-API-Key", "", "Authorization", "bearer "+w.key)
	if bearer.status != 202 {
		t.Errorf("Bearer: %d %s", bearer.status, bearer.body)
	}
}

func TestGate_FailedLogIs503WithRetryAfter(t *testing.T) {
	w := newWorld(t, "")
	w.sink.set(func(s *sink) { s.fail = fmt.Errorf("broker at 10.0.0.9 is down") })
	r := w.post("[" + goodEvent + "]")
	if r.status != 503 || r.header.Get("Retry-After") == "" || strings.Contains(r.body, "10.0.0.9") {
		t.Fatalf("%d %v %s", r.status, r.header, r.body)
	}
	w.sink.set(func(s *sink) { s.fail = nil })
	if r := w.post(goodEvent); r.status != 202 {
		t.Fatalf("after recovery: %d %s", r.status, r.body)
	}
}

func TestGate_UnacknowledgedIs503(t *testing.T) {
	w := newWorld(t, "    timeouts: { ack: 200ms }")
	w.sink.set(func(s *sink) { s.block = make(chan struct{}) })
	start := time.Now()
	r := w.post(goodEvent)
	if r.status != 503 || r.header.Get("Retry-After") == "" || time.Since(start) > 5*time.Second {
		t.Fatalf("%d after %v: %s", r.status, time.Since(start), r.body)
	}
	w.sink.set(func(s *sink) { close(s.block); s.block = nil })
	if r := w.post(goodEvent); r.status != 202 {
		t.Fatalf("after recovery: %d %s", r.status, r.body)
	}
}

func TestGate_InFlightBoundIs429(t *testing.T) {
	w := newWorld(t, "    limits: { max_in_flight_requests: 2 }")
	w.sink.set(func(s *sink) { s.block = make(chan struct{}) })
	replies := make(chan reply, 2)
	for range 2 {
		go func() { replies <- w.post(goodEvent) }()
	}
	var r reply
	for range 100 {
		time.Sleep(10 * time.Millisecond)
		if r = w.send("POST", "/v1/events", "application/json", nil); r.status == 429 {
			break
		}
	}
	if r.status != 429 || r.header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	w.sink.set(func(s *sink) { close(s.block); s.block = nil })
	for range 2 {
		if r := <-replies; r.status != 202 {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
}

// A stop waits for what was taken in, and answers it truthfully.
func TestGate_StopDrains(t *testing.T) {
	w := newWorld(t, "")
	w.sink.set(func(s *sink) { s.block = make(chan struct{}) })
	replies := make(chan reply, 1)
	go func() { replies <- w.post(goodEvent) }()
	w.sink.await(t)
	stopped := make(chan error, 1)
	go func() { stopped <- w.stream.StopWithin(20 * time.Second) }()
	var late reply
	for range 100 {
		if late = w.post(goodEvent); late.status == 503 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if late.status != 503 {
		t.Errorf("while stopping: %d %s", late.status, late.body)
	}
	w.sink.set(func(s *sink) { close(s.block); s.block = nil })
	if r := <-replies; r.status != 202 {
		t.Errorf("taken before the stop: %d %s", r.status, r.body)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stopping: %v", err)
	}
	if n := len(w.sink.all()); n != 1 {
		t.Errorf("%d events delivered", n)
	}
	if _, err := http.Get(w.url + "/healthz"); err == nil {
		t.Error("it still listens")
	}
}

// A client that waits longer for the stream than it may take to send is still
// there: it gets its answer.
func TestGate_WaitOutlastsTheTimeForReading(t *testing.T) {
	release := make(chan struct{})
	g := loose(t, "timeouts: { ack: 20s }", func(service.MessageBatch) error {
		<-release
		return nil
	})
	srv := httptest.NewUnstartedServer(g)
	srv.Config.ReadTimeout = 200 * time.Millisecond
	srv.Start()
	defer srv.Close()
	answers := make(chan int, 3)
	for range 3 { // one in the stream, the others before it
		go func() {
			req, err := http.NewRequest("POST", srv.URL+"/v1/events", strings.NewReader(goodEvent))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("X-API-Key", "good")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			_ = res.Body.Close()
			answers <- res.StatusCode
		}()
	}
	time.Sleep(time.Second)
	close(release)
	for range 3 {
		if status := <-answers; status != 202 {
			t.Errorf("status %d", status)
		}
	}
}

// Nothing of a request is taken whose client leaves before the stream takes it,
// and nobody is told that it was.
func TestGate_ClientThatLeavesIsNotAnswered200(t *testing.T) {
	taken, release := make(chan struct{}, 2), make(chan struct{})
	var got atomic.Int64
	g := loose(t, "", func(service.MessageBatch) error {
		taken <- struct{}{}
		<-release
		got.Add(1)
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	codes := make(chan int, 2)
	post := func() {
		r := httptest.NewRequest("POST", "/v1/events", strings.NewReader(goodEvent)).WithContext(ctx)
		r.Header.Set("X-API-Key", "good")
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		codes <- w.Code
	}
	go post()
	<-taken // requests that come together would share a batch
	go post()
	time.Sleep(200 * time.Millisecond)
	cancel()
	if code := <-codes; code != 503 {
		t.Errorf("the one that was not taken: %d", code)
	}
	close(release)
	if code := <-codes; code != 202 {
		t.Errorf("the one that was: %d", code)
	}
	if n := got.Load(); n != 1 {
		t.Errorf("%d batches", n)
	}
}
