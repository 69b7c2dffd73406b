package dedupe

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"weir/tests/integration/require"
)

// A server that restarts breaks every idle connection: the first of them costs
// one more attempt, and no claim.
func TestRedis_BrokenConnectionsAreReplaced(t *testing.T) {
	u, err := url.Parse(require.Env(t, "WEIR_TEST_REDIS_URL"))
	if err != nil {
		t.Fatal(err)
	}
	w := newWire(t, u.Host)
	u.Host = w.address
	r, err := newRedis(u.String(), time.Minute, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	var idle []redis.Conn
	for range 3 {
		c, err := r.conns.Connect(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Do("PING"); err != nil { // the wire is through
			t.Fatal(err)
		}
		idle = append(idle, c)
	}
	for _, c := range idle {
		c.Close()
	}
	if n := r.conns.Pool.IdleCount(); n != 3 {
		t.Fatalf("%d idle connections", n)
	}
	w.cut()
	w.mend(t)
	ask(t, r, delivery{id: newID(), fleet: "a", at: at(1, 10)})
}

// The second attempt of a batch finds what the first claimed as its own.
func TestRedis_BatchMayBeSentTwice(t *testing.T) {
	r := newTestRedis(t, time.Minute).(*redisStore)
	defer r.close()
	id := newID()
	found := []delivery{{id: id, fleet: "a", at: at(1, 10)}, {id: id, fleet: "a", at: at(1, 11)}}
	for range 2 {
		for _, c := range ask(t, r, found...) {
			if got := holder(t, c); got != at(1, 10) {
				t.Fatalf("held by %s", got)
			}
		}
	}
}

func TestRedis_ErrorReplyFailsTheBatchAndLeavesNothingUnread(t *testing.T) {
	r := newTestRedis(t, time.Minute).(*redisStore)
	defer r.close()
	send := func(names ...string) func(redis.Conn) error {
		return func(c redis.Conn) error {
			for _, name := range names {
				if err := c.Send("ECHO", name); err != nil {
					return err
				}
				if name == "then wrong" {
					if err := c.Send("NOSUCHCOMMAND"); err != nil {
						return err
					}
				}
			}
			return nil
		}
	}
	_, err := r.conns.Pipeline(context.Background(), 4, send("a", "then wrong", "b"))
	var refused redis.Error
	if !errors.As(err, &refused) {
		t.Fatalf("an error reply was passed over: %v", err)
	}
	if n := r.conns.Pool.IdleCount(); n != 1 {
		t.Fatalf("%d idle connections: a healthy one was closed", n)
	}
	replies, err := r.conns.Pipeline(context.Background(), 1, send("mine"))
	if err != nil || string(replies[0].([]byte)) != "mine" {
		t.Fatalf("%s, %v: a reply to another pipeline", replies, err)
	}
}

// A server that answers drop by drop has one timeout for all replies. What it
// may still carry out is not sent again, and its connection, on which replies
// are still to come, is not used again.
func TestRedis_SlowRepliesShareOneTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var accepted atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			go func() { _, _ = io.Copy(io.Discard, c) }()
			go func() {
				defer c.Close()
				for {
					if _, err := c.Write([]byte("$-1\r\n")); err != nil {
						return
					}
					time.Sleep(50 * time.Millisecond)
				}
			}()
		}
	}()
	r, err := newRedis("redis://"+l.Addr().String(), time.Minute, 300*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	claims := newClaims(make([]delivery, 1000), nil) // 50 s, drop by drop
	start := time.Now()
	if err := r.claim(context.Background(), claims); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("claimed: %v", err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	if n := r.conns.Pool.ActiveCount(); n != 0 {
		t.Errorf("%d connections are kept", n)
	}
	if n := accepted.Load(); n != 1 {
		t.Errorf("sent over %d connections", n)
	}
}
