package gate

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/plugins/ingest/gate/admission"
)

// oneKey knows one key.
type oneKey struct{}

func (oneKey) Check(_ context.Context, text string) (*apikey.Key, error) {
	if text == "good" {
		return &apikey.Key{Fleet: "acme", Scopes: []apikey.Scope{apikey.Ingest}}, nil
	}
	return nil, apikey.ErrUnknown
}

// loose is a gate without a listener, whose stream is a function.
func loose(t testing.TB, conf string, stream func(service.MessageBatch) error) *gate {
	t.Helper()
	parsed, err := inputSpec().ParseYAML("keys: sqlite://unused\n"+conf, service.NewEnvironment())
	if err != nil {
		t.Fatal(err)
	}
	c, err := configFromParsed(parsed)
	if err != nil {
		t.Fatal(err)
	}
	g, err := newGate(c, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	g.checker = oneKey{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			batch, ack, err := g.ReadBatch(ctx)
			if err != nil {
				return
			}
			_ = ack(ctx, stream(batch))
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = g.Close(context.Background())
	})
	return g
}

// Whatever a client sends, the gate answers by its contract, counts add up, and
// what it refuses leaves nothing behind.
func FuzzHandler(f *testing.F) {
	types := []string{"", typeJSON, typeNDJSON, typeCloudEvent, typeCloudBatch, "text/plain",
		"application/json; charset=latin1", ";;"}
	encodings := []string{"", "identity", "gzip", "zstd", "x-gzip", "br", "gzip, zstd"}
	for i, body := range append(jsonCases()[:60], goodEvent, "["+goodEvent+","+goodEvent+"]", goodEvent+"\n"+goodEvent) {
		f.Add([]byte(body), byte(i), byte(0), false)
	}
	for _, body := range []string{goodEvent, "[" + goodEvent + "]", "", "\n"} {
		f.Add(gzipped(f, []byte(body)), byte(1), byte(2), false)
		f.Add(zstdWhole(f, []byte(body)), byte(2), byte(3), true)
	}
	var got []*service.Message
	g := loose(f, "limits: { max_body_bytes: 4096, max_batch_events: 5, max_event_bytes: 512 }",
		func(batch service.MessageBatch) error {
			_, err := checker{}.ProcessBatch(context.Background(), batch)
			got = append(got, batch...)
			return err
		})
	f.Fuzz(func(t *testing.T, body []byte, kind, encoding byte, chunked bool) {
		got = nil
		r := httptest.NewRequest("POST", "/v1/events", bytes.NewReader(body))
		if chunked {
			r.ContentLength = -1
		}
		r.Header.Set("X-API-Key", "good")
		r.Header.Set("Content-Type", types[int(kind)%len(types)])
		r.Header.Set("Content-Encoding", encodings[int(encoding)%len(encodings)])
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		out := reply{status: w.Code, header: w.Header(), body: w.Body.String()}
		if err := decode(w.Body.Bytes(), &out); err != nil {
			t.Fatalf("%v: %s", err, out.body)
		}
		if err := holds("POST", "/v1/events", out); err != nil {
			t.Fatalf("%d: %v", out.status, err)
		}
		if now := g.admit.InFlight(); now != (admission.Load{}) {
			t.Fatalf("%+v stays in flight", now)
		}
		if out.Accepted == nil {
			if len(got) != 0 {
				t.Fatalf("%d leaves %d events behind", out.status, len(got))
			}
			return
		}
		accepted := 0
		for _, msg := range got {
			if msg.GetError() == nil {
				accepted++
				raw, _ := msg.AsBytes()
				var e event.Event
				if err := event.Parse(raw, &e); err != nil {
					t.Fatalf("accepted: %v", err)
				}
			}
		}
		if accepted != *out.Accepted || len(got) != *out.Accepted+*out.Rejected || len(got) != len(out.Events) {
			t.Fatalf("%d messages, %d accepted: %s", len(got), accepted, out.body)
		}
		want := map[bool]int{true: http.StatusAccepted, false: http.StatusMultiStatus}[*out.Rejected == 0]
		if *out.Accepted == 0 {
			want = http.StatusBadRequest
		}
		if out.status != want {
			t.Fatalf("%d, expected %d: %s", out.status, want, out.body)
		}
	})
}
