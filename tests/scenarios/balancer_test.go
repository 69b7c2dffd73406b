package scenarios

import (
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// balancer passes connections on to gates in turn, as the one in front of a cluster
// does: it asks each at /ready, and goes by what that says some time later.
type balancer struct {
	addr string
	late time.Duration

	mu    sync.Mutex
	in    map[string]bool // gates that connections go to
	turns int
}

func newBalancer(t *testing.T, late time.Duration, gates ...string) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{addr: l.Addr().String(), late: late, in: map[string]bool{}}
	over := make(chan struct{})
	t.Cleanup(func() { close(over); l.Close() })
	for _, gate := range gates {
		go b.watch(gate, over)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go b.serve(conn)
		}
	}()
	return b
}

// watch notices what a gate says once it has said so for long enough.
func (b *balancer) watch(gate string, over chan struct{}) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var since time.Time // when it began to say otherwise
	for {
		resp, err := client.Get("http://" + gate + "/ready")
		ready := err == nil && resp.StatusCode == http.StatusOK
		if err == nil {
			resp.Body.Close()
		}
		switch now := time.Now(); {
		case ready == b.takes(gate):
			since = time.Time{}
		case since.IsZero():
			since = now
		case now.Sub(since) >= b.late:
			b.mu.Lock()
			b.in[gate] = ready
			b.mu.Unlock()
		}
		select {
		case <-over:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// takes tells whether connections go to a gate.
func (b *balancer) takes(gate string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.in[gate]
}

// pick is the next gate, "" if there is none.
func (b *balancer) pick() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var gates []string
	for gate, in := range b.in {
		if in {
			gates = append(gates, gate)
		}
	}
	if len(gates) == 0 {
		return ""
	}
	slices.Sort(gates)
	b.turns++
	return gates[b.turns%len(gates)]
}

// serve is one connection; either end is the end of both.
func (b *balancer) serve(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", b.pick())
	if err != nil {
		return // a client sees a connection that was closed, as it would of any balancer
	}
	defer to.Close()
	done := make(chan struct{}, 2)
	pipe := func(to io.Writer, from io.Reader) { _, _ = io.Copy(to, from); done <- struct{}{} }
	go pipe(to, from)
	go pipe(from, to)
	<-done
}
