package overview

import (
	"maps"
	"sync"
	"time"
)

// frameLife is how long an overview is shared by all viewers. It is less than a viewer's interval, so that the first
// viewer of an interval makes a new one.
const frameLife = 900 * time.Millisecond

// frame is an encoded overview; raw and err are valid once made is closed.
type frame struct {
	at   time.Time
	made chan struct{}
	raw  []byte
	err  error
}

// frames holds the newest frame of each fleet, shared by all viewers.
type frames struct {
	mu sync.Mutex
	by map[string]*frame
}

// ready tells whether the frame is made.
func (f *frame) ready() bool {
	select {
	case <-f.made:
		return true
	default:
		return false
	}
}

// next returns a frame that the viewer has not seen: the newest one, or a new one that it makes with draw. Only the
// caller that makes it returns with a finished frame; others must wait for made.
func (f *frames) next(fleet string, seen *frame, draw func() ([]byte, error)) *frame {
	one, mine := f.claim(fleet, seen, time.Now())
	if mine {
		defer close(one.made)
		one.raw, one.err = draw()
	}
	return one
}

// claim returns the frame to show and whether the caller must make it. Only one frame per fleet is made at a time, so
// that no frame is older than the one before.
func (f *frames) claim(fleet string, seen *frame, now time.Time) (one *frame, mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one = f.by[fleet]
	if one != nil && one != seen && (now.Sub(one.at) < frameLife || !one.ready()) {
		return one, false
	}
	if f.by == nil {
		f.by = map[string]*frame{}
	}
	maps.DeleteFunc(f.by, func(_ string, old *frame) bool { return now.Sub(old.at) >= frameLife && old.ready() })
	one = &frame{at: now, made: make(chan struct{})}
	f.by[fleet] = one
	return one, true
}
