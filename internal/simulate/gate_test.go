package simulate

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"weir/internal/event"
)

// fakeGate answers as the contract says, and keeps what it accepted.
type fakeGate struct {
	*httptest.Server
	before func(http.ResponseWriter, *http.Request) bool // true when it has answered

	mu       sync.Mutex
	accepted []json.RawMessage
	requests int
}

func newFakeGate(t testing.TB) *fakeGate {
	g := &fakeGate{}
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	return g
}

func (g *fakeGate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	g.mu.Lock()
	g.requests++
	g.mu.Unlock()
	if g.before != nil && g.before(w, r) {
		return
	}
	events, err := split(r.Header.Get("Content-Type"), body)
	if r.URL.Path != "/v1/events" || r.Method != "POST" || r.Header.Get("X-API-Key") != "secret" || err != nil {
		refuse(w, 400, 0)
		return
	}
	type verdict struct {
		Index  int               `json:"index"`
		ID     string            `json:"event_id"`
		Status int               `json:"status"`
		Code   string            `json:"code,omitempty"`
		Errors []json.RawMessage `json:"errors,omitempty"`
	}
	reply := struct {
		Accepted int       `json:"accepted"`
		Rejected int       `json:"rejected"`
		Events   []verdict `json:"events"`
	}{}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, raw := range events {
		code := judge(raw)
		if code == "" {
			reply.Accepted++
			reply.Events = append(reply.Events, verdict{Index: i, Status: 202})
			g.accepted = append(g.accepted, raw)
		} else {
			reply.Rejected++
			reply.Events = append(reply.Events, verdict{Index: i, Status: 400, Code: code})
		}
	}
	status := 207
	if reply.Rejected == 0 {
		status = 202
	} else if reply.Accepted == 0 {
		status = 400
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(reply)
}

// judge is the least that the schemas demand.
func judge(raw []byte) string {
	var e event.Event
	if event.Parse(raw, &e) != nil {
		return "invalid_event"
	}
	if e.Firmware[0] > '3' || e.Firmware[1] != '.' {
		return "unknown_firmware"
	}
	have := map[string]bool{}
	for _, m := range e.Metrics {
		have[m.Name] = true
	}
	if !have["cpu_temp"] || !have["battery_voltage"] || !have["vibration"] && e.Firmware[0] < '3' {
		return "schema_violation"
	}
	return ""
}

func split(media string, body []byte) (events []json.RawMessage, err error) {
	if media == "application/x-ndjson" {
		for len(body) > 0 {
			i := 0
			for body[i] != '\n' {
				i++
			}
			events = append(events, json.RawMessage(body[:i]))
			body = body[i+1:]
		}
		return events, nil
	}
	if body[0] == '{' {
		return []json.RawMessage{body}, nil
	}
	return events, json.Unmarshal(body, &events)
}

func refuse(w http.ResponseWriter, status, retryAfter int) {
	w.Header().Set("Content-Type", "application/problem+json")
	if retryAfter > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(retryAfter))
	}
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"type":"about:blank","status":%d}`, status)
}

func base(g *fakeGate) Config {
	return Config{
		URL: g.URL, Key: "secret", Devices: 20, Rate: 0, Events: 200, Batch: 10, Connections: 4, Format: JSON,
		Firmware: []Firmware{{"1.4.0", 1}, {"2.1.0", 2}, {"3.0.2", 1}}, Seed: 7,
		Timeout: 5 * time.Second, Retry: true, RetryFor: 10 * time.Second,
	}
}
