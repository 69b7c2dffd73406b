package listen

import (
	"bytes"
	"context"
	"net"
	"net/http"

	"weir/internal/platform/httpx"
)

// Handler wraps next as the config says: it sets the request id in each response, adds CORS headers for the
// configured origins, and closes the connection after a request whose length is ambiguous. methods is the list of
// methods that web pages may use. The server must use ConnContext.
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

// ConnContext stores a request's connection in its context, where Handler finds it.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// ambiguous tells whether a chunked request may also have had a Content-Length, which net/http removes: a proxy in
// front may have used that length and so have seen another end of the request (request smuggling). RFC 9112, 6.3,
// requires closing the connection after the response. Where it cannot be known, over TLS or after an earlier
// Content-Length on the same connection, it is assumed.
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

// look searches what was read for Content-Length, also across the boundary to the previous read.
func (c *limitedConn) look(b []byte) {
	if len(c.tail) == 0 && bytes.HasPrefix(b, []byte("PRI * HTTP/2")) { // HTTP/2 has one length per frame
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
