package dedupe

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"

	"weir/internal/platform/redisconn"
)

// redisStore claims with SET key value NX GET PX ttl, in one pipeline for a batch. Claims are as durable as the server
// makes them. If a failover or an eviction loses a claim, its event can be claimed again, which the ledgers of the
// stores recognise.
//
// A pipeline may be sent twice: the second attempt finds the claims of the first held by the same delivery, and keeps
// them.
type redisStore struct {
	conns *redisconn.Conns
	ttl   int64 // milliseconds
	old   atomic.Bool
}

// callClaim is the kind of call under which claims are measured in both stores: with Redis a pipeline, with Pebble
// until the claims are on disk.
const callClaim = "claim"

// redisPrefix begins every key, so that the server can be shared. Claims of versions that did not store the log are
// under "weir:claim:": such a version can still read those, and does not see the new ones, which it would misread.
const redisPrefix = "weir:claims:"

func newRedis(rawURL string, ttl, timeout time.Duration) (*redisStore, error) {
	conns, err := redisconn.Open(rawURL, timeout)
	if err != nil {
		return nil, fmt.Errorf("reading the claims URL: %w", err)
	}
	return &redisStore{conns: conns, ttl: ttl.Milliseconds()}, nil
}

// open does nothing: the client connects with the first command.
func (r *redisStore) open(context.Context) error { return nil }

func (r *redisStore) claim(ctx context.Context, claims []claim) error {
	if len(claims) > 0 && claims[0].old != nil { // claims that replace others are not mixed with new ones
		return r.replace(ctx, claims)
	}
	if r.old.Load() {
		return r.claimOld(ctx, claims)
	}
	err := r.claimNew(ctx, claims)
	if err != nil && strings.HasPrefix(err.Error(), "ERR syntax error") {
		// Redis before 7 knows no SET with both NX and GET.
		if err = r.claimOld(ctx, claims); err == nil {
			r.old.Store(true)
		}
	}
	return err
}

func (r *redisStore) claimNew(ctx context.Context, claims []claim) error {
	return r.ask(ctx, claims, func(c redis.Conn, cl claim) error {
		return c.Send("SET", redisKey(cl.key), cl.mine, "NX", "GET", "PX", r.ttl)
	})
}

// ask sends one command for each claim; the reply is the holder, or nil.
func (r *redisStore) ask(ctx context.Context, claims []claim, send func(redis.Conn, claim) error) error {
	replies, err := r.conns.Pipeline(ctx, len(claims), func(c redis.Conn) error {
		for i := range claims {
			if err := send(c, claims[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range claims {
		if claims[i].held, err = heldBy(replies[i]); err != nil {
			return err
		}
	}
	return nil
}

// heldBy decodes a reply: a value, or nil.
func heldBy(reply any) ([]byte, error) {
	switch held := reply.(type) {
	case nil:
		return nil, nil
	case []byte:
		return held, nil
	}
	return nil, fmt.Errorf("reading who holds a claim: Redis replied with a %T", reply)
}

// redisReplace sets a claim if there is none, or if the present one is the given claim of another log; else it returns
// the present one.
const redisReplace = `local held = redis.call('get', KEYS[1])
if held and held ~= ARGV[1] then return held end
redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3])
return false`

func (r *redisStore) replace(ctx context.Context, claims []claim) error {
	return r.ask(ctx, claims, func(c redis.Conn, cl claim) error {
		return c.Send("EVAL", redisReplace, 1, redisKey(cl.key), cl.old, cl.mine, r.ttl)
	})
}

// claimOld sets and then reads, for Redis before 7. If a claim of another delivery expires between the two, the
// identity is free, and is claimed again.
func (r *redisStore) claimOld(ctx context.Context, claims []claim) error {
	open := make([]int, len(claims))
	for i := range open {
		open[i] = i
	}
	for range 3 {
		var again []int
		replies, err := r.conns.Pipeline(ctx, 2*len(open), func(c redis.Conn) error {
			for _, i := range open {
				key := redisKey(claims[i].key)
				if err := c.Send("SET", key, claims[i].mine, "NX", "PX", r.ttl); err != nil {
					return err
				}
				if err := c.Send("GET", key); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for n, i := range open {
			if replies[2*n] != nil {
				continue // ours
			}
			if claims[i].held, err = heldBy(replies[2*n+1]); err != nil {
				return err
			}
			if claims[i].held == nil {
				again = append(again, i)
			}
		}
		if open = again; len(open) == 0 {
			return nil
		}
	}
	return fmt.Errorf("claiming %d events: their claims expire faster than they can be read", len(open))
}

func redisKey(key []byte) []byte {
	b := make([]byte, 0, len(redisPrefix)+len(key))
	return append(append(b, redisPrefix...), key...)
}

func (r *redisStore) close() error { return r.conns.Pool.Close() }
