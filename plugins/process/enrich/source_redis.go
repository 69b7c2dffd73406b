package enrich

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/gomodule/redigo/redis"

	"weir/internal/platform/redisconn"
)

// callGet is the kind of call under which queries are measured.
const callGet = "get"

// ofRedis queries a Redis: the answer is the value of the key or, of a hash, its fields.
func ofRedis(conns *redisconn.Conns, hash bool) source {
	command := "GET"
	if hash {
		command = "HGETALL"
	}
	return func(ctx context.Context, key string) (answer, error) {
		replies, err := conns.Pipeline(ctx, 1, func(c redis.Conn) error { return c.Send(command, key) })
		if err != nil {
			return answer{}, refusedByRedis(err)
		}
		switch {
		case replies[0] == nil:
			return answer{absent: true}, nil
		case hash:
			return fields(replies[0])
		}
		raw, err := redis.Bytes(replies[0], nil)
		if err != nil {
			return answer{}, err
		}
		return said(raw)
	}
}

// fields makes an answer of a hash; a hash without fields does not exist.
func fields(reply any) (answer, error) {
	all, err := redis.StringMap(reply, nil)
	if err != nil || len(all) == 0 {
		return answer{absent: true}, err
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return answer{}, err
	}
	return said(raw)
}

// refusedByRedis reduces an error reply of the server to its kind, because the rest may contain the key.
func refusedByRedis(err error) error {
	var refused redis.Error
	if !errors.As(err, &refused) {
		return err
	}
	kind, _, _ := strings.Cut(string(refused), " ")
	if strings.Trim(kind, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		kind = "an error"
	}
	return ownError{fmt.Errorf("it refuses the question (%s)", kind)}
}
