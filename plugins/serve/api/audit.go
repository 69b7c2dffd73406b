package api

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"time"

	"github.com/google/uuid"

	"weir/internal/control/auditlog"
	"weir/internal/platform/httpx"
)

// detailRequest is the member of an act's detail with the request id.
const detailRequest = "request"

// recorder passes acts to the stream and waits until they are committed.
type recorder struct {
	acts chan pendingAct
	wait time.Duration
	warn func(error)
}

type pendingAct struct {
	act  auditlog.Act
	kept chan error
}

// audited wraps a handler of administrative requests. A request that may change something is answered only after its
// entry in the audit log is committed, or, if that takes too long, with the header Weir-Audit: pending, while the
// stream keeps retrying. It must run after authentication.
func (r *recorder) audited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodGet || req.Method == http.MethodHead || req.Method == http.MethodOptions {
			next.ServeHTTP(w, req)
			return
		}
		held := &heldResponse{of: w, header: w.Header()}
		asked := &heard{ReadCloser: req.Body}
		req.Body = asked
		next.ServeHTTP(held, req)
		a := auditlog.Act{ID: uuid.NewString(), At: time.Now().UTC(), Method: req.Method, Path: req.URL.Path,
			From: req.RemoteAddr, Status: held.code(),
			Detail: auditlog.Scrub(asked.start)}
		for name, values := range req.URL.Query() {
			if name == "fleet" || name == "device" || name == "permanent" {
				a.Detail[name] = auditlog.Text(values[0])
			}
		}
		// The response adds the ids that were assigned, and the reason of a refusal.
		maps.Copy(a.Detail, auditlog.Scrub(held.body.Bytes()[:min(held.body.Len(), heardMost)]))
		a.Detail[detailRequest] = httpx.RequestIDOf(w)
		a.Key, a.User, a.Fleet = callerOf(req)
		if err := r.keep(req.Context(), a); err != nil {
			w.Header().Set("Weir-Audit", "pending")
			r.warn(err)
		}
		w.WriteHeader(held.code())
		_, _ = w.Write(held.body.Bytes())
	})
}

// keep returns nil when the stream has acknowledged the act, or errAuditLate after r.wait.
func (r *recorder) keep(ctx context.Context, a auditlog.Act) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.wait)
	defer cancel()
	p := pendingAct{act: a, kept: make(chan error, 1)}
	select {
	case r.acts <- p:
	case <-ctx.Done():
		return errAuditLate
	}
	select {
	case err := <-p.kept:
		return err
	case <-ctx.Done():
		return errAuditLate
	}
}

// heard records the beginning of a request body while it is read.
type heard struct {
	io.ReadCloser
	start []byte
}

const heardMost = 64 << 10

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	h.start = append(h.start, p[:min(n, heardMost-len(h.start))]...)
	return n, err
}

// heldResponse buffers a small response until it may be sent.
type heldResponse struct {
	of     http.ResponseWriter
	header http.Header
	status int
	body   bytes.Buffer
}

func (h *heldResponse) Header() http.Header         { return h.header }
func (h *heldResponse) Write(b []byte) (int, error) { return h.body.Write(b) }
func (h *heldResponse) WriteHeader(code int) {
	if h.status == 0 {
		h.status = code
	}
}

// Cause implements the interface of httpx.Cause.
func (h *heldResponse) Cause(err error) { httpx.Cause(h.of, err) }

func (h *heldResponse) code() int {
	if h.status == 0 {
		return http.StatusOK
	}
	return h.status
}
