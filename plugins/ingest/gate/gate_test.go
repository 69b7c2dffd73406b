package gate

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/internal/platform/sqldb"
	"weir/plugins/ingest/eventlog"
	"weir/plugins/store/deadletter"
)

const goodEvent = `{"event_id":"5f0c9d0e-31f4-4c0e-8f0a-9d8f6f3b2a10","device_id":"d-1","device_firmware_version":"1.2.0","timestamp":"2026-11-21T09:00:00Z","metrics":{"cpu_temp":41.5,"battery_voltage":3.7,"vibration":0.2}}`

// sink is the log of a test: it takes what the stream delivers, and can be
// told to fail, or to hold its acknowledgement back.
type sink struct {
	mu     sync.Mutex
	silent bool // acknowledges and keeps nothing
	got    []delivered
	fail   error
	block  chan struct{}
	held   atomic.Int64 // batches that wait for block
}

type delivered struct {
	value, fleet, received, code, trace, region, request string
}

func (s *sink) Connect(context.Context) error { return nil }
func (s *sink) Close(context.Context) error   { return nil }

func (s *sink) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	s.mu.Lock()
	block, fail, silent := s.block, s.fail, s.silent
	s.mu.Unlock()
	if silent {
		return nil
	}
	if block != nil {
		s.held.Add(1)
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fail != nil {
		return fail
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, msg := range batch {
		raw, _ := msg.AsBytes()
		d := delivered{value: string(raw), fleet: event.FleetOf(msg), received: event.Meta(msg, event.HeaderReceivedAt),
			trace: event.Meta(msg, event.HeaderTraceparent), region: event.Meta(msg, event.HeaderRegion),
			request: event.Meta(msg, event.HeaderRequest)}
		if r := event.RejectionOf(msg); r != nil {
			d.code = string(r.Code)
		}
		s.got = append(s.got, d)
	}
	return nil
}

func (s *sink) all() []delivered {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]delivered(nil), s.got...)
}

func (s *sink) set(f func(*sink)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// await returns when a batch waits for block.
func (s *sink) await(t testing.TB) {
	t.Helper()
	for range 2000 {
		if s.held.Load() > 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("no batch reached the sink")
}

// checker stands for schema_validate and dead_letter: it marks what is no
// event, and records the verdict.
type checker struct{}

func (checker) ProcessBatch(_ context.Context, batch service.MessageBatch) ([]service.MessageBatch, error) {
	var e event.Event
	for _, msg := range batch {
		raw, err := msg.AsBytes()
		if err != nil {
			return nil, err
		}
		if msg.GetError() == nil {
			var r *event.Rejection
			if errors.As(event.Parse(raw, &e), &r) {
				event.MarkRejected(msg, r)
			} else {
				msg.MetaSetMut(event.MetaDevice, e.Device)
			}
		}
		if r := event.RejectionOf(msg); r != nil {
			event.RecordVerdict(msg, r)
		}
	}
	return []service.MessageBatch{batch}, nil
}

func (checker) Close(context.Context) error { return nil }

// world is a running stream with a gate, a checker and a sink.
type world struct {
	t        testing.TB
	url      string
	addr     string
	key      string
	store    *apikey.Store
	storeURL string
	sink     *sink
	stream   *service.Stream
	stopped  chan error
}

func freeAddr(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func newWorld(t testing.TB, extra string) *world { return newWorldAt(t, extra, nil) }

// newWorldAt is newWorld with TLS, when a client's side of it is given.
func newWorldAt(t testing.TB, extra string, client *tls.Config) *world {
	return setup{gate: extra, client: client, output: "sink: {}"}.start(t)
}

// setup is what tests choose of a world.
type setup struct {
	gate    string      // fields of the gate
	client  *tls.Config // a client's side of TLS, or nil
	mapping string      // a person's own, after the checker
	output  string
	log     *slog.Logger // nil: no logs
}

// own is the processor that a person has put behind the checker, if any.
func (c setup) own() string {
	if c.mapping == "" {
		return ""
	}
	return fmt.Sprintf("    - mapping: %q", c.mapping)
}

func (c setup) start(t testing.TB) *world {
	t.Helper()
	extra, client := c.gate, c.client
	w := &world{t: t, addr: freeAddr(t), sink: &sink{}, stopped: make(chan error, 1)}
	w.url = "http://" + w.addr
	if client != nil {
		w.url = "https://" + w.addr
	}
	w.storeURL = "sqlite://" + filepath.Join(t.TempDir(), "control.db")
	db, err := sqldb.Open(t.Context(), w.storeURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if w.store, err = apikey.Open(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if w.key, _, err = w.store.Create(t.Context(), "acme", apikey.Options{}); err != nil {
		t.Fatal(err)
	}

	env := service.NewEnvironment()
	for _, register := range []func(*service.Environment) error{Register, eventlog.Register, deadletter.Register} {
		if err := register(env); err != nil {
			t.Fatal(err)
		}
	}
	if err := env.RegisterBatchProcessor("checker", service.NewConfigSpec(),
		func(*service.ParsedConfig, *service.Resources) (service.BatchProcessor, error) {
			return checker{}, nil
		}); err != nil {
		t.Fatal(err)
	}
	if err := env.RegisterBatchOutput("sink", service.NewConfigSpec(),
		func(*service.ParsedConfig, *service.Resources) (service.BatchOutput, service.BatchPolicy, int, error) {
			return w.sink, service.BatchPolicy{}, 64, nil
		}); err != nil {
		t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	if err := b.SetYAML(fmt.Sprintf(`
input:
  gate:
    address: %s
    keys: %s
%s
pipeline:
  processors:
    - checker: {}
%s
output:
  %s
logger:
  level: NONE
`, w.addr, w.storeURL, extra, c.own(), strings.ReplaceAll(c.output, "\n", "\n  "))); err != nil {
		t.Fatal(err)
	}
	if c.log != nil {
		b.SetLogger(c.log)
	}
	if w.stream, err = b.Build(); err != nil {
		t.Fatal(err)
	}
	go func() { w.stopped <- w.stream.Run(context.Background()) }()
	t.Cleanup(func() {
		w.sink.set(func(s *sink) {
			if s.block != nil {
				close(s.block)
				s.block = nil
			}
		})
		if err := w.stream.StopWithin(20 * time.Second); err != nil && !strings.Contains(err.Error(), "not been run") {
			t.Logf("stopping: %v", err)
		}
	})
	probe := &http.Client{Transport: &http.Transport{TLSClientConfig: client, DisableKeepAlives: true}}
	for range 200 {
		if res, err := probe.Get(w.url + "/healthz"); err == nil {
			res.Body.Close()
			return w
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the gate does not listen")
	return nil
}

type reply struct {
	status int
	header http.Header
	body   string
	verdicts
}

type verdicts struct {
	Type     string `json:"type"`
	Detail   string `json:"detail"`
	Accepted *int   `json:"accepted"`
	Rejected *int   `json:"rejected"`
	Events   []struct {
		Index   int                `json:"index"`
		EventID *string            `json:"event_id"`
		Status  int                `json:"status"`
		Code    string             `json:"code"`
		Errors  []event.FieldError `json:"errors"`
	} `json:"events"`
}

func (w *world) send(method, path, contentType string, body []byte, headers ...string) reply {
	w.t.Helper()
	req, err := http.NewRequest(method, w.url+path, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("X-API-Key", w.key)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
		} else {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	res, err := (&http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	out := reply{status: res.StatusCode, header: res.Header, body: string(raw)}
	if err := decode(raw, &out); err != nil && method != http.MethodHead {
		w.t.Fatalf("the reply is not JSON: %v: %s", err, raw)
	}
	if err := holds(method, path, out); err != nil {
		w.t.Errorf("%s %s %d breaks the contract: %v", method, path, out.status, err)
	}
	return out
}

func decode(raw []byte, r *reply) error { return json.Unmarshal(raw, &r.verdicts) }

func (w *world) post(body string, headers ...string) reply {
	w.t.Helper()
	return w.send("POST", "/v1/events", "application/json", []byte(body), headers...)
}
