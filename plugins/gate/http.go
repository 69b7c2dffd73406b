package gate

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"weir/plugins/apikey"
)

// server is the HTTP listener of a gate.
type server struct {
	http     *http.Server
	listener net.Listener
}

func listen(ctx context.Context, g *gate) (*server, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", g.conf.address)
	if err != nil {
		return nil, fmt.Errorf("opening the gate: %w", err)
	}
	t := g.conf.timeouts
	srv := &server{listener: l, http: &http.Server{
		Handler:           g,
		ReadHeaderTimeout: t.header,
		ReadTimeout:       t.read,
		WriteTimeout:      t.read + t.ack + 10*time.Second, // from the end of the header to the end of the reply
		IdleTimeout:       t.idle,
		MaxHeaderBytes:    g.conf.limits.header,
		ErrorLog:          log.New(debugWriter{g}, "", 0),
	}}
	go func() {
		if err := srv.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			select {
			case g.failed <- err:
			default:
			}
		}
	}()
	return srv, nil
}

func (s *server) url() string { return "http://" + s.listener.Addr().String() }

// stop refuses new connections, and waits for the running requests.
func (s *server) stop(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// debugWriter takes what net/http says about broken connections: what strangers
// can cause is no warning.
type debugWriter struct{ g *gate }

func (d debugWriter) Write(p []byte) (int, error) {
	d.g.log.Debug(strings.TrimSpace(string(p)))
	return len(p), nil
}

// ServeHTTP routes a request.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	status := 0
	switch r.URL.Path {
	case "/v1/events":
		status = g.serveEvents(w, r)
	case "/healthz":
		status = g.serveHealth(w, r)
	default:
		status = g.refuse(w, notFound())
	}
	if status != 0 {
		g.metrics.answered(status, start)
	}
}

func (g *gate) refuse(w http.ResponseWriter, r *refusal) int {
	g.metrics.refusals.Incr(1, r.name)
	r.write(w)
	return r.status
}

func (g *gate) isDraining() bool {
	select {
	case <-g.draining:
		return true
	default:
		return false
	}
}

func (g *gate) serveHealth(w http.ResponseWriter, r *http.Request) int {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return g.refuse(w, wrongMethod("GET, HEAD"))
	}
	if g.isDraining() {
		return g.refuse(w, stopping())
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"status":"ok"}` + "\n"))
	return http.StatusOK
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
	key, err := g.keys.Check(r.Context(), apikey.FromRequest(r))
	if err != nil {
		return g.refuseKey(w, err)
	}
	if !key.Allows(apikey.Ingest) {
		g.metrics.refusals.Incr(1, "forbidden")
		apikey.Forbid(w, apikey.Ingest)
		return http.StatusForbidden
	}
	form, ref := formOf(r)
	if ref != nil {
		return g.refuse(w, ref)
	}
	held, ref := g.admit.enter()
	if ref != nil {
		return g.refuse(w, ref)
	}
	body, ref := g.readBody(r, form, held)
	if ref != nil {
		held.release()
		return g.refuse(w, ref)
	}
	req := &request{fleet: key.Fleet, traceparent: traceparentOf(r), held: held}
	if ref = g.cut(req, body, form); ref != nil {
		held.release()
		return g.refuse(w, ref)
	}
	if len(req.items) == 0 {
		held.release()
		return g.answerEmpty(w, "the body has no event")
	}
	rejected, err := g.publish(r.Context(), req)
	if err != nil {
		var ref *refusal
		if errors.As(err, &ref) {
			return g.refuse(w, ref)
		}
		g.metrics.refusals.Incr(1, "client-gone")
		return 0
	}
	return g.answer(w, req.items, rejected)
}

func (g *gate) refuseKey(w http.ResponseWriter, err error) int {
	apikey.Refuse(w, err)
	if errors.Is(err, apikey.ErrUnknown) {
		g.metrics.refusals.Incr(1, "unauthorized")
		return http.StatusUnauthorized
	}
	g.metrics.refusals.Incr(1, "keys-unavailable")
	return http.StatusServiceUnavailable
}

// traceparentOf returns the request's W3C trace context when it is well formed.
func traceparentOf(r *http.Request) string {
	const form = "00-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh"
	t := r.Header.Get("Traceparent")
	if len(t) != len(form) {
		return ""
	}
	for i := range len(form) {
		c := t[i]
		if hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f'; form[i] == 'h' && !hex || form[i] != 'h' && c != form[i] {
			return ""
		}
	}
	return t
}
