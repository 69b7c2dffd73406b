package gate

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"weir/internal/platform/requestid"
	"weir/internal/platform/text"
	"weir/internal/platform/trace"
)

// ownID is what a client may call its request.
const ownID = "0af7651916cd43dd8448eb211c80319c"

// Every answer says what its request is called, whatever it is answered.
func TestRequestID_IsInEveryAnswer(t *testing.T) {
	w := newWorld(t, "")
	seen := map[string]bool{}
	for _, c := range []struct {
		method, path, kind, body, key string
		status                        int
	}{
		{"POST", "/v1/events", typeJSON, goodEvent, w.key, 202},
		{"POST", "/v1/events", typeJSON, "[" + goodEvent + ",{}]", w.key, 207},
		{"POST", "/v1/events", typeJSON, "{}", w.key, 400}, {"POST", "/v1/events", typeJSON, "", w.key, 400},
		{"POST", "/v1/events", typeJSON, goodEvent, "wrong", 401}, {"GET", "/v1/events", "", "", w.key, 405},
		{"POST", "/v1/events", "text/html", goodEvent, w.key, 415}, {"GET", "/nothing", "", "", w.key, 404},
		{"GET", "/openapi.json", "", "", w.key, 200}, {"GET", "/healthz", "", "", w.key, 200},
		{"GET", "/v1/stream", "", "", w.key, 426},
	} {
		r := w.send(c.method, c.path, c.kind, []byte(c.body), "X-API-Key", c.key)
		id := r.header.Get("X-Request-Id")
		if r.status != c.status || len(id) != 32 || seen[id] {
			t.Errorf("%s %s: %d, called %q, want %d", c.method, c.path, r.status, id, c.status)
		}
		seen[id] = true
	}
	for asked, kept := range map[string]bool{ownID: true, "4111111111111111": false, "ann.smith": false} {
		if id := w.post(goodEvent, "X-Request-Id", asked).header.Get("X-Request-Id"); (id == asked) != kept || id == "" {
			t.Errorf("a client's own %q is %q", asked, id)
		}
	}
	if _, res, err := w.dial("X-Request-Id", ownID); err != nil || res.Header.Get("X-Request-Id") != ownID {
		t.Errorf("a WebSocket is not called by its client's id: %v %v", res, err)
	}
}

func TestRequestID_IsInTheHeaderOfACall(t *testing.T) {
	_, c, ctx := grpcWorld(t, "")
	var h metadata.MD
	ctx = metadata.AppendToOutgoingContext(ctx, "x-request-id", ownID)
	if _, err := c.Publish(ctx, events(goodEvent), grpc.Header(&h)); err != nil ||
		strings.Join(h.Get("x-request-id"), " ") != ownID {
		t.Errorf("%v %v", h, err)
	}
}

// nowhere is a collector that keeps nothing.
type nowhere struct{}

func (nowhere) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (nowhere) Shutdown(context.Context) error                             { return nil }

// What a stranger asks for is not traced. Events of a request that is not traced do
// not say that they are, whatever its client says.
func TestGate_TracesWhatItsSenderMaySend(t *testing.T) {
	const asked = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	p := trace.New(trace.Options{Ratio: 0, Exporter: nowhere{}})
	t.Cleanup(func() { _ = p.Shutdown(context.Background()) })
	f := (&gate{trace: p}).following("POST", asked, "id")
	if f.end(result{}, clientGone()); f.begun { // no key: nothing has begun
		t.Error("a stranger's request is traced")
	}
	if parent := f.begin(); parent == asked ||
		!strings.Contains(parent, asked[3:35]) || !strings.HasSuffix(parent, "-01") {
		t.Errorf("the events of a request that is traced say %q", parent)
	}
	for range 20 { // more than may ask in a second
		f = (&gate{trace: p}).following("POST", asked, "id")
		parent := f.begin()
		if f.span == nil && parent != strings.TrimSuffix(asked, "1")+"0" {
			t.Fatalf("the events of a request that is not traced say %q", parent)
		}
		f.end(result{}, nil)
	}
}

// Every event says what its request was called: by the digits of its time, or, of an
// id that a client made up, by a header. A time is never a client's to choose.
func TestRequestID_GoesWithEachEvent(t *testing.T) {
	w := newWorld(t, "")
	forged := requestid.New().String()
	for _, asked := range []string{"", ownID, forged} {
		before, begun := len(w.sink.all()), time.Now()
		var headers []string
		if asked != "" {
			headers = []string{"X-Request-Id", asked}
		}
		r := w.post("["+goodEvent+","+goodEvent+"]", headers...)
		if r.status != 202 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		got := w.sink.all()[before:]
		for _, d := range got {
			if id := d.requestID(); id != r.header.Get("X-Request-Id") || (d.request != "") != (asked == ownID) {
				t.Errorf("asked for %q: an event of %q at %s says %q", asked, r.header.Get("X-Request-Id"), d.received, d.request)
			}
			if !d.since(begun) {
				t.Errorf("asked for %q: an event was received at %s, before its request was sent", asked, d.received)
			}
		}
		if len(got) != 2 {
			t.Errorf("%d events came", len(got))
		}
	}
}

func (d delivered) requestID() string {
	if d.request != "" {
		return d.request
	}
	return requestid.Stamped(d.received)
}

func (d delivered) since(begun time.Time) bool {
	at, ok := text.ParseTime(d.received)
	return ok && !at.Before(begun.Truncate(time.Microsecond))
}

// An event is received when all of its request is there, however slowly it came: a
// device's clock is compared with that time.
func TestRequestID_ASlowRequestIsReceivedAtItsEnd(t *testing.T) {
	w := newWorld(t, "")
	r, body := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), "POST", w.url+"/v1/events", r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-Key", w.key)
	req.Header.Set("Content-Type", typeJSON)
	answer := make(chan *http.Response, 1)
	go func() {
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
		}
		answer <- res
	}()
	if _, err := io.WriteString(body, goodEvent[:20]); err != nil {
		t.Fatal(err)
	}
	last := time.Now()
	if _, err := io.WriteString(body, goodEvent[20:]); err != nil {
		t.Fatal(err)
	}
	_ = body.Close()
	res := <-answer
	if res == nil {
		return
	}
	_ = res.Body.Close()
	if got := w.sink.all(); len(got) != 1 || !got[0].since(last) || got[0].requestID() != res.Header.Get("X-Request-Id") {
		t.Errorf("%s: %+v", res.Status, got)
	}
}
