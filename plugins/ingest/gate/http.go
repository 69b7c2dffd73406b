package gate

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
	"weir/internal/platform/listen"
	"weir/internal/platform/trace"
	"weir/plugins/ingest/gate/admission"
)

// server is the HTTP listener of a gate.
type server struct {
	http     *http.Server
	listener *listen.Listener
	stopped  atomic.Bool
	url      string
}

func listenHTTP(ctx context.Context, g *gate) (*server, error) {
	l, url, err := listen.Open(ctx, g.conf.address, g.conf.listen, g.watch())
	if err != nil {
		return nil, fmt.Errorf("opening the gate: %w", err)
	}
	srv := &server{listener: l, url: url}
	t := g.conf.timeouts
	srv.http = &http.Server{
		Handler:           g.conf.listen.Handler("GET, POST", g),
		ConnContext:       listen.ConnContext,
		ConnState:         l.ConnState,
		ReadHeaderTimeout: t.header,
		ReadTimeout:       t.read,
		WriteTimeout:      t.read + t.ack + 10*time.Second, // from the end of the header to the end of the reply
		IdleTimeout:       t.idle,
		MaxHeaderBytes:    g.conf.limits.header,
		ErrorLog:          log.New(debugWriter{g}, "", 0),
	}
	go func() {
		if err := srv.http.Serve(l); !srv.stopped.Load() {
			select {
			case g.failed <- err:
			default:
			}
		}
	}()
	return srv, nil
}

func (g *gate) watch() listen.Watch {
	return listen.Watch{Log: g.log, Refused: func(reason string) {
		g.metrics.refusals.Incr(1, reason)
	}, NotReloaded: func() { g.metrics.tlsErrors.Incr(1) }}
}

// stop refuses new connections, and waits for the running requests, also those that clients have
// sent but that are not read yet.
func (s *server) stop(ctx context.Context) error {
	s.stopped.Store(true)
	err := s.listener.Retire(ctx)
	if down := s.http.Shutdown(ctx); down != nil {
		return errors.Join(err, down, s.http.Close())
	}
	return err
}

// debugWriter logs what net/http says about broken connections at level debug, because strangers
// can cause them. A panic, which is a defect of weir, is logged as an error.
type debugWriter struct{ g *gate }

func (d debugWriter) Write(p []byte) (int, error) {
	text := strings.TrimSpace(string(p))
	if strings.HasPrefix(text, "http: panic") {
		d.g.log.Error(text)
	} else {
		d.g.log.Debug(text)
	}
	return len(p), nil
}

// ServeHTTP routes a request.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	status := 0
	if g.isLeaving() && r.URL.Path != "/v1/stream" { // its header Connection is an upgrade
		w.Header().Set("Connection", "close") // in HTTP/2 it makes a GOAWAY
	}
	switch r.URL.Path {
	case "/v1/events":
		status = g.serveEvents(w, r)
	case "/v1/stream":
		status = g.serveStream(w, r)
	case "/openapi.json":
		status = g.serveContract(w, r)
	case "/healthz":
		status = g.serveHealth(w, r)
	case "/ready":
		status = g.serveReady(w, r)
	default:
		status = g.refuse(w, notFound())
	}
	if status >= http.StatusBadRequest {
		linger(w, r, min(lingerTime, g.conf.timeouts.read))
	}
	if status != 0 {
		g.metrics.answered(status, start)
	}
}

func (g *gate) refuse(w http.ResponseWriter, r *refusal) int {
	g.metrics.refusals.Incr(1, r.name)
	g.ready.refused(r, time.Now())
	r.write(w)
	return r.status
}

//go:embed openapi.json
var contract []byte

func (g *gate) serveContract(w http.ResponseWriter, r *http.Request) int {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return g.refuse(w, wrongMethod("GET, HEAD"))
	}
	httpx.Document(w, contract)
	return http.StatusOK
}

func (g *gate) serveHealth(w http.ResponseWriter, r *http.Request) int {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return g.refuse(w, wrongMethod("GET, HEAD"))
	}
	if g.isLeaving() {
		return g.refuse(w, leaving())
	}
	httpx.Document(w, []byte(`{"status":"ok"}`+"\n"))
	return http.StatusOK
}

// Bounds of linger.
const (
	lingerBytes = 16 << 20
	lingerTime  = 2 * time.Second
)

// linger reads what a refused client is still sending, for a while: a client
// that sends all before it reads would otherwise find its connection reset, and
// never see why. net/http itself does this for bodies up to 256 KiB.
func linger(w http.ResponseWriter, r *http.Request, d time.Duration) {
	if r.ContentLength >= 0 && r.ContentLength < 256<<10 || r.Header.Get("Expect") != "" {
		return
	}
	c := http.NewResponseController(w)
	if c.Flush() != nil || c.SetReadDeadline(time.Now().Add(d)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, r.Body, lingerBytes)
}

// serveEvents takes one request in. It checks what costs least first: nothing
// of a body is read before its sender is known and has room.
func (g *gate) serveEvents(w http.ResponseWriter, r *http.Request) int {
	if r.Method != http.MethodPost {
		return g.refuse(w, wrongMethod("POST"))
	}
	if g.isDraining() {
		return g.refuse(w, stopping())
	}
	who := callerOf(w, r)
	key, err := g.check(r.Context(), who)
	if err != nil {
		return g.refuseFor(w, err)
	}
	region, ref := g.place(who)
	if ref != nil {
		return g.refuse(w, ref)
	}
	form, ref := formOf(r)
	if ref != nil {
		return g.refuse(w, ref)
	}
	held, none := g.admit.Enter(key.Fleet)
	if ref = full(none); ref == nil {
		var status int
		if status, ref = g.serveBody(w, r, key, region, form, held); ref == nil {
			return status
		}
	}
	g.limitFields(w, key.Fleet)
	return g.refuse(w, ref)
}

// serveBody answers an admitted request, unless it is refused.
func (g *gate) serveBody(w http.ResponseWriter, r *http.Request, key *apikey.Key, region string, f form,
	held *admission.Hold) (int, *refusal) {
	id := httpx.RequestIDOf(w)
	span := g.following("POST /v1/events", traceparentOf(r), id)
	parent := span.begin()
	body, ref := g.readBody(r, held)
	if ref != nil {
		held.Release()
		span.end(result{}, ref)
		return 0, ref
	}
	res, err := g.ingest(r.Context(), &request{id: id, fleet: key.Fleet, prefix: key.DevicePrefix, region: region,
		traceparent: parent, held: held}, body, f)
	span.end(res, err)
	var empty *emptyError
	switch {
	case errors.As(err, &ref):
		return 0, ref
	case errors.As(err, &empty):
		return g.answerEmpty(w, empty.detail), nil
	case err != nil:
		return 0, clientGone() // hardly anybody reads it, but it is never an empty 200
	}
	g.limitFields(w, key.Fleet)
	return g.answer(w, res, strings.EqualFold(strings.ReplaceAll(r.Header.Get("Prefer"), " ", ""), preferMinimal)), nil
}

// limitFields sets the headers that tell the fleet's quota and what is left of it, if it has one.
func (g *gate) limitFields(w http.ResponseWriter, fleet string) {
	q, left, ok := g.admit.QuotaOf(fleet)
	if !ok {
		return
	}
	h := w.Header()
	h.Set("RateLimit-Policy", fmt.Sprintf(`"fleet";q=%d;w=%d`, int(q.Burst), int(max(1, q.Burst/q.Rate))))
	h.Set("RateLimit", fmt.Sprintf(`"fleet";r=%d;t=%d`, int(left), int((q.Burst-left)/q.Rate+0.999)))
}

// refuseFor answers a request whose key check failed.
func (g *gate) refuseFor(w http.ResponseWriter, err error) int {
	var ref *refusal
	if !errors.As(err, &ref) { // check returns nothing else
		ref = clientGone()
	}
	return g.refuse(w, ref)
}

// traceparentOf returns the request's W3C trace context when it is well formed.
func traceparentOf(r *http.Request) string { return trace.Valid(r.Header.Get("Traceparent")) }
