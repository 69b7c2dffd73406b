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

// balancer distributes TCP connections over gates in turn, like the load balancer in front of a cluster. It polls
// /ready of each gate and reacts to a change only after the delay late.
type balancer struct {
	addr string
	late time.Duration

	mu    sync.Mutex
	in    map[string]bool // gates that get connections
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

// watch polls a gate until over is closed. It adds or removes the gate once its state has differed from the current
// one for b.late.
func (b *balancer) watch(gate string, over chan struct{}) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var since time.Time // start of the current difference
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

// takes reports whether a gate gets connections.
func (b *balancer) takes(gate string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.in[gate]
}

// pick returns the next gate, or "" if there is none.
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

// serve copies between a client and a gate until either side closes.
func (b *balancer) serve(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", b.pick())
	if err != nil {
		return // the client sees a closed connection, as with any balancer that has no backend
	}
	defer to.Close()
	done := make(chan struct{}, 2)
	pipe := func(to io.Writer, from io.Reader) { _, _ = io.Copy(to, from); done <- struct{}{} }
	go pipe(to, from)
	go pipe(from, to)
	<-done
}
