package rule

// timers is a binary heap of keys by the time when they are due, the earliest first. A key can be in it several
// times; only the timer that equals keyState.due is valid. Most keys have a time of their own, so keys are not grouped
// by time.
type timers []timer

type timer struct {
	at int64
	k  *keyState
}

func (t *timers) add(at int64, k *keyState) {
	*t = append(*t, timer{})
	h, i := *t, len(*t)-1
	for i > 0 {
		up := (i - 1) / 2
		if h[up].at <= at {
			break
		}
		h[i], i = h[up], up
	}
	h[i] = timer{at, k}
}

// next returns the time of the earliest timer, never when there is none.
func (t timers) next() int64 {
	if len(t) == 0 {
		return never
	}
	return t[0].at
}

// take removes the timers of a time, which must be that of next, and returns their keys. When they are many, as at the
// end of a minute, the heap is rebuilt once instead of after each.
func (t *timers) take(at int64) []*keyState {
	h := *t
	keys := h.below(0, at, nil)
	if few := len(h) / 8; len(keys) <= few {
		for range keys {
			last := h[len(h)-1]
			h[len(h)-1] = timer{}
			h = h[:len(h)-1]
			h[0] = last
			h.sink(0)
		}
		*t = h
		return keys
	}
	left := h[:0]
	for _, one := range h {
		if one.at != at {
			left = append(left, one)
		}
	}
	clear(h[len(left):])
	for i := len(left)/2 - 1; i >= 0; i-- {
		left.sink(i)
	}
	*t = left
	return keys
}

// below appends the keys with timers at the earliest time, at, from the subtree of index i.
func (t timers) below(i int, at int64, keys []*keyState) []*keyState {
	if i >= len(t) || t[i].at != at {
		return keys
	}
	return t.below(2*i+2, at, t.below(2*i+1, at, append(keys, t[i].k)))
}

// sink moves the timer at index i down to where it belongs.
func (t timers) sink(i int) {
	one := t[i]
	for {
		down := 2*i + 1
		if down+1 < len(t) && t[down+1].at < t[down].at {
			down++
		}
		if down >= len(t) || t[down].at >= one.at {
			break
		}
		t[i], i = t[down], down
	}
	t[i] = one
}
