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

// Listener is one of Open. An HTTP server of it that is to stop gracefully has
// its ConnState, and is shut down after Retire.
type Listener struct {
	net.Listener
	conns *connLimiter
	grace time.Duration
	deaf  sync.Once
}

// Close accepts what has come by now, and lets no connection in any more.
func (l *Listener) Close() error {
	l.deaf.Do(func() { deafen(l.conns.Listener) })
	return l.Listener.Close()
}

// grace is how long a quiet connection stays open when the listener has closed:
// a request that its client had sent by then arrives within it.
const grace = 250 * time.Millisecond

// ConnState notes which connections wait for a request.
func (l *Listener) ConnState(c net.Conn, state http.ConnState) {
	if state != http.StateIdle {
		return
	}
	if t, is := c.(*tls.Conn); is {
		if t.ConnectionState().NegotiatedProtocol == "h2" {
			return // it says by itself which requests it has seen
		}
		c = t.NetConn()
	}
	if lc, is := c.(*limitedConn); is {
		lc.mu.Lock()
		lc.quiet = true
		lc.mu.Unlock()
	}
}

// Retire lets no connection in any more, and ends those on which nothing comes
// within a short grace: a request that comes is served. When it returns only
// connections with a request remain, and those that became idle meanwhile. What
// a client sends after that meets a connection that is closed: HTTP/1.1 has no
// way to tell it so before.
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
	for _, c := range quiet { // the server sees the deadline when it is scheduled
		for c.waits() && ctx.Err() == nil && time.Since(until) < 4*l.grace {
			time.Sleep(lastLook)
		}
	}
	return err
}

// lastLook is how long a connection whose grace is over is read once more: for
// what the kernel has, and the reader has not been told of.
const lastLook = 2 * time.Millisecond

// retire ends a connection at a time, unless something comes before. It is false
// for one that has a request.
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

// SetReadDeadline does not give a connection more time that is to end.
func (c *limitedConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	if c.quiet && c.retired {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline is for both directions.
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
	c.quiet = false // it ends: nobody waits for it
	c.mu.Unlock()
	return n, err
}

// came notes that a connection has a request, which has the time that it had
// before.
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
