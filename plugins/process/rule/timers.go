package rule

// timers are keys by the time when they are due: a heap, the earliest first. A key may
// be noted for several times: the last counts. Most are due at a time of their own, so
// that nothing is kept of a time but its keys.
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

// next is the earliest time for which a key is noted.
func (t timers) next() int64 {
	if len(t) == 0 {
		return never
	}
	return t[0].at
}

// take returns the keys that are noted for a time, if it is the earliest. Where these are
// many, as at the end of a minute, what is left is put in order once.
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

// below are the keys of a place in the heap, and those below it, that are noted for the
// earliest time.
func (t timers) below(i int, at int64, keys []*keyState) []*keyState {
	if i >= len(t) || t[i].at != at {
		return keys
	}
	return t.below(2*i+2, at, t.below(2*i+1, at, append(keys, t[i].k)))
}

// sink moves what is at a place down to where it belongs.
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
