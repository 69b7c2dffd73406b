package dedupe

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/tests/integration/require"
)

// wire is a TCP proxy that can be cut: connections end, and new ones are refused.
type wire struct {
	to, address string
	mu          sync.Mutex
	listener    net.Listener
	open        map[net.Conn]bool
}

func newWire(t *testing.T, to string) *wire {
	w := &wire{to: to, address: "127.0.0.1:0", open: map[net.Conn]bool{}}
	w.mend(t)
	t.Cleanup(w.cut)
	return w
}

func (w *wire) mend(t *testing.T) {
	l, err := net.Listen("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.listener, w.address = l, l.Addr().String()
	w.mu.Unlock()
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", w.to)
			if err != nil {
				_ = a.Close()
				continue
			}
			w.mu.Lock()
			w.open[a], w.open[b] = true, true
			w.mu.Unlock()
			for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
				go func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].Close()
				}()
			}
		}
	}()
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.listener.Close()
	for c := range w.open {
		_ = c.Close()
		delete(w.open, c)
	}
}

// TestDedupe_ARedisThatComesAndGoesLosesNothing flaps the connection: each event
// passes, claimed or flagged, and claims hold again as soon as it is back.
func TestDedupe_ARedisThatComesAndGoesLosesNothing(t *testing.T) {
	u, err := url.Parse(require.Env(t, "WEIR_TEST_REDIS_URL"))
	if err != nil {
		t.Fatal(err)
	}
	w := newWire(t, u.Host)
	u.Host = w.address
	p := newTestProcessor(t, newTestPool(), fmt.Sprintf("url: %s\ntimeout: 500ms", u))
	offset := int64(0)
	next := func(id string) *service.Message {
		offset++
		return process(t, p, record(id, 0, offset))[0]
	}
	for round := range 3 {
		id := uuid.NewString()
		for deadline := time.Now().Add(15 * time.Second); event.Meta(next(id),
			event.MetaUnclaimed) != ""; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("round %d: the store was not found again", round)
			}
		}
		if duplicateOf(next(id)) == "" {
			t.Fatalf("round %d: the claim does not hold", round)
		}
		w.cut()
		start := time.Now()
		for range 200 {
			if msg := next(uuid.NewString()); event.Meta(msg, event.MetaUnclaimed) == "" || msg.GetError() != nil {
				t.Fatalf("round %d: claimed over a cut wire", round)
			}
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("round %d: 200 batches took %s while the store was down", round, took)
		}
		w.mend(t)
		if msg := next(id); duplicateOf(msg) == "" && event.Meta(msg, event.MetaUnclaimed) == "" {
			t.Fatalf("round %d: a duplicate passed unflagged", round)
		}
	}
}
