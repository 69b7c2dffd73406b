// Package redisconn asks a Redis in pipelines of commands, over connections that are
// kept.
package redisconn

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"

	"weir/internal/platform/calls"
	"weir/internal/platform/secret"
)

// Conns sends pipelines of commands over pooled connections.
type Conns struct {
	Pool    *redis.Pool
	Meter   *calls.Meter // of connecting, and of pipelines as Kind; nil: nobody is told
	Kind    string
	timeout time.Duration // to connect, to write a pipeline, to read its replies
	// broke is when a connection last failed. Those that idle since before then
	// are taken for broken too: a server that restarts breaks all of them.
	broke atomic.Pointer[time.Time]
}

// CallConnect is the kind of call that makes a connection.
const CallConnect = "connect"

// Schemes are those of its URLs.
func Schemes() []string { return []string{"redis", "rediss"} }

// Open reads a URL, and connects when it is first asked. No error shows the URL. What
// the URL says of where its password is kept is read for each connection: it may have
// been rotated.
func Open(rawURL string, timeout time.Duration) (*Conns, error) {
	without, kept, err := secret.Password(rawURL)
	if err != nil {
		return nil, err
	}
	addr, size, options, err := parse(without)
	if err != nil {
		return nil, err
	}
	return newConns(addr, size, timeout, options, kept), nil
}

// Close closes the connections.
func (r *Conns) Close() error { return r.Pool.Close() }

// errStale makes the pool close a connection instead of lending it.
var errStale = errors.New("idle since before another connection failed")

func newConns(addr string, size int, timeout time.Duration, options []redis.DialOption, kept string) *Conns {
	r := &Conns{timeout: timeout}
	options = append(options, redis.DialConnectTimeout(timeout), redis.DialTLSHandshakeTimeout(timeout),
		redis.DialReadTimeout(timeout), redis.DialWriteTimeout(timeout))
	r.Pool = &redis.Pool{
		MaxActive: size, MaxIdle: size, Wait: true, IdleTimeout: 30 * time.Minute,
		DialContext: func(ctx context.Context) (redis.Conn, error) {
			with := options
			if kept != "" {
				password, err := secret.Value(ctx, kept)
				if err != nil {
					return nil, err
				}
				with = append(slices.Clip(options), redis.DialPassword(password))
			}
			began := time.Now()
			c, err := redis.DialContext(ctx, "tcp", addr, with...)
			r.Meter.Note(CallConnect, began, err)
			return c, err
		},
		TestOnBorrow: func(_ redis.Conn, used time.Time) error {
			if broke := r.broke.Load(); broke != nil && !used.After(*broke) {
				return errStale
			}
			return nil
		},
	}
	return r
}

// Pipeline writes what send sends, n commands, and returns their replies. An
// error reply to one of them fails all, after the others were read.
//
// A pipeline whose connection breaks is sent once more, whole, on another: its
// commands must mean the same when the server has carried some of them out
// already. One that times out is not, since the server may still be at it.
func (r *Conns) Pipeline(ctx context.Context, n int, send func(redis.Conn) error) ([]any, error) {
	replies, broke, err := r.try(ctx, n, send)
	if broke && ctx.Err() == nil {
		replies, _, err = r.try(ctx, n, send)
	}
	return replies, err
}

func (r *Conns) try(ctx context.Context, n int, send func(redis.Conn) error) (_ []any, broke bool, err error) {
	c, err := r.Connect(ctx)
	if err != nil {
		return nil, false, err
	}
	defer c.Close() // closes the connection, if it failed
	began := time.Now()
	replies, err := r.exchange(ctx, c, n, send)
	r.Meter.Note(r.Kind, began, err)
	if c.Err() != nil {
		now := time.Now()
		r.broke.Store(&now)
		broke = !errors.Is(err, os.ErrDeadlineExceeded)
	}
	return replies, broke, err
}

// Connect lends a connection, which goes back with its Close.
func (r *Conns) Connect(ctx context.Context) (redis.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	return r.Pool.GetContext(ctx)
}

// exchange leaves no reply unread on a connection that has not failed: the next
// to borrow it would take it for its own.
func (r *Conns) exchange(ctx context.Context, c redis.Conn, n int, send func(redis.Conn) error) ([]any, error) {
	if err := send(c); err != nil {
		return nil, err
	}
	if err := c.Flush(); err != nil {
		return nil, err
	}
	until := time.Now().Add(r.timeout) // for all replies
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		until = d
	}
	var refused error
	replies := make([]any, n)
	for i := range replies {
		var err error
		// A wait of 0 would be one without end.
		replies[i], err = redis.ReceiveWithTimeout(c, max(time.Until(until), 1))
		if c.Err() != nil {
			return nil, err
		}
		if err != nil && refused == nil {
			refused = err
		}
	}
	return replies, refused
}

// urlOptions are those that a URL may have.
var urlOptions = [...]string{"db", "pool_size", "skip_verify"}

// parse reads redis://USER:PASSWORD@HOST:PORT/DB and rediss:// with
// urlOptions. No error shows the URL.
func parse(rawURL string) (addr string, size int, options []redis.DialOption, err error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Opaque != "" || (u.Scheme != "redis" && u.Scheme != "rediss") { // its text may quote the password
		return "", 0, nil, errors.New("expected redis://USER:PASSWORD@HOST:PORT/DB")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", 0, nil, errors.New("expected options such as ?pool_size=20")
	}
	for name := range query {
		if !slices.Contains(urlOptions[:], name) {
			return "", 0, nil, fmt.Errorf("it has an option that is none of %s: leave it out",
				strings.Join(urlOptions[:], ", "))
		}
	}
	db := strings.Trim(u.Path, "/")
	if query.Has("db") {
		db = query.Get("db")
	}
	number, err := count(db, "database", 0)
	if err != nil {
		return "", 0, nil, err
	}
	if size, err = count(query.Get("pool_size"), "pool_size", 10*runtime.GOMAXPROCS(0)); err != nil {
		return "", 0, nil, err
	}
	skip := false
	if query.Has("skip_verify") {
		if skip, err = strconv.ParseBool(query.Get("skip_verify")); err != nil {
			return "", 0, nil, errors.New("skip_verify must be true or false")
		}
	}
	host, port := cmp.Or(u.Hostname(), "localhost"), cmp.Or(u.Port(), "6379")
	options = []redis.DialOption{redis.DialDatabase(number), redis.DialUsername(u.User.Username())}
	if password, ok := u.User.Password(); ok {
		options = append(options, redis.DialPassword(password))
	}
	if u.Scheme == "rediss" {
		options = append(options, redis.DialUseTLS(true), redis.DialTLSConfig(&tls.Config{
			ServerName: host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: skip,
		}))
	}
	return net.JoinHostPort(host, port), size, options, nil
}

// count reads a number from 0; unset and 0 are the default.
func count(text, what string, unset int) (int, error) {
	if text == "" {
		return unset, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("the %s must be a number from 0", what)
	}
	return cmp.Or(n, unset), nil
}
