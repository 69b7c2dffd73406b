package httpx

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Slots limits how many requests of a kind run at the same time, and how long each may take.
type Slots struct {
	free chan struct{}
	most time.Duration
}

// NewSlots allows n concurrent requests of at most `most` each.
func NewSlots(n int, most time.Duration) *Slots { return &Slots{make(chan struct{}, n), most} }

// Take occupies a slot until done is called. The work must use ctx, which ends after the allowed time. When no slot
// is free, it answers 429 and returns ok false.
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
