package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func (w *world) dial(headers ...string) (*websocket.Conn, *http.Response, error) {
	w.t.Helper()
	h := http.Header{"X-Api-Key": {w.key}}
	for i := 0; i+1 < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	c, res, err := websocket.DefaultDialer.Dial("ws://"+w.addr+"/v1/stream", h)
	if err == nil {
		w.t.Cleanup(func() { _ = c.Close() })
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	}
	return c, res, err
}

func hear(t *testing.T, c *websocket.Conn) verdicts {
	t.Helper()
	_, raw, err := c.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	var v verdicts
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return v
}

func say(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestGate_StreamAnswersEachMessageInOrder(t *testing.T) {
	w := newWorld(t, "")
	c, _, err := w.dial()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 { // without waiting for answers
		say(t, c, string(batchBody(1+i%5, ",", "[", "]")))
	}
	for i := range 100 {
		if v := hear(t, c); *v.Accepted != 1+i%5 || *v.Rejected != 0 {
			t.Fatalf("message %d: %+v", i, v)
		}
	}
	say(t, c, "["+goodEvent+",NaN]")
	if v := hear(t, c); *v.Accepted != 1 || v.Events[1].Code != "invalid_json" {
		t.Errorf("%+v", v)
	}
	say(t, c, "[]")
	if v := hear(t, c); *v.Accepted != 0 || v.Detail == "" {
		t.Errorf("%+v", v)
	}
	say(t, c, string(batchBody(101, ",", "[", "]")))
	if v := hear(t, c); v.Type != "https://weir.dev/problems/batch-too-large" {
		t.Errorf("%+v", v)
	}
	w.sink.set(func(s *sink) { s.fail = errors.New("down") })
	say(t, c, goodEvent)
	if v := hear(t, c); v.Type != "https://weir.dev/problems/log-unavailable" {
		t.Errorf("%+v", v)
	}
	w.sink.set(func(s *sink) { s.fail = nil })
	say(t, c, goodEvent)
	if v := hear(t, c); *v.Accepted != 1 {
		t.Errorf("after recovery: %+v", v)
	}
	say(t, c, strings.Repeat(" ", 1<<20+1))
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
		t.Errorf("a message above the limit: %v", err)
	}
}

func TestGate_StreamIsHeldBackInsteadOfRefused(t *testing.T) {
	w := newWorld(t, "    quota: { events_per_second: 200, burst: 20 }")
	c, _, err := w.dial()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	go func() {
		for range 20 {
			if c.WriteMessage(websocket.TextMessage, batchBody(20, ",", "[", "]")) != nil {
				return
			}
		}
	}()
	for range 20 {
		if v := hear(t, c); *v.Accepted != 20 {
			t.Fatalf("%+v", v)
		}
	}
	if took := time.Since(start); took < 1500*time.Millisecond {
		t.Errorf("400 events at 200 a second took %v", took)
	}
}

func TestGate_StreamEndsWithItsKey(t *testing.T) {
	w := newWorld(t, "    key_refresh: 20ms")
	c, _, err := w.dial()
	if err != nil {
		t.Fatal(err)
	}
	say(t, c, goodEvent)
	hear(t, c)
	if err := w.store.Revoke(t.Context(), strings.Split(w.key, "_")[1]); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		time.Sleep(20 * time.Millisecond)
		say(t, c, goodEvent)
		if _, _, err := c.ReadMessage(); err != nil {
			if !websocket.IsCloseError(err, websocket.ClosePolicyViolation) {
				t.Errorf("%v", err)
			}
			return
		}
	}
	t.Error("the stream outlives its key")
}

func TestGate_StreamRefusesAtTheDoor(t *testing.T) {
	w := newWorld(t, "")
	for name, c := range map[string]struct {
		status  int
		headers []string
	}{
		"an unknown key":   {401, []string{"X-Api-Key", "x"}},
		"a foreign origin": {403, []string{"Origin", "https://evil.example"}},
	} {
		if _, res, err := w.dial(c.headers...); err == nil || res.StatusCode != c.status {
			t.Errorf("%s: %v %v", name, res, err)
		}
	}
	if r := w.send("GET", "/v1/stream", "", nil); r.status != 426 || r.header.Get("Upgrade") != "websocket" {
		t.Errorf("%d %v", r.status, r.header)
	}
	if r := w.send("POST", "/v1/stream", "", nil); r.status != 405 {
		t.Errorf("%d", r.status)
	}
}

// A stop answers what is on its way, and says goodbye.
func TestGate_StopEndsStreams(t *testing.T) {
	w := newWorld(t, "")
	c, _, err := w.dial()
	if err != nil {
		t.Fatal(err)
	}
	idle, _, err := w.dial()
	if err != nil {
		t.Fatal(err)
	}
	w.sink.set(func(s *sink) { s.block = make(chan struct{}) })
	say(t, c, goodEvent)
	w.sink.await(t)
	stopped := make(chan error, 1)
	go func() { stopped <- w.stream.StopWithin(20 * time.Second) }()
	time.Sleep(200 * time.Millisecond)
	w.sink.set(func(s *sink) { close(s.block); s.block = nil })
	if v := hear(t, c); v.Accepted == nil || *v.Accepted != 1 {
		t.Errorf("%+v", v)
	}
	for name, c := range map[string]*websocket.Conn{"busy": c, "idle": idle} {
		if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestGate_IdleStreamsArePinged(t *testing.T) {
	w := newWorld(t, "    timeouts: { idle: 1s }")
	deaf, _, err := w.dial()
	if err != nil {
		t.Fatal(err)
	}
	deaf.SetPingHandler(func(string) error { return nil })
	start := time.Now()
	_, _, err = deaf.ReadMessage()
	if took := time.Since(start); err == nil || took > 10*time.Second {
		t.Errorf("a dead client is kept for %v: %v", took, err)
	}
	alive, _, err := w.dial()
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		_, _, err := alive.ReadMessage() // answers pings meanwhile
		got <- err
	}()
	time.Sleep(2500 * time.Millisecond)
	say(t, alive, goodEvent)
	if err := <-got; err != nil {
		t.Error(fmt.Errorf("a living client is dropped: %w", err))
	}
}
