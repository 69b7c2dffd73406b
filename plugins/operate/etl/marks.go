package etl

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// marks is a position in a log: the next offset of each partition. It belongs to one log: a topic
// that was deleted and created again under the same name is another.
type marks struct {
	Log  string          `json:"log"`
	Next map[int32]int64 `json:"next"`
}

func (m marks) clone() marks { return marks{m.Log, maps.Clone(m.Next)} }

func (m marks) partitions() []int32 { return slices.Sorted(maps.Keys(m.Next)) }

func (m marks) String() string {
	parts := make([]string, 0, len(m.Next))
	for _, n := range m.partitions() {
		parts = append(parts, fmt.Sprintf("%d:%d", n, m.Next[n]))
	}
	return strings.Join(parts, " ")
}

// reached tells whether everything before others has been read.
func (m marks) reached(others marks) bool {
	for n, next := range others.Next {
		if at, is := m.Next[n]; !is || at < next {
			return false
		}
	}
	return true
}

// ahead tells whether m is further than of in a partition that both have.
func (m marks) ahead(of marks) bool {
	for n, next := range m.Next {
		if at, is := of.Next[n]; is && at < next {
			return true
		}
	}
	return false
}

func (m *marks) equal(other *marks) bool {
	return m == nil && other == nil || m != nil && other != nil && m.Log == other.Log && maps.Equal(m.Next, other.Next)
}

// least returns the smallest offset of each partition in all, or the one in starts when some of
// them lacks the partition.
func least(starts marks, all []marks) marks {
	from := starts.clone()
	for n, start := range starts.Next {
		low, everyone := int64(-1), len(all) > 0
		for _, m := range all {
			at, is := m.Next[n]
			if !is {
				everyone = false
			} else if low < 0 || at < low {
				low = at
			}
		}
		if from.Next[n] = start; everyone {
			from.Next[n] = low
		}
	}
	return from
}

// ceiling returns a position up to which rows may be read from from, so that reading stops where
// the nearest of those that are ahead goes on; nil: none is ahead.
func ceiling(from marks, all []marks) *marks {
	var top *marks
	for _, m := range all {
		if !m.ahead(from) {
			continue
		}
		if top == nil {
			c := marks{from.Log, map[int32]int64{}}
			top = &c
			for n := range from.Next {
				top.Next[n] = -1
			}
		}
		for n, at := range from.Next {
			limit := at // a partition that it lacks waits until its position is reached
			if there, is := m.Next[n]; is {
				limit = max(there, at)
			}
			if top.Next[n] < 0 || limit < top.Next[n] {
				top.Next[n] = limit
			}
		}
	}
	return top
}
