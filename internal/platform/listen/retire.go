package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// Listener is a listener of Open. For a graceful stop, the HTTP server must have its ConnState set to l.ConnState,
// and be shut down after Retire.
type Listener struct {
	net.Listener
	conns *connLimiter
	grace time.Duration
	deaf  sync.Once
}

// Close accepts what is queued and then closes the listener.
func (l *Listener) Close() error {
	l.deaf.Do(func() { deafen(l.conns.Listener) })
	return l.Listener.Close()
}

// grace is how long an idle connection stays open after the listener closes, so that a request that was already under
// way still arrives.
const grace = 250 * time.Millisecond

// ConnState records which connections are idle.
func (l *Listener) ConnState(c net.Conn, state http.ConnState) {
	if state != http.StateIdle {
		return
	}
	if t, is := c.(*tls.Conn); is {
		if t.ConnectionState().NegotiatedProtocol == "h2" {
			return // HTTP/2 tells clients itself which requests were processed
		}
		c = t.NetConn()
	}
	if lc, is := c.(*limitedConn); is {
		lc.mu.Lock()
		lc.quiet = true
		lc.mu.Unlock()
	}
}

// Retire closes the listener and then the connections on which nothing arrives within a short grace period; a request
// that does arrive is served. When it returns, only connections with a request remain, and those that became idle in
// the meantime. What a client sends after that meets a closed connection: HTTP/1.1 cannot announce the closing.
func (l *Listener) Retire(ctx context.Context) error {
	err := l.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	until := time.Now().Add(l.grace)
	l.conns.mu.Lock()
	var quiet []*limitedConn
	for c := range l.conns.live {
		if c.retire(until) {
			quiet = append(quiet, c)
		}
	}
	l.conns.mu.Unlock()
	if len(quiet) == 0 {
		return err
	}
	timer := time.NewTimer(l.grace + lastLook)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	for _, c := range quiet { // the server notices the deadline only when it is scheduled
		for c.waits() && ctx.Err() == nil && time.Since(until) < 4*l.grace {
			time.Sleep(lastLook)
		}
	}
	return err
}

// lastLook is how long an expired connection is read once more, for data that the kernel has already received.
const lastLook = 2 * time.Millisecond

// retire sets an idle connection to end at a time unless something arrives before. It returns false for a connection
// with a request.
func (c *limitedConn) retire(at time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.quiet || c.Conn.SetReadDeadline(at) != nil {
		return false
	}
	c.retired = true
	return true
}

func (c *limitedConn) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.quiet && c.retired
}

// SetReadDeadline records the deadline, but does not extend that of a retired idle connection.
func (c *limitedConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	if c.quiet && c.retired {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline sets both deadlines.
func (c *limitedConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *limitedConn) read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		return n, errors.Join(err, c.came())
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) || !c.waits() || c.Conn.SetReadDeadline(time.Now().Add(lastLook)) != nil {
		return n, err
	}
	if n, err = c.Conn.Read(p); n > 0 {
		return n, errors.Join(err, c.came())
	}
	c.mu.Lock()
	c.quiet = false // it is ending: Retire need not wait for it
	c.mu.Unlock()
	return n, err
}

// came marks a connection as having a request, and restores the server's deadline if it was retired.
func (c *limitedConn) came() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.quiet && c.retired
	c.quiet = false
	if !was {
		return nil
	}
	return c.Conn.SetReadDeadline(c.deadline)
}
