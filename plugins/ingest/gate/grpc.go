package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
	"weir/internal/platform/listen"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/text"
	"weir/plugins/ingest/gate/admission"
	"weir/plugins/ingest/gate/ingestpb"
)

// grpcServer is the gRPC listener of a gate: ingestpb/ingest.proto.
type grpcServer struct {
	ingestpb.UnimplementedIngestServer
	g   *gate
	srv *grpc.Server
}

func listenGRPC(ctx context.Context, g *gate) (*grpcServer, error) {
	l, _, err := listen.Open(ctx, g.conf.grpcAddress, g.conf.listen, g.watch())
	if err != nil {
		return nil, fmt.Errorf("opening the gate for gRPC: %w", err)
	}
	t := g.conf.timeouts
	s := &grpcServer{g: g, srv: grpc.NewServer(
		grpc.MaxRecvMsgSize(g.conf.limits.body),
		grpc.MaxHeaderListSize(uint32(g.conf.limits.header)),
		grpc.MaxConcurrentStreams(256),
		grpc.ConnectionTimeout(t.header),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: t.idle, Time: t.idle, Timeout: wsWriteTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	)}
	ingestpb.RegisterIngestServer(s.srv, s)
	go func() {
		if err := s.srv.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			select {
			case g.failed <- err:
			default:
			}
		}
	}()
	g.log.Infof("taking events over gRPC at %s", l.Addr())
	return s, nil
}

// stop waits for the running calls, until ctx ends.
func (s *grpcServer) stop(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.srv.GracefulStop()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.srv.Stop()
		<-done
	}
}

// Publish handles one request.
func (s *grpcServer) Publish(ctx context.Context, req *ingestpb.PublishRequest) (*ingestpb.PublishResponse, error) {
	start := time.Now()
	who, parent := grpcCaller(ctx)
	span := s.g.following("ingest.Publish", parent, who.id)
	res, err := s.g.attempt(ctx, who, func(held *admission.Hold) (*request, error) {
		return s.request(req, span, held, nil)
	})
	span.end(res, err)
	if err != nil {
		return nil, s.failure(err, start)
	}
	s.g.metrics.answered(res.status(), start)
	return response(res), nil
}

// PublishStream answers requests in order. While there is no room it waits, instead of refusing
// them.
func (s *grpcServer) PublishStream(stream grpc.BidiStreamingServer[ingestpb.PublishRequest,
	ingestpb.PublishResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	who, parent := grpcCaller(ctx)
	ids := numbered{of: who.id}
	if _, err := s.g.check(ctx, who); err != nil {
		return s.failure(err, time.Now())
	}
	if !s.g.streams.enter() {
		return s.failure(stopping(), time.Now())
	}
	defer s.g.streams.leave()
	requests, ended := receive(ctx, stream)
	var readEnd, writeEnd error
	relay(ctx, func() (func(context.Context, func()) reaction, bool) {
		select {
		case req := <-requests:
			span := s.g.following("message of ingest.PublishStream", parent, ids.next())
			return func(ctx context.Context, taken func()) reaction { return s.react(ctx, who, span, req, taken) }, true
		case err := <-ended:
			if !errors.Is(err, io.EOF) {
				readEnd = err
			}
		case <-s.g.draining:
			readEnd = s.failure(stopping(), time.Now())
		case <-ctx.Done():
		}
		return nil, false
	}, func(r reaction) bool {
		if writeEnd = r.end; writeEnd == nil {
			writeEnd = stream.Send(r.response)
		}
		if writeEnd != nil {
			cancel() // ends the reading
		}
		return writeEnd == nil
	})
	if writeEnd != nil {
		return writeEnd
	}
	return readEnd
}

// receive reads requests until the call ends, one ahead of their handling.
func receive(ctx context.Context, stream grpc.BidiStreamingServer[ingestpb.PublishRequest, ingestpb.PublishResponse]) (
	<-chan *ingestpb.PublishRequest, <-chan error) {
	requests, ended := make(chan *ingestpb.PublishRequest), make(chan error, 1)
	go func() {
		for {
			req, err := stream.Recv()
			if err != nil {
				ended <- err
				return
			}
			select {
			case requests <- req:
			case <-ctx.Done():
				return
			}
		}
	}()
	return requests, ended
}

// reaction is the response to one request of a stream, or the stream's end.
type reaction struct {
	response *ingestpb.PublishResponse
	end      error
}

func (s *grpcServer) react(ctx context.Context, who caller, span *following, req *ingestpb.PublishRequest,
	taken func()) reaction {
	start := time.Now()
	res, err := s.g.patiently(ctx, who, func(held *admission.Hold) (*request, error) {
		return s.request(req, span, held, taken)
	})
	span.end(res, err)
	var ref *refusal
	var empty *emptyError
	switch {
	case err == nil:
		s.g.metrics.answered(res.status(), start)
		return reaction{response: response(res)}
	case errors.As(err, &empty):
		s.g.metrics.answered(http.StatusBadRequest, start)
		return reaction{response: &ingestpb.PublishResponse{Problem: &ingestpb.Problem{Type: "no-events",
			Status: http.StatusBadRequest, Detail: empty.detail}}}
	case errors.As(err, &ref) && ref.name != stoppingName && !ref.ofKey():
		s.g.metrics.refusals.Incr(1, ref.name)
		s.g.metrics.answered(ref.status, start)
		p := &ingestpb.Problem{Type: ref.name, Status: uint32(ref.status), Detail: ref.detail}
		if ref.after > 0 {
			p.RetryAfter = uint32(ref.retryAfter())
		}
		return reaction{response: &ingestpb.PublishResponse{Problem: p}}
	}
	return reaction{end: s.failure(err, start)}
}

// request converts a message to the gate's request.
func (s *grpcServer) request(req *ingestpb.PublishRequest, span *following, held *admission.Hold,
	taken func()) (*request, error) {
	events := req.GetEvents()
	if limit := s.g.conf.limits.batch; len(events) > limit {
		return nil, batchTooLarge(limit)
	}
	size := 0
	for _, e := range events {
		size += len(e)
	}
	if ref := full(held.Grow(size)); ref != nil {
		return nil, ref
	}
	r := &request{id: span.id, traceparent: span.begin(), held: held, admitted: taken, items: make([]item, len(events))}
	for i, e := range events {
		e = text.WithoutBOM(e)
		r.items[i] = lone(trimRight(e[rawjson.Space(e, 0):]))
		r.items[i].bad = s.g.conf.limits.check(&r.items[i])
	}
	return r, nil
}

func response(res result) *ingestpb.PublishResponse {
	out := &ingestpb.PublishResponse{Accepted: uint32(len(res.items) - len(res.rejected)),
		Rejected: uint32(len(res.rejected)),
		Events:   make([]*ingestpb.Verdict, len(res.items))}
	for i := range res.items {
		v := &ingestpb.Verdict{Index: uint32(i), EventId: string(res.items[i].id), Status: http.StatusAccepted}
		if bad := res.rejected[i]; bad != nil {
			v.Status, v.Code = uint32(bad.Code.Status()), string(bad.Code)
			for _, e := range bad.Errors {
				v.Errors = append(v.Errors, &ingestpb.FieldError{Pointer: e.Pointer, Message: e.Message})
			}
		}
		out.Events[i] = v
	}
	return out
}

// grpcCaller returns the caller of a call and its trace context. It also sets the id of the call in
// the answer's header.
func grpcCaller(ctx context.Context) (who caller, trace string) {
	md, _ := metadata.FromIncomingContext(ctx)
	h := http.Header{}
	for _, name := range []string{"X-Api-Key", "Authorization", "Traceparent"} {
		if v := md.Get(name); len(v) > 0 {
			h.Set(name, v[0])
		}
	}
	r := &http.Request{Header: h}
	who = caller{text: apikey.FromRequest(r), method: "gRPC", id: grpcID(ctx),
		forwarded: strings.Join(md.Get("X-Forwarded-For"), ",")}
	who.path, _ = grpc.Method(ctx)
	if p, ok := peer.FromContext(ctx); ok {
		who.from = p.Addr.String()
	}
	return who, traceparentOf(r)
}

// grpcID returns the id of a call, and sets it in the answer's header.
func grpcID(ctx context.Context) string {
	md, _ := metadata.FromIncomingContext(ctx)
	id := httpx.IDOf(strings.Join(md.Get(httpx.RequestID), ""))
	_ = grpc.SetHeader(ctx, metadata.Pairs(httpx.RequestID, id)) // fails if the call is over
	return id
}

// failure returns the status of a call that is refused as a whole.
func (s *grpcServer) failure(err error, start time.Time) error {
	var ref *refusal
	var empty *emptyError
	switch {
	case errors.As(err, &ref):
		s.g.metrics.refusals.Incr(1, ref.name)
		s.g.metrics.answered(ref.status, start)
		return refused(ref)
	case errors.As(err, &empty):
		s.g.metrics.answered(http.StatusBadRequest, start)
		return status.Error(codes.InvalidArgument, empty.detail)
	}
	s.g.metrics.refusals.Incr(1, "client-gone")
	return status.Error(codes.Canceled, "the client has gone")
}

func refused(r *refusal) error {
	code := codes.InvalidArgument
	switch r.status {
	case http.StatusUnauthorized:
		code = codes.Unauthenticated
	case http.StatusForbidden, http.StatusUnavailableForLegalReasons:
		code = codes.PermissionDenied
	case http.StatusTooManyRequests:
		code = codes.ResourceExhausted
	case http.StatusServiceUnavailable:
		code = codes.Unavailable
	}
	st := status.New(code, r.detail)
	if r.after > 0 {
		again := durationpb.New(time.Duration(r.retryAfter()) * time.Second)
		if with, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: again}); err == nil {
			st = with
		}
	}
	return st.Err()
}
