package rollup

// cache holds the rows that the store wrote last, so that the next batch of
// the same devices needs no reading. It never holds what is not committed: a
// failed batch drops the rows it touched.
type cache struct {
	size  int
	rows  map[Key]*entry
	front *entry // used last
	back  *entry
}

type entry struct {
	row        *Row
	batch      uint64 // the batch that touched it last
	changed    bool   // by that batch
	prev, next *entry
}

func newCache(size int) *cache { return &cache{size: size, rows: make(map[Key]*entry)} }

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

// trim drops the rows unused for longest, down to the size.
func (c *cache) trim() {
	for len(c.rows) > c.size {
		c.drop(c.back)
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
