package scenarios

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector is an OTLP endpoint that keeps the traces it receives. While it is stuck, it answers no request.
type collector struct {
	url string

	mu     sync.Mutex
	raw    [][]byte
	traces map[string][]*tracepb.Span // by trace id
	stuck  context.Context            // done unless the collector is stuck
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	free, cancel := context.WithCancel(context.Background())
	cancel()
	c := &collector{traces: map[string][]*tracepb.Span{}, stuck: free}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		stuck := c.stuck
		c.mu.Unlock()
		select {
		case <-stuck.Done():
		case <-r.Context().Done():
			return
		}
		if err := c.take(r); err != nil {
			t.Error(err)
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	c.url = server.URL
	return c
}

// stick makes the collector answer nobody until free is called.
func (c *collector) stick() (free func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stuck, free = context.WithCancel(context.Background())
	return free
}

func (c *collector) take(r *http.Request) error {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil // the request was aborted
	}
	var req collectorpb.ExportTraceServiceRequest
	if err := proto.Unmarshal(raw, &req); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, raw)
	for _, of := range req.GetResourceSpans() {
		for _, by := range of.GetScopeSpans() {
			for _, s := range by.GetSpans() {
				id := hex.EncodeToString(s.GetTraceId())
				c.traces[id] = append(c.traces[id], s)
			}
		}
	}
	return nil
}

// paths returns the spans of a trace, each as the path of span names from the root.
func (c *collector) paths(trace string) (paths []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	spans := map[string]*tracepb.Span{}
	for _, s := range c.traces[trace] {
		spans[string(s.GetSpanId())] = s
	}
	for _, s := range c.traces[trace] {
		path := s.GetName()
		for above := spans[string(s.GetParentSpanId())]; above != nil; above = spans[string(above.GetParentSpanId())] {
			path = above.GetName() + " > " + path
		}
		paths = append(paths, path)
	}
	return paths
}

// asked posts a body with some headers and returns the status and the request id of the answer.
func (s *system) asked(body string, headers ...string) (status int, id string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://"+s.addresses[0]+"/v1/events",
		strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-API-Key", s.key)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header.Get("X-Request-Id")
}

// One trace leads from a device's request to the Parquet object, the rollup transaction and the dead letter. It
// contains nothing of the events.
func TestTraces_ARequestIsOneTraceToTheStores(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	s := newSystem(t)
	s.env = []string{"WEIR_OTLP_URL=" + c.url, "WEIR_OTLP_RATIO=1"}
	s.start()
	s.ready()
	s.createKey()
	good, bad := uuid.NewString(), uuid.NewString()
	const device = "pump-of-a-person"
	const event = `{"event_id":%q,"device_id":%q,"device_firmware_version":%q,"timestamp":%q,"metrics":{"cpu_temp":61.5,"battery_voltage":3.7,"vibration":0.2}}`
	now := time.Now().UTC().Format(time.RFC3339)
	status, trace := s.asked("[" + fmt.Sprintf(event, good, device, "2.0.0", now) + "," +
		fmt.Sprintf(event, bad, device, "99.0.0", now) + "]")
	if status != http.StatusMultiStatus || len(trace) != 32 {
		t.Fatalf("answered %d, as request %q", status, trace)
	}
	const post = "POST /v1/events"
	want := []string{post, post + " > schema_validate", post + " > write to the log"}
	for group, stages := range map[string][]string{
		"weir-raw": {"event_dedupe", "write to the raw store"}, "weir-rollup": {"event_dedupe", "write to the rollup store"},
		"weir-detect": {"event_dedupe", "anomaly"}, "weir-dead-letter": {"write to the dead-letter store"},
	} {
		want = append(want, post+" > "+group)
		for _, stage := range stages {
			want = append(want, post+" > "+group+" > "+stage)
		}
	}
	var missing []string
	s.until("a trace has no span of each stage", func() bool {
		paths := c.paths(trace)
		missing = slices.DeleteFunc(slices.Clone(want), func(path string) bool { return slices.Contains(paths, path) })
		return len(missing) == 0
	})

	// The dead letter names the request that brought it.
	var letters struct {
		All []struct{ ID string } `json:"dead_letters"`
	}
	list, err := s.weir("dead-letters", "--data", s.data, "--json")
	if err = errors.Join(err, json.Unmarshal([]byte(list), &letters)); err != nil || len(letters.All) != 1 {
		t.Fatalf("the dead letters are %s (%v)", list, err)
	}
	letter, err := s.weir("dead-letters", "--data", s.data, "--json", "--id", letters.All[0].ID)
	if err != nil || !strings.Contains(letter, "weir_request_id") || strings.Count(letter, trace) < 2 {
		t.Errorf("the dead letter does not name request and trace %s (%v):\n%s", trace, err, letter)
	}
	// A request id from the client is kept if it is opaque.
	for own, kept := range map[string]bool{uuid.NewString(): true, "a b": false, "4111111111111111": false} {
		status, id := s.asked(fmt.Sprintf(event, uuid.NewString(), device, "2.0.0", now), "X-Request-Id", own)
		if status != http.StatusAccepted || (id == own) != kept || id == "" {
			t.Errorf("a request called %q is answered %d, as %q", own, status, id)
		}
	}
	for _, address := range s.addresses[:2] { // errors have one too
		resp, err := http.Get("http://" + address + "/v1/nothing")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode < 400 || resp.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s answers %s without an id", address, resp.Status)
		}
	}
	c.mu.Lock()
	all := bytes.Join(c.raw, nil)
	c.mu.Unlock()
	for _, secret := range []string{device, good, bad, s.key, fleetName, "cpu_temp"} {
		if bytes.Contains(all, []byte(secret)) {
			t.Errorf("spans hold %q", secret)
		}
	}
	s.stop()
}

// A collector that never answers blocks nothing: events are accepted and stored, spans that are not sent are counted,
// and weir stops in time.
func TestTraces_AStuckCollectorBlocksNothing(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	free := c.stick()
	defer free()
	s := newSystem(t)
	s.env = []string{"WEIR_OTLP_URL=" + c.url, "WEIR_OTLP_RATIO=1"}
	s.start()
	s.ready()
	s.createKey()
	lost := func() bool { return s.metric(`weir_trace_spans_total`) > 0 }
	for deadline := time.Now().Add(5 * time.Minute); !lost(); { // each request has at least ten spans, and 4,096 may wait
		_, wait := s.fleet("--devices", "100", "--rate", "500", "--duration", "2s", "--batch", "1")
		wait()
		if time.Now().After(deadline) {
			t.Fatal("no span is counted as lost, although the collector takes none")
		}
	}
	s.reconcile()
	s.stop()
	if n := strings.Count(s.said(), "the collector of traces takes no spans"); n > 1 {
		t.Errorf("weir says %d times that the collector is away", n)
	}
}
