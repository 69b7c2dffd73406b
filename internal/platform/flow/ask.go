package flow

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// Asking makes a processor wait for a store that its events need: while the store is unreachable no event passes, and
// none fails.
type Asking struct {
	Store    string // name in messages: "store of consents"
	Timeout  time.Duration
	Up       *service.MetricGauge // 1 while the store answers
	Failures *service.MetricCounter
	Log      *service.Logger
}

// Until calls ask until it succeeds, with a.Timeout for each call and growing pauses between. It returns an error
// only when ctx ends first.
func (a *Asking) Until(ctx context.Context, ask func(context.Context) error) error {
	var began, told time.Time
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := a.once(ctx, ask)
		if err == nil {
			a.Up.Set(1)
			if !began.IsZero() {
				a.Log.Infof("the %s is back after %s", a.Store, time.Since(began).Round(time.Millisecond))
			}
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("waiting for the %s: %w", a.Store, ctx.Err())
		}
		a.Up.Set(0)
		a.Failures.Incr(1)
		if began.IsZero() {
			began = time.Now()
		}
		if time.Since(told) >= remind {
			told = time.Now()
			a.Log.Errorf("the %s does not answer, events wait for it: %v", a.Store, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause/2)): // random, so that several processes do not retry together
		}
	}
}

func (a *Asking) once(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	return ask(ctx)
}
