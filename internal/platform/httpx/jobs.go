package httpx

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Jobs creates and watches jobs of one kind over the API. S is the body that creates a job, J the job as answered.
type Jobs[S, J any] struct {
	API
	Path  string        // path of the list; a job is below it: "/v1/replays"
	Noun  string        // name of a job in errors: "replay"
	Away  time.Duration // how long Watch tolerates an unreachable API
	Ended func(*J) bool // whether a job is finished
}

// watchEvery is how often a job is polled.
const watchEvery = 500 * time.Millisecond

// Create creates a job. After ErrAway it may exist all the same.
func (a Jobs[S, J]) Create(ctx context.Context, spec S) (*J, error) {
	j := new(J)
	return j, a.Call(ctx, http.MethodPost, a.Path, spec, j)
}

// Watch polls a job, passes each state to each, and returns it when it has ended. It tolerates an API that is
// unreachable for up to a.Away.
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
