package listen

import (
	"bytes"
	"context"
	"net"
	"net/http"

	"weir/internal/platform/httpx"
)

// Handler serves next as the config says: each answer with the id of its request, to
// pages of its origins, and with the connection closed after a request whose length is ambiguous. methods are those
// that pages may use. The server needs ConnContext.
func (c Config) Handler(methods string, next http.Handler) http.Handler {
	next = httpx.CORS(c.origins, methods, next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		httpx.Identify(w, r)
		if ambiguous(r) {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

type connKey struct{}

// ConnContext lets Handler find a request's connection.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// ambiguous tells whether a request in chunks may have had a Content-Length
// too, which net/http takes away: a proxy in front may have gone by that, and
// have taken something else for the request's end. RFC 9112, 6.3, wants the
// connection closed after the answer. Where it is not known it is closed as
// well: over TLS, and where the connection has had a Content-Length before.
func ambiguous(r *http.Request) bool {
	if len(r.TransferEncoding) == 0 || r.ProtoMajor != 1 {
		return false
	}
	c, ok := r.Context().Value(connKey{}).(*limitedConn)
	return !ok || c.length.Load()
}

func (c *limitedConn) Read(p []byte) (int, error) {
	n, err := c.read(p)
	if c.watch && n > 0 && !c.length.Load() {
		c.look(p[:n])
	}
	return n, err
}

const contentLength = "Content-Length"

// look searches what was read, also across the end of what was read before.
func (c *limitedConn) look(b []byte) {
	if len(c.tail) == 0 && bytes.HasPrefix(b, []byte("PRI * HTTP/2")) { // frames have one length each
		c.watch = false
		return
	}
	edge := append(c.tail, b[:min(len(b), len(contentLength)-1)]...)
	if namesLength(edge) || namesLength(b) {
		c.length.Store(true)
		return
	}
	if len(b) >= len(contentLength) {
		edge = b
	}
	c.tail = append(c.tail[:0], edge[max(0, len(edge)-len(contentLength)+1):]...)
}

func namesLength(b []byte) bool {
	const before = len("Content")
	for i := before; i+len(contentLength)-before <= len(b); i++ {
		n := bytes.IndexByte(b[i:], '-')
		if n < 0 {
			return false
		}
		if i += n; i+len(contentLength)-before <= len(b) && bytes.EqualFold(b[i-before:i-before+len(contentLength)],
			[]byte(contentLength)) {
			return true
		}
	}
	return false
}
