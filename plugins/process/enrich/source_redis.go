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

// callGet is the kind of call that a question is.
const callGet = "get"

// ofRedis asks a Redis: the value of the key is the answer, or, of a hash, its fields.
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

// fields makes an answer of a hash; one without fields is not there.
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

// refusedByRedis leaves of an error that the server replied the kind alone: the rest
// is for people who may see keys.
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
