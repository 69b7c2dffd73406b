package api

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"strings"
	"time"

	"weir/internal/platform/httpx"
	"weir/internal/platform/listen"
)

// serve opens the listener, and answers on it until the server is shut down.
func (in *input) serve(ctx context.Context, handler http.Handler) error {
	l, url, err := listen.Open(ctx, in.conf.address, in.conf.listen, listen.Watch{
		Log: in.res.Logger(), Refused: in.refusals.count, NotReloaded: func() { in.refusals.tlsErrors.Incr(1) },
	})
	if err != nil {
		return fmt.Errorf("listening for queries: %w", err)
	}
	server := &http.Server{
		Handler: in.conf.listen.Handler("GET, POST, PUT, DELETE",
			paced(in.conf.write, in.refusals.failed, handler)),
		ConnContext:       listen.ConnContext,
		ConnState:         l.ConnState,
		ReadHeaderTimeout: in.conf.header,
		ReadTimeout:       in.conf.read,
		IdleTimeout:       in.conf.idle,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(serverLog{in}, "", 0),
	}
	server.RegisterOnShutdown(in.live.Stop) // answers without end are waited for otherwise
	failed := make(chan error, 1)
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	in.server, in.listener, in.failed = server, l, failed
	in.res.Logger().Infof("queries and administration on %s", url)
	return nil
}

// serverLog takes what net/http says of broken connections: what strangers can
// cause is no warning. A panic is a defect of ours.
type serverLog struct{ in *input }

func (s serverLog) Write(p []byte) (int, error) {
	text := strings.TrimSpace(string(p))
	if strings.HasPrefix(text, "http: panic") {
		s.in.res.Logger().Error(text)
	} else {
		s.in.res.Logger().Debug(text)
	}
	return len(p), nil
}

// piece is what a client takes within one timeout.
const piece = 64 << 10

// paced ends an answer that its client does not take: each piece must be taken
// in time. It does not bound how long the whole may last. failed is told of each
// request that is answered with a status of 500 or more, and why.
func paced(timeout time.Duration, failed func(r *http.Request, id string, status int, why error),
	next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &pacedWriter{ResponseWriter: w, control: http.NewResponseController(w), timeout: timeout}
		p.disarm() // of the request before
		defer p.arm()
		if next.ServeHTTP(p, r); p.status >= http.StatusInternalServerError {
			failed(r, httpx.RequestIDOf(w), p.status, p.why)
		}
	})
}

type pacedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	status  int   // 0 until there is one, or for 200
	why     error // the first that was told
}

// A writer without deadlines, as in tests, does without.
func (p *pacedWriter) arm()    { _ = p.control.SetWriteDeadline(time.Now().Add(p.timeout)) }
func (p *pacedWriter) disarm() { _ = p.control.SetWriteDeadline(time.Time{}) }

// Unwrap is for http.ResponseController.
func (p *pacedWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// Cause is for httpx.Cause.
func (p *pacedWriter) Cause(err error) {
	if p.why == nil {
		p.why = err
	}
}

// WriteHeader notes the status.
func (p *pacedWriter) WriteHeader(status int) {
	p.status = status
	p.ResponseWriter.WriteHeader(status)
}

// Write writes in pieces.
func (p *pacedWriter) Write(b []byte) (n int, err error) {
	defer p.disarm()
	for {
		part := b[n:min(len(b), n+piece)]
		p.arm()
		m, err := p.ResponseWriter.Write(part)
		if n += m; err != nil || n == len(b) {
			return n, err
		}
	}
}

// Flush sends what is buffered.
func (p *pacedWriter) Flush() {
	p.arm()
	defer p.disarm()
	_ = p.control.Flush() // an error comes again with the next write
}
