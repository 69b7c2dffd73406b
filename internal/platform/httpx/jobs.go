package httpx

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Jobs makes and watches jobs of one kind over the API: S is what one is made of,
// J the job as the API answers it.
type Jobs[S, J any] struct {
	API
	Path  string        // of the list, and of a job with its id: "/v1/replays"
	Noun  string        // one of them, for errors: "replay"
	Away  time.Duration // how long the API may be away while a job is watched
	Ended func(*J) bool // whether a job changes no more
}

// watchEvery is how often a job is looked at.
const watchEvery = 500 * time.Millisecond

// Create queues a job.
func (a Jobs[S, J]) Create(ctx context.Context, spec S) (*J, error) {
	j := new(J)
	return j, a.Call(ctx, http.MethodPost, a.Path, spec, j)
}

// Watch gets a job again and again, hands it on each time, and returns it when
// it has ended. An API that restarts meanwhile is waited for.
func (a Jobs[S, J]) Watch(ctx context.Context, id string, each func(*J)) (*J, error) {
	seen := time.Now()
	for {
		j := new(J)
		err := a.Call(ctx, http.MethodGet, a.Path+"/"+url.PathEscape(id), nil, j)
		switch {
		case err == nil:
			seen = time.Now()
			each(j)
			if a.Ended(j) {
				return j, nil
			}
		case !errors.Is(err, ErrAway) || time.Since(seen) > a.Away:
			return nil, fmt.Errorf("watching %s %s: %w", a.Noun, id, err)
		}
		select {
		case <-time.After(watchEvery):
		case <-ctx.Done():
			return nil, fmt.Errorf("watching %s %s: %w", a.Noun, id, ctx.Err())
		}
	}
}
