package rollup

// cache holds the rows that changed last. It never holds what is not
// committed: a failed batch drops the rows it touched.
type cache struct {
	rows  map[Key]*entry
	front *entry // used last
	back  *entry
}

type entry struct {
	row        *Row
	batch      uint64 // the batch that touched it last
	unwritten  bool   // the stored row lacks something
	prev, next *entry
}

func newCache() *cache { return &cache{rows: make(map[Key]*entry)} }

// get finds a row and makes it the last used.
func (c *cache) get(key Key) *entry {
	e := c.rows[key]
	if e != nil && e != c.front {
		c.unlink(e)
		c.link(e)
	}
	return e
}

func (c *cache) put(row *Row) *entry {
	e := &entry{row: row}
	c.rows[row.Key] = e
	c.link(e)
	return e
}

func (c *cache) drop(e *entry) {
	if c.rows[e.row.Key] == e {
		delete(c.rows, e.row.Key)
		c.unlink(e)
	}
}

// trim drops the rows unused for longest, down to a size, but none that is not
// written.
func (c *cache) trim(size int) {
	for e := c.back; e != nil && len(c.rows) > size; {
		next := e.prev
		if !e.unwritten {
			c.drop(e)
		}
		e = next
	}
}

func (c *cache) link(e *entry) {
	e.prev, e.next = nil, c.front
	if c.front != nil {
		c.front.prev = e
	}
	c.front = e
	if c.back == nil {
		c.back = e
	}
}

func (c *cache) unlink(e *entry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		c.front = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		c.back = e.prev
	}
}
