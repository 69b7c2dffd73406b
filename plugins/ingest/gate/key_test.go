package gate

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"weir/internal/control/apikey"
	"weir/plugins/ingest/gate/ingestpb"
)

func (w *world) made(fleet string, opts apikey.Options) string {
	w.t.Helper()
	text, _, err := w.store.Create(w.t.Context(), fleet, opts)
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// Every route of the gate × every kind of key, as apikey.Routes says.
func TestGate_EachRouteAsksForItsScope(t *testing.T) {
	w, client, _ := grpcWorld(t, "")
	scoped := func(scopes ...apikey.Scope) string { return w.made("acme", apikey.Options{Scopes: scopes}) }
	kinds := []struct {
		name, text string
		status     int // where ingest is asked for; 0: let in
	}{
		{"no key", "", 401}, {"an unknown key", "weir_" + strings.Repeat("a", 10) + "_" + strings.Repeat("b", 52), 401},
		{"a device's key", w.key, 0}, {"a query key", scoped(apikey.Query), 403},
		{"an operator's key", scoped(apikey.Query, apikey.Operate), 403},
		{"a key for all of a fleet", scoped(apikey.Ingest, apikey.Query, apikey.Operate), 0},
		{"an admin key", w.made("", apikey.Options{Admin: true}), 403},
	}
	walked := 0
	for _, route := range apikey.Routes() {
		if route.Server != apikey.Gate {
			continue
		}
		walked++
		if route.Scope != apikey.Anyone && route.Scope != w.needs() {
			t.Errorf("the gate asks for %s at all that takes events, the table for %s at %s", w.needs(), route.Scope, route.Path)
		}
		for _, kind := range kinds {
			want := kind.status
			if route.Scope == apikey.Anyone {
				want = 0
			}
			got := w.knock(client, route, kind.text)
			if got != want {
				t.Errorf("%s: %s %s: %d, want %d", kind.name, route.Method, route.Path, got, want)
			}
		}
	}
	if walked < 6 {
		t.Errorf("walked %d routes", walked)
	}
	refused := w.send("POST", "/v1/events", "application/json", []byte(goodEvent), "X-API-Key", scoped(apikey.Query))
	if refused.header.Get("Content-Type") != "application/problem+json" || !strings.Contains(refused.body,
		`"missing_scope":"ingest"`) {
		t.Errorf("the refusal does not say what is missing: %s", refused.body)
	}
}

func (w *world) needs() apikey.Scope { return apikey.ScopeOf(apikey.Gate, "POST", "/v1/events") }

// knock asks at a route with a key, and returns 401, 403, or 0 when let in.
func (w *world) knock(client ingestpb.IngestClient, route apikey.Route, key string) int {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(w.t.Context(), "x-api-key", key), 20*time.Second)
	defer cancel()
	var err error
	switch {
	case strings.HasSuffix(route.Path, "/Publish"):
		_, err = client.Publish(ctx, events(goodEvent))
	case route.Method == "gRPC":
		var s ingestpb.Ingest_PublishStreamClient
		if s, err = client.PublishStream(ctx); err == nil {
			_ = s.Send(events(goodEvent)) // a stream that was refused says so when it is read
			_, err = s.Recv()
		}
	case route.Path == "/v1/stream":
		c, res, err := w.dial("X-API-Key", key)
		if err == nil {
			_ = c.Close()
			return 0
		}
		return res.StatusCode
	default:
		if got := w.send(route.Method, route.Path, "application/json", []byte(goodEvent), "X-API-Key",
			key).status; got == 401 || got == 403 {
			return got
		}
		return 0
	}
	return map[codes.Code]int{codes.Unauthenticated: 401, codes.PermissionDenied: 403}[status.Code(err)]
}

// A key with a device prefix sends for those devices only: events of others are
// refused one by one, whatever protocol they come by, and are dead letters.
func TestGate_PrefixRefusesEventsOfOtherDevices(t *testing.T) {
	w, client, _ := grpcWorld(t, "")
	key := w.made("acme", apikey.Options{DevicePrefix: "pump-"})
	of := func(device string) string {
		return strings.Replace(goodEvent, `"d-1"`, device, 1)
	}
	if of(`"x"`) == goodEvent {
		t.Fatal("the good event is of another device")
	}
	cases := []struct{ event, code string }{
		{of(`"pump-1"`), ""}, {of(`"pump-"`), ""}, {of(`"pump\u002d1"`), ""},
		{strings.Replace(of(`"pump-1"`), `"device_id"`, `"device\u005fid"`, 1), ""},
		{of(`"valve-1"`), "device_forbidden"}, {of(`"pump"`), "device_forbidden"}, {of(`"pum\u0070_1"`), "device_forbidden"},
		{of(`7`), "invalid_event"}, {strings.Replace(goodEvent, `"device_id"`, `"device"`, 1), "invalid_event"},
		{`{"x":{"device_id":"pump-1"},"metrics":{"device_id":"pump-1"},` + of(`"valve-1"`)[1:], "device_forbidden"},
		{`{"x":"device_id","y":"pump-1",` + of(`"valve-1"`)[1:], "device_forbidden"},
	}
	var bodies []string
	for _, c := range cases {
		bodies = append(bodies, c.event)
	}
	judge := func(by string, codes []string) {
		t.Helper()
		if len(codes) != len(cases) {
			t.Fatalf("%s: %d verdicts for %d events", by, len(codes), len(cases))
		}
		for i, c := range cases {
			if codes[i] != c.code {
				t.Errorf("%s: %s: %q, want %q", by, c.event, codes[i], c.code)
			}
		}
	}
	said := func(v verdicts) (codes []string) {
		for _, e := range v.Events {
			codes = append(codes, e.Code)
		}
		return codes
	}
	reply := w.post("["+strings.Join(bodies, ",")+"]", "X-API-Key", key)
	if reply.status != http.StatusMultiStatus {
		t.Errorf("a batch with events of others: %d", reply.status)
	}
	judge("JSON", said(reply.verdicts))
	judge("NDJSON", said(w.send("POST", "/v1/events", "application/x-ndjson", []byte(strings.Join(bodies, "\n")),
		"X-API-Key", key).verdicts))

	c, _, err := w.dial("X-API-Key", key)
	if err != nil {
		t.Fatal(err)
	}
	say(t, c, "["+strings.Join(bodies, ",")+"]")
	judge("WebSocket", said(hear(t, c)))

	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "x-api-key", key), 20*time.Second)
	defer cancel()
	res, err := client.Publish(ctx, events(bodies...))
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, v := range res.Events {
		codes = append(codes, v.Code)
	}
	judge("gRPC", codes)

	cloud := func(subject string) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":"1","source":"s","type":"t","subject":%q,"time":"2026-11-21T09:15:00Z","data":{"device_firmware_version":"2.1.0","metrics":{"cpu_temp":1}}}`, subject)
	}
	got := w.send("POST", "/v1/events", typeCloudBatch, []byte("["+cloud("pump-1")+","+cloud("valve-1")+"]"), "X-API-Key",
		key)
	if codes := said(got.verdicts); len(codes) != 2 || codes[0] != "" || codes[1] != "device_forbidden" {
		t.Errorf("CloudEvents: %v %s", codes, got.body)
	}
	if all := w.post(of(`"valve-1"`)); all.status != http.StatusAccepted {
		t.Errorf("a key without a prefix: %d %s", all.status, all.body)
	}
}
