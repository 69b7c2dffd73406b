package listen

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// The reasons for closing a new connection, as metrics name them.
const (
	ReasonConns      = "connections"
	ReasonPerAddress = "connections-per-address"
)

// connLimiter limits the number of connections. Connections beyond the limits are closed as soon as they are
// accepted.
type connLimiter struct {
	net.Listener
	bounds  Bounds
	plain   bool // no TLS: Content-Length headers can be seen
	refused func(reason string)

	mu   sync.Mutex
	open int
	by   map[string]int // connections by source
	live map[*limitedConn]struct{}
}

func limitConns(l net.Listener, bounds Bounds, plain bool, refused func(string)) *connLimiter {
	return &connLimiter{Listener: l, bounds: bounds, plain: plain, refused: refused, by: map[string]int{},
		live: map[*limitedConn]struct{}{}}
}

// source returns the address by which connections are counted: for IPv6 the first 64 bits, since one host has all
// addresses of such a network.
func source(remote string) string {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	ip := at.Addr().Unmap()
	if ip.Is6() {
		if net, err := ip.WithZone("").Prefix(64); err == nil {
			return net.String()
		}
	}
	return ip.String()
}

func (l *connLimiter) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := source(c.RemoteAddr().String())
		if reason := l.enter(from); reason != "" {
			_ = c.Close()
			l.refused(reason)
			continue
		}
		lc := &limitedConn{Conn: c, watch: l.plain, quiet: true}
		lc.leave = sync.OnceFunc(func() { l.leave(from, lc) })
		l.mu.Lock()
		l.live[lc] = struct{}{}
		l.mu.Unlock()
		return lc, nil
	}
}

func (l *connLimiter) enter(from string) (reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.bounds.Conns > 0 && l.open >= l.bounds.Conns:
		return ReasonConns
	case l.bounds.PerAddress > 0 && l.by[from] >= l.bounds.PerAddress:
		return ReasonPerAddress
	}
	l.open++
	l.by[from]++
	return ""
}

func (l *connLimiter) leave(from string, c *limitedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.live, c)
	l.open--
	if l.by[from]--; l.by[from] == 0 {
		delete(l.by, from)
	}
}

type limitedConn struct {
	net.Conn
	leave func()

	watch  bool
	tail   []byte      // the end of the last read
	length atomic.Bool // text that looks like a Content-Length header was read

	mu       sync.Mutex
	quiet    bool      // no data since the last response, or at all
	retired  bool      // it will be closed unless data arrives in time
	deadline time.Time // the read deadline that the server set
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}
