package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/control/status"
	"weir/internal/event"
	"weir/internal/platform/sqldb"
	"weir/plugins/operate/reconcile"
	"weir/plugins/serve/overview"
)

// admins takes any key as an admin's.
type admins struct{}

func (admins) Check(context.Context, string) (*apikey.Key, error) {
	return &apikey.Key{Admin: true}, nil
}

// narrow is a listener whose connections hold little of what nobody reads.
type narrow struct{ net.Listener }

func (l narrow) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(8 << 10)
	}
	return c, err
}

// liveOverTCP serves overviews of some 100 KiB; each piece of one must be taken
// within the timeout.
func liveOverTCP(t *testing.T, timeout time.Duration) (address string) {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "control.db"))
	if err != nil {
		t.Fatal(err)
	}
	processes, err := status.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	proofs, err := reconcile.OpenProofs(t.Context(), db, event.LogTelemetry)
	if err != nil {
		t.Fatal(err)
	}
	s := overview.Sources{Proofs: proofs, Status: processes}
	for i := range 400 {
		s.Places = append(s.Places, overview.Place{Name: fmt.Sprintf("%d %s", i, strings.Repeat("x", 200)), URL: "other://x"})
	}
	sampler, err := overview.NewSampler(s)
	if err != nil {
		t.Fatal(err)
	}
	live := &overview.Live{Sampler: sampler, Keys: admins{}, Refresh: func(context.Context) error { return nil }}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: paced(timeout, nil, live)}
	go func() { _ = server.Serve(narrow{l}) }() // until it is closed
	t.Cleanup(func() {
		live.Stop()
		if err := errors.Join(server.Close(), db.Close()); err != nil {
			t.Error(err)
		}
		sampler.Close()
	})
	return l.Addr().String()
}

// looks asks for the live overview, and returns the status of the answer.
func looks(t *testing.T, address string) (c *net.TCPConn, lines *bufio.Reader, code int) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // it may be closed
	c = conn.(*net.TCPConn)
	if err := errors.Join(c.SetReadBuffer(4<<10), c.SetDeadline(time.Now().Add(2*time.Minute))); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET /v1/live HTTP/1.1\r\nHost: weir\r\nX-API-Key: k\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	lines = bufio.NewReaderSize(c, 1<<10)
	answer, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(answer, "HTTP/1.1 %d", &code); err != nil {
		t.Fatal(answer, err)
	}
	return c, lines, code
}

// enters waits until there is room for one more.
func enters(t *testing.T, address, after string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		c, _, code := looks(t, address)
		_ = c.Close()
		if code == http.StatusOK {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no room after %s: %d", after, code)
		}
	}
}

// Those who read nothing hold neither memory nor those who read; who vanishes makes
// room at once, and who reads nothing when the time to take a piece is over.
func TestLive_WhoReadsNothingHoldsNobody(t *testing.T) {
	const stuck = 49
	address := liveOverTCP(t, time.Hour)
	_, lines, code := looks(t, address)
	next := func() {
		t.Helper()
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatalf("who reads is told nothing more: %v", err)
			}
			if strings.HasPrefix(line, "event: overview") {
				return
			}
		}
	}
	if next(); code != http.StatusOK {
		t.Fatal(code)
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	var all []*net.TCPConn
	for range stuck {
		c, _, code := looks(t, address) // and reads no more
		if code != http.StatusOK {
			t.Fatal(code)
		}
		all = append(all, c)
	}
	if _, _, code := looks(t, address); code != http.StatusTooManyRequests {
		t.Errorf("one too many was answered %d", code)
	}
	for range 6 { // a queue for each of them would be 30 MiB by then
		next()
	}
	grown := heap() - before
	t.Logf("%d who read nothing hold %d bytes", stuck, grown)
	if grown > 15<<20 {
		t.Error("which is too much")
	}
	for _, c := range all[:5] {
		_ = c.SetLinger(0) // no goodbye
		_ = c.Close()
	}
	enters(t, address, "some have vanished")
	next()

	address = liveOverTCP(t, time.Second)
	for range stuck + 1 {
		if _, _, code := looks(t, address); code != http.StatusOK {
			t.Fatal(code)
		}
	}
	enters(t, address, "nobody has read for a second")
}
