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

// redisStore claims with SET key value NX GET PX ttl, one pipeline a batch.
// Claims are as durable as the server makes them; one that a failover or an
// eviction loses lets its event be claimed again, which the ledgers absorb.
//
// A pipeline may be sent twice: what the first attempt claimed, the second finds
// held by the same delivery, whose claim it stays.
type redisStore struct {
	conns *redisconn.Conns
	ttl   int64 // milliseconds
	old   atomic.Bool
}

// callClaim is the kind of call that both stores are timed by: a claim of Redis is a
// pipeline of them, one of Pebble ends when the disk has it.
const callClaim = "claim"

// redisPrefix begins every key, so that the server can be shared. Claims that do
// not name their log were kept under "weir:claim:", where a weir of that time can
// still read them, and not these, which it would misread.
const redisPrefix = "weir:claims:"

func newRedis(rawURL string, ttl, timeout time.Duration) (*redisStore, error) {
	conns, err := redisconn.Open(rawURL, timeout)
	if err != nil {
		return nil, fmt.Errorf("reading the claims URL: %w", err)
	}
	return &redisStore{conns: conns, ttl: ttl.Milliseconds()}, nil
}

// open has nothing to do: the client connects when it is asked.
func (r *redisStore) open(context.Context) error { return nil }

func (r *redisStore) claim(ctx context.Context, claims []claim) error {
	if len(claims) > 0 && claims[0].old != nil { // those that replace come alone
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

// ask sends one command a claim, whose reply is who holds it, or nil.
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

// heldBy reads a reply that is a value, or nil.
func heldBy(reply any) ([]byte, error) {
	switch held := reply.(type) {
	case nil:
		return nil, nil
	case []byte:
		return held, nil
	}
	return nil, fmt.Errorf("reading who holds a claim: Redis replied with a %T", reply)
}

// redisReplace sets a claim where there is none, or the one of another log that
// was found there, and else returns what there is.
const redisReplace = `local held = redis.call('get', KEYS[1])
if held and held ~= ARGV[1] then return held end
redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3])
return false`

func (r *redisStore) replace(ctx context.Context, claims []claim) error {
	return r.ask(ctx, claims, func(c redis.Conn, cl claim) error {
		return c.Send("EVAL", redisReplace, 1, redisKey(cl.key), cl.old, cl.mine, r.ttl)
	})
}

// claimOld sets and then reads. Between the two a claim of another delivery
// may expire: then the identity is free, and is asked for again.
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
