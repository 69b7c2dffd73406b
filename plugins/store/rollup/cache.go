package rollup

import "math"

// cache holds rows that batches may change again. It never holds what is not
// committed: a failed batch drops the rows it touched.
type cache struct {
	rows  map[Key]*entry
	lacks int64 // the newest minute of which it may lack a row that is stored
	swept int64 // when trim looked through all of it last
}

type entry struct {
	row       *windowRow
	batch     uint64 // the batch that touched it last
	used      int64  // when that was, unix seconds
	unwritten bool   // the stored row lacks something, since:
	since     int64  // by the memory's clock
	seq       int64  // the first entry of the journal that it lacks
}

func newCache() *cache { return &cache{rows: make(map[Key]*entry), lacks: math.MaxInt64} }

func (c *cache) get(key Key) *entry { return c.rows[key] }

// whole tells whether a row of a minute that is not in the cache is nowhere.
func (c *cache) whole(bucket int64) bool { return bucket > c.lacks }

// begin puts a row of a window that has none, of one piece of memory with its entry.
func (c *cache) begin(key Key) *entry {
	both := &struct {
		entry
		own windowRow
	}{}
	both.own.Key, both.row = key, &both.own
	c.rows[key] = &both.entry
	return &both.entry
}

func (c *cache) put(row *windowRow) *entry {
	e := &entry{row: row}
	c.rows[row.Key] = e
	return e
}

func (c *cache) drop(e *entry) {
	c.lacks = max(c.lacks, e.row.Bucket)
	if c.rows[e.row.Key] == e {
		delete(c.rows, e.row.Key)
	}
}

const (
	// sweepEvery is how often rows that are of no more use are looked for, in
	// seconds.
	sweepEvery = 10
	// coldAfter is how long a row is kept after its minute, or after its last
	// event when that came later, in seconds: what comes after that reads the row.
	coldAfter = 20
)

// trim drops the rows whose time is over, and then, down to a size, any: which
// ones is left to chance, so that of devices a little more than fit, a few are
// read again and not all of them, one after the other. None is dropped that is
// not written. It returns how many had to go for lack of room.
func (c *cache) trim(size int, now int64) (evicted int) {
	if now-c.swept >= sweepEvery || now < c.swept {
		c.swept = now
		for _, e := range c.rows {
			if !e.unwritten && now-max(e.row.Bucket+byMinute.Width, e.used) > coldAfter {
				c.drop(e)
			}
		}
	}
	if len(c.rows) <= size {
		return 0
	}
	for _, e := range c.rows {
		if len(c.rows) <= size {
			break
		}
		if !e.unwritten {
			c.drop(e)
			evicted++
		}
	}
	return evicted
}
