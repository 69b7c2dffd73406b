package raw

import (
	"container/heap"
	"errors"
)

// merger merges sorted cursors into one sorted sequence.
type merger struct{ heads heads }

// head is a cursor and its next row.
type head struct {
	row *Row
	c   *cursor
}

type heads []head

func (h heads) Len() int           { return len(h) }
func (h heads) Less(i, j int) bool { return h[i].row.before(h[j].row) < 0 }
func (h heads) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *heads) Push(x any)        { *h = append(*h, x.(head)) }
func (h *heads) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// add adds a cursor, and is responsible for closing it, also after an error.
func (m *merger) add(c *cursor) error {
	row, err := c.next()
	if row == nil || err != nil {
		return errors.Join(err, c.close())
	}
	heap.Push(&m.heads, head{row, c})
	return nil
}

// next returns the least row of all cursors, or nil at the end.
func (m *merger) next() (*Row, error) {
	if len(m.heads) == 0 {
		return nil, nil
	}
	top := &m.heads[0]
	row := top.row
	following, err := top.c.next()
	if err != nil {
		return nil, err
	}
	if following == nil {
		gone := heap.Pop(&m.heads).(head)
		return row, gone.c.close()
	}
	top.row = following
	if len(m.heads) > 1 {
		heap.Fix(&m.heads, 0)
	}
	return row, nil
}

func (m *merger) close() error {
	var errs []error
	for _, h := range m.heads {
		errs = append(errs, h.c.close())
	}
	m.heads = nil
	return errors.Join(errs...)
}
