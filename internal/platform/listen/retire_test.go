package listen

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"
)

// Of two connections that are quiet when the listener retires, the one whose
// request comes within the grace is answered, and the other ended; nobody else
// gets in.
func TestRetire_AnswersWhatComesInTime(t *testing.T) {
	l, _, err := Open(t.Context(), "127.0.0.1:0", Config{}, Watch{})
	if err != nil {
		t.Fatal(err)
	}
	l.grace = 2 * time.Second // also on a busy machine
	srv := &http.Server{ConnState: l.ConnState, IdleTimeout: time.Minute, ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "here") })}
	go func() { _ = srv.Serve(l) }()
	ask := func(c net.Conn, r *bufio.Reader) error {
		if _, err := fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: gate\r\n\r\n"); err != nil {
			return err
		}
		resp, err := http.ReadResponse(r, nil)
		if err == nil {
			err = resp.Body.Close()
		}
		return err
	}
	var conns []net.Conn
	var readers []*bufio.Reader
	for i := range 3 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns, readers = append(conns, c), append(readers, bufio.NewReader(c))
		if i < 2 { // the third has never sent anything
			if err := ask(c, readers[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		l.conns.mu.Lock()
		quiet := 0
		for c := range l.conns.live {
			c.mu.Lock()
			if c.quiet {
				quiet++
			}
			c.mu.Unlock()
		}
		l.conns.mu.Unlock()
		if quiet == 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are quiet", quiet)
		}
	}
	retired := make(chan error, 1)
	go func() { retired <- l.Retire(context.Background()) }()
	for deadline := time.Now().Add(10 * time.Second); ; { // until the listener is closed
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			break
		}
		c.Close()
		if time.Now().After(deadline) {
			t.Fatal("a connection is let in after the listener has retired")
		}
	}
	if err := ask(conns[0], readers[0]); err != nil {
		t.Errorf("a request within the grace: %v", err)
	}
	if err := <-retired; err != nil {
		t.Error(err)
	}
	for i := 1; i < 3; i++ {
		_ = conns[i].SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := readers[i].ReadByte(); err == nil {
			t.Error("a quiet connection is open after the grace")
		} else if ne, is := err.(net.Error); is && ne.Timeout() {
			t.Error("a quiet connection is open after the grace")
		}
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// A client that is connected when the listener closes, and was not accepted
// yet, is accepted: what it has sent is read. One that comes later is refused.
func TestClose_AcceptsWhatHasCome(t *testing.T) {
	l, _, err := Open(t.Context(), "127.0.0.1:0", Config{}, Watch{})
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	const clients = 20
	for range clients {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := fmt.Fprint(c, "a request"); err != nil {
			t.Fatal(err)
		}
	}
	closed := make(chan error, 1)
	go func() { closed <- l.Close() }()
	time.Sleep(10 * time.Millisecond)
	late := make(chan error, 1)
	go func() {
		c, err := net.DialTimeout("tcp", at, 20*time.Second)
		if err == nil {
			err = c.Close()
		}
		late <- err
	}()
	accepted := 0
	for c, err := l.Accept(); err == nil; c, err = l.Accept() {
		accepted++
		p := make([]byte, len("a request"))
		if _, err := io.ReadFull(c, p); err != nil {
			t.Errorf("a connection is cut: %v", err)
		}
		c.Close()
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := <-late; err == nil {
		t.Log("the last client was heard before the listener was deaf")
		accepted--
	}
	if runtime.GOOS == "linux" && accepted != clients {
		t.Errorf("%d of %d clients were accepted", accepted, clients)
	}
}
