package overview

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
	"weir/internal/platform/live"
	"weir/internal/platform/text"
)

// Limits of live responses.
const (
	viewersMost = 50
	liveEvery   = time.Second
	liveWait    = 800 * time.Millisecond // maximum wait for slow parts, each time
	renewAfter  = 15 * time.Minute
	askAgain    = "10" // Retry-After in seconds for a viewer too many
	keysEvery   = 2 * time.Second
)

// Reasons why a live response ends.
const (
	endRevoked  = "key_revoked"
	endRenew    = "renew"
	endStopping = "stopping"
)

// Live streams an overview per second to each viewer.
type Live struct {
	Sampler *Sampler
	Keys    apikey.Checker
	// Refresh makes Keys current, so that the responses of a key that was revoked elsewhere end within seconds.
	Refresh func(context.Context) error

	renew time.Duration // 0: renewAfter; set by tests

	once     sync.Once
	stopping chan struct{}
	current  *live.Asked[struct{}]
	mu       sync.Mutex
	viewers  int
	stopped  bool
	frames   frames
}

func (l *Live) init() {
	l.once.Do(func() {
		l.stopping = make(chan struct{})
		l.current = &live.Asked[struct{}]{Every: keysEvery, Most: 5 * time.Second,
			Ask: func(ctx context.Context) (struct{}, error) { return struct{}{}, l.Refresh(ctx) }}
		if l.renew == 0 {
			l.renew = renewAfter
		}
	})
}

// Stop ends all responses, and new ones after their first overview.
func (l *Live) Stop() {
	l.init()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stopped {
		l.stopped = true
		close(l.stopping)
	}
}

// enter admits a viewer if there is room.
func (l *Live) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.viewers >= viewersMost {
		return false
	}
	l.viewers++
	return true
}

func (l *Live) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.viewers--
}

// ServeHTTP answers GET /v1/live.
func (l *Live) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.init()
	if !l.enter() {
		w.Header().Set("Retry-After", askAgain)
		httpx.Write(w, httpx.Problem{Type: "too-many-viewers", Status: http.StatusTooManyRequests,
			Title: "Too many viewers at a time", Detail: fmt.Sprintf(
				"%d look already, and that many may: close a page, or ask for /v1/overview now and then", viewersMost)})
		return
	}
	defer l.leave()
	stream, err := httpx.Stream(w)
	if err != nil { // the client is gone
		return
	}
	if reason := l.send(r, stream); reason != "" {
		_ = stream.Send("end", map[string]string{"reason": reason}) // the client may be gone
	}
}

// send sends overviews and returns the reason why it ends, or "" when the client is gone or an overview cannot be
// encoded.
func (l *Live) send(r *http.Request, stream *httpx.Events) (reason string) {
	ctx, fleet := r.Context(), apikey.FleetFrom(r.Context())
	renew := time.After(l.renew)
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	var seen *frame
	for {
		if !l.allowed(ctx, r) {
			return endRevoked
		}
		seen = l.frames.next(fleet, seen, func() ([]byte, error) {
			wait, cancel := context.WithTimeout(l.Sampler.life, liveWait)
			defer cancel()
			return text.JSON(l.Sampler.View(wait, fleet))
		})
		select {
		case <-seen.made:
		case <-ctx.Done():
			return ""
		}
		if seen.err != nil || stream.SendRaw("overview", seen.raw) != nil {
			return ""
		}
		select {
		case <-ctx.Done():
			return ""
		case <-l.stopping:
			return endStopping
		case <-renew:
			return endRenew
		case <-tick.C:
		}
	}
}

// allowed tells whether the request's key may still view. If the key cannot be checked, it may.
func (l *Live) allowed(ctx context.Context, r *http.Request) bool {
	wait, cancel := context.WithTimeout(ctx, liveWait)
	defer cancel()
	l.current.Refresh(wait, l.Sampler.life)
	key, err := l.Keys.Check(ctx, apikey.FromRequest(r))
	if err != nil {
		return !errors.Is(err, apikey.ErrUnknown)
	}
	return key.Allows(apikey.Query) || key.Is(apikey.Viewer)
}
