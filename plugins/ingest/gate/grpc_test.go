package gate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"weir/plugins/ingest/gate/ingestpb"
)

func grpcWorld(t *testing.T, extra string) (*world, ingestpb.IngestClient, context.Context) {
	t.Helper()
	addr := freeAddr(t)
	w := newWorld(t, fmt.Sprintf("    grpc_address: %s\n%s", addr, extra))
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return w, ingestpb.NewIngestClient(conn), metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+w.key)
}

func events(texts ...string) *ingestpb.PublishRequest {
	r := &ingestpb.PublishRequest{}
	for _, text := range texts {
		r.Events = append(r.Events, []byte(text))
	}
	return r
}

func TestGate_PublishAnswersEachEvent(t *testing.T) {
	w, c, ctx := grpcWorld(t, "")
	res, err := c.Publish(ctx, events(goodEvent, "NaN", " "+goodEvent+"\n", strings.Repeat("x", 70_000)))
	if err != nil {
		t.Fatal(err)
	}
	if res.Accepted != 2 || res.Rejected != 2 || res.Events[0].EventId != "5f0c9d0e-31f4-4c0e-8f0a-9d8f6f3b2a10" ||
		res.Events[0].Status != 202 ||
		res.Events[1].Code != "invalid_json" || res.Events[1].Errors[0].Message == "" ||
		res.Events[3].Code != "event_too_large" {
		t.Errorf("%v", res)
	}
	if got := w.sink.all(); len(got) != 4 || got[2].value != goodEvent || got[0].fleet != "acme" {
		t.Errorf("%q", got)
	}
}

func TestGate_PublishRefusesByStatus(t *testing.T) {
	w, c, ctx := grpcWorld(t, "    quota: { events_per_second: 1, burst: 3 }")
	many := make([]string, 101)
	for i := range many {
		many[i] = goodEvent
	}
	expect := func(name string, ctx context.Context, req *ingestpb.PublishRequest, code codes.Code, retry bool) {
		t.Helper()
		_, err := c.Publish(ctx, req)
		st := status.Convert(err)
		if st.Code() != code {
			t.Errorf("%s: %v", name, err)
		}
		found := false
		for _, d := range st.Details() {
			if r, ok := d.(*errdetails.RetryInfo); ok && r.RetryDelay.AsDuration() >= time.Second {
				found = true
			}
		}
		if found != retry {
			t.Errorf("%s: RetryInfo %v", name, found)
		}
	}
	bare := metadata.NewOutgoingContext(ctx, metadata.MD{})
	expect("no key", bare, events(goodEvent), codes.Unauthenticated, false)
	expect("no events", ctx, events(), codes.InvalidArgument, false)
	expect("101 events", ctx, events(many...), codes.InvalidArgument, false)
	w.sink.set(func(s *sink) { s.fail = errors.New("down") })
	expect("a failed log", ctx, events(goodEvent), codes.Unavailable, true)
	w.sink.set(func(s *sink) { s.fail = nil })
	if _, err := c.Publish(ctx, events(many[:10]...)); err != nil {
		t.Error(err)
	}
	expect("a spent quota", ctx, events(goodEvent), codes.ResourceExhausted, true)
}

func TestGate_PublishStreamAnswersInOrderAndHoldsBack(t *testing.T) {
	w, c, ctx := grpcWorld(t, "    quota: { events_per_second: 500, burst: 20 }")
	s, err := c.PublishStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for i := range 100 {
			batch := make([]string, 1+i%5)
			for j := range batch {
				batch[j] = goodEvent
			}
			if s.Send(events(batch...)) != nil {
				return
			}
		}
		_ = s.Send(events())
		_ = s.CloseSend()
	}()
	for i := range 100 {
		res, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if int(res.Accepted) != 1+i%5 || res.Problem != nil {
			t.Fatalf("request %d: %v", i, res)
		}
	}
	if res, err := s.Recv(); err != nil || res.Problem.GetType() != "no-events" {
		t.Errorf("%v %v", res, err)
	}
	if _, err := s.Recv(); err != io.EOF {
		t.Errorf("the end: %v", err)
	}
	if n := len(w.sink.all()); n != 300 {
		t.Errorf("%d delivered", n)
	}
	bad, err := c.PublishStream(metadata.NewOutgoingContext(ctx, metadata.MD{}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bad.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("no key: %v", err)
	}
}

func TestGate_StopEndsCalls(t *testing.T) {
	w, c, ctx := grpcWorld(t, "")
	s, err := c.PublishStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(events(goodEvent)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := w.stream.StopWithin(20 * time.Second); err != nil {
		t.Error(err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("%v", err)
	}
}

func TestGate_PublishOverTLS(t *testing.T) {
	ca, addr := newAuthority(t), freeAddr(t)
	cert, key := ca.write(t.TempDir(), "gate")
	w := newWorldAt(t, fmt.Sprintf("    grpc_address: %s\n    tls: { cert_file: %q, key_file: %q }", addr, cert, key),
		&tls.Config{RootCAs: ca.pool})
	for name, c := range map[string]struct {
		creds credentials.TransportCredentials
		ok    bool
	}{
		"TLS":          {credentials.NewTLS(&tls.Config{RootCAs: ca.pool}), true},
		"plain":        {insecure.NewCredentials(), false},
		"another's CA": {credentials.NewTLS(&tls.Config{RootCAs: newAuthority(t).pool}), false},
	} {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(c.creds))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "x-api-key", w.key), 5*time.Second)
		if _, err := ingestpb.NewIngestClient(conn).Publish(ctx, events(goodEvent)); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		_ = conn.Close()
	}
}
