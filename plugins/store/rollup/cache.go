package rollup

import "math"

// cache holds rows that later batches may change again. It never holds uncommitted
// changes: after a failed batch the rows that it touched are dropped.
type cache struct {
	rows  map[Key]*entry
	lacks int64 // the newest minute of which a stored row may be missing in the cache
	swept int64 // when trim last looked through all rows, Unix seconds
}

type entry struct {
	row       *windowRow
	batch     uint64 // the batch that last touched it
	used      int64  // when that was, Unix seconds
	unwritten bool   // the stored row lacks some of the events
	since     int64  // since when, by memory.clock
	seq       int64  // of the first journal entry that the stored row lacks
}

func newCache() *cache { return &cache{rows: make(map[Key]*entry), lacks: math.MaxInt64} }

func (c *cache) get(key Key) *entry { return c.rows[key] }

// whole reports whether a row of this minute that is not in the cache is not stored either.
func (c *cache) whole(bucket int64) bool { return bucket > c.lacks }

// begin adds a row for a window that has none. The row and its entry are one allocation.
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
	// sweepEvery is how often, in seconds, trim looks for rows that are no longer needed.
	sweepEvery = 3
	// coldAfter is how long, in seconds, a row is kept after the end of its minute, or after
	// its last event if that came later. A batch that needs it after that reads it again.
	coldAfter = 5
)

// trim drops the rows that are no longer needed, and then, while there are more than size,
// arbitrary ones: an order by age would evict exactly the rows that the next batches need
// when slightly more devices send than fit. Rows that are not written yet stay. It returns
// how many rows were evicted for lack of room.
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
