package rollup

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/sqldb"
	"weir/tests/integration/require"
)

func TestRollup_FullDiskWritesNothing(t *testing.T) {
	t.Run("rows", func(t *testing.T) { fillDisk(t, 0, 30) })
	t.Run("journal", func(t *testing.T) { fillDisk(t, time.Hour, 8) })
}

func fillDisk(t *testing.T, writeEvery time.Duration, pages int) {
	ctx := context.Background()
	db, err := sqldb.Open(ctx, "sqlite://"+t.TempDir()+"/r.db")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1) // so that the limit below applies to every statement
	limits := DefaultLimits()
	limits.WriteEvery = writeEvery
	s, err := Open(ctx, db, limits)
	if err != nil {
		t.Fatal(err)
	}
	limit := func(pages int) {
		if _, err := db.Exec(fmt.Sprintf(`PRAGMA max_page_count = %d`, pages)); err != nil {
			t.Fatal(err)
		}
	}
	used := 0
	if err := db.QueryRow(`PRAGMA page_count`).Scan(&used); err != nil {
		t.Fatal(err)
	}
	limit(used + pages)
	var failed []Window
	total := 0
	for n := range 20 {
		var events []Window
		for d := range 50 {
			w := windowsOf(t, "acme", testEvent(n*50+d, fmt.Sprint("device-", d), noon.Add(time.Duration(n)*time.Minute),
				`{"x":1,"y":2}`))
			events = append(events, *w[0])
		}
		before, _ := lineCount(t, s, "rollup_1m")
		if _, err := s.Add(ctx, gather(events), noon); err != nil {
			if !strings.Contains(err.Error(), "full") {
				t.Fatal(err)
			}
			if after, _ := lineCount(t, s, "rollup_1m"); after != before {
				t.Errorf("a failed batch left %d lines", after-before)
			}
			failed = append(failed, events...)
		}
		total += len(events)
	}
	if len(failed) == 0 || len(failed) == total {
		t.Fatalf("of %d batches, the disk was full for %d", total/50, len(failed)/50)
	}
	if _, err := s.latest(ctx, "acme", "device-1", 0); writeEvery > 0 &&
		(err == nil || !strings.Contains(err.Error(), "full")) {
		t.Errorf("what is counted but can't be written was left out of an answer: %v", err)
	}
	limit(100_000)
	add(t, s, noon, gather(failed))
	writeOut(t, s)
	if lines, readings := lineCount(t, s, "rollup_1m"); lines != 2*total || readings != 2*total {
		t.Errorf("%d lines and %d readings, expected %d", lines, readings, 2*total)
	}
}

// gate is a proxy between a store and its server; while it is shut, connections break and new ones
// are refused.
type gate struct {
	addr, server string
	mu           sync.Mutex
	listener     net.Listener
	conns        []net.Conn
	broken       int
}

func newGate(t *testing.T, server string) *gate {
	g := &gate{addr: "127.0.0.1:0", server: server}
	g.open(t)
	t.Cleanup(g.shut)
	return g
}

func (g *gate) open(t *testing.T) {
	l, err := net.Listen("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	g.listener, g.addr = l, l.Addr().String()
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", g.server)
			if err != nil {
				_ = in.Close()
				continue
			}
			g.mu.Lock()
			g.conns = append(g.conns, in, out)
			g.mu.Unlock()
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		}
	}()
}

func (g *gate) shut() {
	_ = g.listener.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.broken += len(g.conns) / 2
	for _, c := range g.conns {
		_ = c.Close()
	}
	g.conns = nil
}

// While the database flaps, batches fail and are written again, some of them after a commit whose
// response was lost. In the end each event counts once.
func TestRollup_FlappingPostgresCountsEachEventOnce(t *testing.T) {
	t.Parallel()
	base := require.Env(t, "WEIR_TEST_POSTGRES_URL")
	direct := freshSchema(t, base)
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(t, u.Host)
	u.Host = g.addr
	send := startStream(t, u.String())
	stop := make(chan struct{})
	var flapping sync.WaitGroup
	flapping.Go(func() {
		for up := 70 * time.Millisecond; ; up += 2 * time.Millisecond { // connecting can take longer
			select {
			case <-stop:
				return
			case <-time.After(up):
				g.shut()
				time.Sleep(30 * time.Millisecond)
				g.open(t)
			}
		}
	})
	const batches, size = 20, 30
	failures, today := 0, time.Now().Truncate(24*time.Hour)
	for b := range batches {
		for {
			batch := make(service.MessageBatch, size)
			for i := range batch {
				at := today.Add(time.Duration(b*size+i) * time.Second)
				batch[i] = testMessage(testEvent(b*size+i, fmt.Sprint("d", i%3), at, `{"x":1}`), "acme")
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			err := send(ctx, batch)
			cancel()
			if err == nil {
				break
			}
			failures++
			if failures > 1000 {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	close(stop)
	flapping.Wait()
	if g.broken < batches/4 { // fewer on a busy machine, which waits longer between them
		t.Errorf("only %d connections were broken: the outage was not tested", g.broken)
	}
	reader := openStore(t, direct)
	writeOut(t, reader)
	if _, readings := lineCount(t, reader, "rollup_1m"); readings != batches*size {
		t.Errorf("%d readings after %d failures, expected %d", readings, failures, batches*size)
	}
}
