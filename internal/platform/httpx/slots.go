package httpx

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Slots bound how many requests of a kind are answered at a time, and for how long.
type Slots struct {
	free chan struct{}
	most time.Duration
}

// NewSlots makes room for so many requests, each of which may take so long.
func NewSlots(n int, most time.Duration) *Slots { return &Slots{make(chan struct{}, n), most} }

// Take takes a place until done is called: the work may use ctx, which ends when
// its time is over. Where there is none, it answers 429, and ok is false.
func (s *Slots) Take(w http.ResponseWriter, r *http.Request) (ctx context.Context, done func(), ok bool) {
	select {
	case s.free <- struct{}{}:
		ctx, cancel := context.WithTimeout(r.Context(), s.most)
		return ctx, func() { cancel(); <-s.free }, true
	default:
		w.Header().Set("Retry-After", "2")
		Write(w, Problem{Type: "too-many-queries", Status: http.StatusTooManyRequests, Title: "Too many queries at a time",
			Detail: fmt.Sprintf("%d of this kind are being answered, and that many may be: ask again in 2 seconds",
				cap(s.free))})
		return nil, nil, false
	}
}
