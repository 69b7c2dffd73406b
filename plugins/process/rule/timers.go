package rule

import "container/heap"

// timers are keys by the time when they are due. A key may be noted for several
// times: the last counts.
type timers struct {
	at   moments
	keys map[int64][]*keyState
}

type moments []int64

func (m moments) Len() int           { return len(m) }
func (m moments) Less(i, j int) bool { return m[i] < m[j] }
func (m moments) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }

// Push and Pop are for container/heap.
func (m *moments) Push(x any) { *m = append(*m, x.(int64)) }

// Pop is for container/heap.
func (m *moments) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}

func (t *timers) add(at int64, k *keyState) {
	list, there := t.keys[at]
	if !there {
		if t.keys == nil {
			t.keys = map[int64][]*keyState{}
		}
		heap.Push(&t.at, at)
	}
	t.keys[at] = append(list, k)
}

// next is the earliest time for which a key is noted.
func (t *timers) next() int64 {
	if len(t.at) == 0 {
		return never
	}
	return t.at[0]
}

// take returns the keys that are noted for the earliest time.
func (t *timers) take(at int64) []*keyState {
	keys := t.keys[at]
	delete(t.keys, at)
	heap.Pop(&t.at)
	return keys
}
