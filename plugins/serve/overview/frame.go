package overview

import (
	"maps"
	"sync"
	"time"
)

// frameLife is how long all who look are sent the same overview. It is less than
// the time between two of a viewer, so that whoever comes first makes a new one.
const frameLife = 900 * time.Millisecond

// frame is an overview as it is sent: there when made is closed.
type frame struct {
	at   time.Time
	made chan struct{}
	raw  []byte
	err  error
}

// frames are the newest of each fleet, made once for all who look.
type frames struct {
	mu sync.Mutex
	by map[string]*frame
}

// ready tells whether it is made.
func (f *frame) ready() bool {
	select {
	case <-f.made:
		return true
	default:
		return false
	}
}

// next returns an overview of a fleet that the viewer has not seen: the newest,
// or one that it makes. Whoever makes it returns when it is made; the others may
// have to wait for it.
func (f *frames) next(fleet string, seen *frame, draw func() ([]byte, error)) *frame {
	one, mine := f.claim(fleet, seen, time.Now())
	if mine {
		defer close(one.made)
		one.raw, one.err = draw()
	}
	return one
}

// claim tells whether the caller is who makes the frame. One at a time is made of a
// fleet, however long it takes, so that none shows an earlier moment than the one
// before.
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
