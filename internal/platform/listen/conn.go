package listen

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// The reasons for which a connection is closed at once, as metrics name them.
const (
	ReasonConns      = "connections"
	ReasonPerAddress = "connections-per-address"
)

// connLimiter accepts connections within bounds. One beyond them is closed at
// once, which costs next to nothing.
type connLimiter struct {
	net.Listener
	bounds  Bounds
	plain   bool // Content-Length can be seen
	refused func(reason string)

	mu   sync.Mutex
	open int
	by   map[string]int // the address that the network gave to one customer
	live map[*limitedConn]struct{}
}

func limitConns(l net.Listener, bounds Bounds, plain bool, refused func(string)) *connLimiter {
	return &connLimiter{Listener: l, bounds: bounds, plain: plain, refused: refused, by: map[string]int{},
		live: map[*limitedConn]struct{}{}}
}

// source is the address that connections are counted by: of IPv6 the first 64
// bits, of which a single host has all that follow.
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
	tail   []byte      // the end of what was read last
	length atomic.Bool // a Content-Length was read, or text that looks like one

	mu       sync.Mutex
	quiet    bool      // nothing has come since its last answer, or at all
	retired  bool      // it ends unless something comes in time
	deadline time.Time // of reading, as the server wants it
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}
