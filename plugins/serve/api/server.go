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

// serve opens the listener and serves in the background until the server is shut down.
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
	server.RegisterOnShutdown(in.live.Stop) // Shutdown would wait for unending responses
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

// serverLog logs net/http's messages. Broken connections, which any client can cause, are not warnings; a panic is
// our bug.
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

// piece is the number of bytes that a client must read within one timeout.
const piece = 64 << 10

// paced aborts a response that its client does not read: each piece must be written within timeout. The whole
// response may take any time. failed is called for each response with a status of 500 or more, with the reason if
// known.
func paced(timeout time.Duration, failed func(r *http.Request, id string, status int, why error),
	next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &pacedWriter{ResponseWriter: w, control: http.NewResponseController(w), timeout: timeout}
		p.disarm() // clear the previous request's deadline
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
	status  int   // 0 until set; stays 0 for an implicit 200
	why     error // the first cause that was reported
}

// arm and disarm ignore errors: writers in tests have no deadlines.
func (p *pacedWriter) arm()    { _ = p.control.SetWriteDeadline(time.Now().Add(p.timeout)) }
func (p *pacedWriter) disarm() { _ = p.control.SetWriteDeadline(time.Time{}) }

// Unwrap implements the interface of http.ResponseController.
func (p *pacedWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// Cause implements the interface of httpx.Cause.
func (p *pacedWriter) Cause(err error) {
	if p.why == nil {
		p.why = err
	}
}

// WriteHeader records the status.
func (p *pacedWriter) WriteHeader(status int) {
	p.status = status
	p.ResponseWriter.WriteHeader(status)
}

// Write writes in pieces, each with its own deadline.
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
	_ = p.control.Flush() // the next write returns the error
}
