package dedupe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"weir/internal/platform/conf"
	"weir/internal/platform/storeurl"
)

// sizeTimeout is how long a server may take to say how large it is.
const sizeTimeout = 5 * time.Second

// MaybeURL reads the URL of a store of claims that may be left out, with conf.Read.
func MaybeURL(to *string) any { return conf.MaybeURL(to, schemes()...) }

func schemes() []string { return []string{"redis", "rediss", "pebble", "memory"} }

// Size is how many bytes a store of claims takes: of a folder those of its files,
// of Redis the memory of the whole server, with what others keep in it. It is not ok
// for claims that nobody else can see.
func Size(ctx context.Context, rawURL string) (n int64, ok bool, err error) {
	switch scheme, _, _ := strings.Cut(rawURL, "://"); scheme {
	case "pebble":
		path, err := storeurl.Path(rawURL)
		if err == nil {
			n, err = folder(path)
		}
		if err != nil {
			return 0, true, fmt.Errorf("measuring the folder of claims: %w", err)
		}
		return n, true, nil
	case "redis", "rediss":
		store, err := newRedis(rawURL, time.Hour, sizeTimeout)
		if err != nil {
			return 0, true, err
		}
		n, err := store.memory(ctx)
		if err = errors.Join(err, store.close()); err != nil {
			return 0, true, fmt.Errorf("measuring the server of claims: %w", err)
		}
		return n, true, nil
	}
	return 0, false, nil
}

// folder adds up files. What goes while it looks was there to go.
func folder(path string) (n int64, err error) {
	err = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				n += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return n, err
}

// memory asks the server what it takes of its memory.
func (r *redisStore) memory(ctx context.Context) (int64, error) {
	replies, err := r.conns.Pipeline(ctx, 1, func(c redis.Conn) error { return c.Send("INFO", "memory") })
	if err != nil {
		return 0, err
	}
	text, err := redis.String(replies[0], nil)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, is := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); is {
			return strconv.ParseInt(value, 10, 64)
		}
	}
	return 0, errors.New("the server does not say how much memory it uses")
}
