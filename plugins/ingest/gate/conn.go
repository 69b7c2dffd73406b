package gate

import (
	"net"
	"sync"
)

// connLimiter accepts connections within bounds. One beyond them is closed at
// once, which costs the gate next to nothing.
type connLimiter struct {
	net.Listener
	total   int
	perIP   int // 0: no bound
	refused func(reason string)

	mu   sync.Mutex
	open int
	byIP map[string]int
}

func limitConns(l net.Listener, total, perIP int, refused func(string)) net.Listener {
	return &connLimiter{Listener: l, total: total, perIP: perIP, refused: refused, byIP: map[string]int{}}
}

func (l *connLimiter) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ip := c.RemoteAddr().String()
		if host, _, err := net.SplitHostPort(ip); err == nil {
			ip = host
		}
		if reason := l.enter(ip); reason != "" {
			_ = c.Close()
			l.refused(reason)
			continue
		}
		return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(ip) })}, nil
	}
}

func (l *connLimiter) enter(ip string) (reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.open >= l.total:
		return "connections"
	case l.perIP > 0 && l.byIP[ip] >= l.perIP:
		return "connections-per-address"
	}
	l.open++
	l.byIP[ip]++
	return ""
}

func (l *connLimiter) leave(ip string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.byIP[ip]--; l.byIP[ip] == 0 {
		delete(l.byIP, ip)
	}
}

type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}
