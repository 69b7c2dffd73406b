// Package redisconn sends pipelines of commands to Redis over pooled connections.
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

// Conns sends pipelines of commands over pooled connections. It may be used concurrently.
type Conns struct {
	Pool    *redis.Pool
	Meter   *calls.Meter // times connecting, and pipelines as Kind; may be nil
	Kind    string
	timeout time.Duration // for connecting, for writing a pipeline, and for reading its replies
	// broke is when a connection last failed. Connections idle since before then count as broken too, because a
	// restarting server breaks all of them.
	broke atomic.Pointer[time.Time]
}

// CallConnect is the kind of call that opens a connection.
const CallConnect = "connect"

// Schemes lists the URL schemes.
func Schemes() []string { return []string{"redis", "rediss"} }

// Open parses a URL and connects on first use. Errors never contain the URL. A password that the URL keeps elsewhere
// is read anew for each connection, because it may be rotated.
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

// errStale makes the pool close a connection instead of reusing it.
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

// Pipeline sends the n commands that send writes and returns their replies. If one reply is an error, Pipeline fails
// after reading the others.
//
// A pipeline whose connection breaks is sent once more, as a whole, on another connection: its commands must be
// idempotent even if the server has executed some of them. A pipeline that times out is not sent again, since the
// server may still be executing it.
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

// Connect borrows a connection; its Close returns it to the pool.
func (r *Conns) Connect(ctx context.Context) (redis.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	return r.Pool.GetContext(ctx)
}

// exchange reads all replies unless the connection failed, because the next user of the connection would read what is
// left.
func (r *Conns) exchange(ctx context.Context, c redis.Conn, n int, send func(redis.Conn) error) ([]any, error) {
	if err := send(c); err != nil {
		return nil, err
	}
	if err := c.Flush(); err != nil {
		return nil, err
	}
	until := time.Now().Add(r.timeout) // applies to all replies together
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		until = d
	}
	var refused error
	replies := make([]any, n)
	for i := range replies {
		var err error
		// A timeout of 0 would mean none.
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

// urlOptions are the options that a URL may have.
var urlOptions = [...]string{"db", "pool_size", "skip_verify"}

// parse parses redis://USER:PASSWORD@HOST:PORT/DB and rediss:// with urlOptions. Errors never contain the URL.
func parse(rawURL string) (addr string, size int, options []redis.DialOption, err error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Opaque != "" || (u.Scheme != "redis" && u.Scheme != "rediss") { // err may quote the password
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

// count parses a number of at least 0; empty and 0 mean the default.
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
