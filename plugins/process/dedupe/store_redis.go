package dedupe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// redisStore claims with SET key value NX GET PX ttl, one pipeline a batch.
// Claims are as durable as the server makes them; one that a failover or an
// eviction loses lets its event be claimed again, which the ledgers absorb.
type redisStore struct {
	client *redis.Client
	ttl    int64 // milliseconds
	old    atomic.Bool
}

// redisPrefix begins every key, so that the server can be shared. Claims that do
// not name their log were kept under "weir:claim:", where a weir of that time can
// still read them, and not these, which it would misread.
const redisPrefix = "weir:claims:"

func newRedis(rawURL string, ttl, timeout time.Duration) (*redisStore, error) {
	opts, err := redis.ParseURL(rawURL)
	if err != nil { // its text may quote the password
		return nil, errors.New("reading the claims URL: expected redis://USER:PASSWORD@HOST:PORT/DB")
	}
	opts.ContextTimeoutEnabled = true
	opts.DialTimeout, opts.ReadTimeout, opts.WriteTimeout = timeout, timeout, timeout
	opts.DialerRetries = 1
	opts.MaxRetries = 1 // a connection that a restart of the server broke
	opts.DisableIdentity = true
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return &redisStore{client: redis.NewClient(opts), ttl: ttl.Milliseconds()}, nil
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
	pipe := r.client.Pipeline()
	cmds := make([]*redis.StringCmd, len(claims))
	for i := range claims {
		cmds[i] = redis.NewStringCmd(ctx, "set", redisKey(claims[i].key), claims[i].mine, "nx", "get", "px", r.ttl)
		_ = pipe.Process(ctx, cmds[i]) // only queues
	}
	_, failed := pipe.Exec(ctx)
	for i, cmd := range cmds {
		switch held, err := cmd.Bytes(); {
		case err == nil:
			claims[i].held = held
		case !errors.Is(err, redis.Nil):
			return err
		case failed != nil && !errors.Is(failed, redis.Nil):
			return failed // a reply that was never read is no "nil" reply
		}
	}
	return nil
}

// redisReplace sets a claim where there is none, or the one of another log that
// was found there, and else returns what there is.
const redisReplace = `local held = redis.call('get', KEYS[1])
if held and held ~= ARGV[1] then return held end
redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3])
return false`

func (r *redisStore) replace(ctx context.Context, claims []claim) error {
	pipe := r.client.Pipeline()
	cmds := make([]*redis.Cmd, len(claims))
	for i := range claims {
		cmds[i] = pipe.Eval(ctx, redisReplace, []string{string(redisKey(claims[i].key))}, claims[i].old, claims[i].mine,
			r.ttl)
	}
	_, failed := pipe.Exec(ctx)
	for i, cmd := range cmds {
		switch held, err := cmd.Text(); {
		case err == nil:
			claims[i].held = []byte(held)
		case !errors.Is(err, redis.Nil):
			return err
		case failed != nil && !errors.Is(failed, redis.Nil):
			return failed
		}
	}
	return nil
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
		pipe := r.client.Pipeline()
		sets, gets := make([]*redis.StatusCmd, len(open)), make([]*redis.StringCmd, len(open))
		for n, i := range open {
			sets[n] = redis.NewStatusCmd(ctx, "set", redisKey(claims[i].key), claims[i].mine, "nx", "px", r.ttl)
			gets[n] = redis.NewStringCmd(ctx, "get", redisKey(claims[i].key))
			_ = pipe.Process(ctx, sets[n])
			_ = pipe.Process(ctx, gets[n])
		}
		_, failed := pipe.Exec(ctx)
		if failed != nil && !errors.Is(failed, redis.Nil) {
			return failed
		}
		for n, i := range open {
			if err := sets[n].Err(); err == nil {
				continue // ours
			} else if !errors.Is(err, redis.Nil) {
				return err
			}
			switch held, err := gets[n].Bytes(); {
			case err == nil:
				claims[i].held = held
			case errors.Is(err, redis.Nil):
				again = append(again, i)
			default:
				return err
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

func (r *redisStore) close() error { return r.client.Close() }
