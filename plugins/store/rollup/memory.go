package rollup

import (
	"cmp"
	"crypto/rand"
	"slices"
	"sync"
	"time"
)

// memory is what a process keeps in memory of a database of rollups, so that the next batch of
// the same devices need not read their rows. Rows are changed in memory first.
// All stores on one database handle share one memory.
//
// Nothing is lost with it: what is not in a row is in the journal. So after any error the whole
// memory is forgotten and read again.
type memory struct {
	id    string     // names this process's part of the journal, where each process has one
	mu    sync.Mutex // held while a batch is merged
	cache *cache
	names map[string]string
	batch uint64
	known int64 // number of the last tombstone that the cache respects

	term      int64     // the journal's term that the cache belongs to; 0: none
	owes      bool      // the journal may have entries that rows lack, though the memory is empty
	unwritten []*entry  // rows that lack entries of the journal, in the order in which they began to
	now       time.Time // time of the last batch, as given to Add
	begun     time.Time // when this memory was made: clock counts from here
	added     int64     // when the last batch was added, by clock
	entries   []journaled
	bytes     int   // size of entries
	written   int64 // rows written, in total
	read      int64 // rows read because they were not in memory, in total
	evicted   int64 // rows that were evicted for lack of room, in total
	note      note
}

// journaled is the number of a batch's entries in the journal, and their size.
type journaled struct {
	seq   int64
	bytes int
}

func newMemory() *memory {
	return &memory{id: rand.Text(), cache: newCache(), names: map[string]string{}, begun: time.Now()}
}

// clock returns monotonic milliseconds: it does not jump when the system time is set.
func (m *memory) clock() int64 { return time.Since(m.begun).Milliseconds() }

// forget empties the memory, because another process has written or a transaction has failed.
func (m *memory) forget() {
	m.cache = newCache()
	m.term, m.unwritten, m.entries, m.bytes = 0, nil, nil, 0
}

// failed forgets what a failed transaction changed in memory, and with it what earlier batches have
// added to the journal.
func (m *memory) failed(written int64) {
	m.written, m.owes = written, m.owes || m.term != 0
	m.forget()
}

// changed adds a row to the unwritten ones.
func (m *memory) changed(e *entry) {
	if e.unwritten {
		return
	}
	e.unwritten, e.since = true, m.added
	m.unwritten = append(m.unwritten, e)
}

// usage counts the rows that a process has written, read and evicted, and holds in memory.
type usage struct {
	Written int64 // rows, in total
	Read    int64 // rows that were not in memory, in total
	Evicted int64 // rows that were evicted for lack of room, in total
	Held    int   // rows in memory
}

// Use returns the current counts.
func (m *memory) Use() usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return usage{m.written, m.read, m.evicted, len(m.cache.rows)}
}

const (
	// journalMost is the size in bytes from which rows are written to shorten the journal. As
	// much is merged again after a crash: some 800,000 events, in a few seconds.
	journalMost = 64 << 20
	// writeMost is how many due rows one transaction writes, because batches wait for it.
	writeMost = 2000
	// quiet is how long after the last batch all rows are written.
	quiet = 5 * time.Second
)

// due returns how many rows, from the first unwritten one on, must be written by now: those that
// have waited for WriteEvery, or all when no batches come any more.
func (m *memory) due(l Limits) int {
	at := m.clock()
	if at-m.added >= quiet.Milliseconds() {
		return len(m.unwritten)
	}
	n, _ := slices.BinarySearchFunc(m.unwritten, at-l.WriteEvery.Milliseconds(), func(e *entry, before int64) int {
		return cmp.Compare(e.since, before+1)
	})
	return n
}

// excess returns how many rows must be written to make room for more. It makes enough room for
// several batches.
func (m *memory) excess(l Limits) int {
	switch {
	case l.WriteEvery <= 0:
		return len(m.unwritten)
	case len(m.unwritten) >= l.Cache:
		return len(m.unwritten) - l.Cache*3/4
	case m.bytes >= journalMost:
		return (len(m.unwritten) + 3) / 4
	}
	return 0
}

// maxNames bounds the table of interned names, which a stream of ever new metric names would
// otherwise grow without limit.
const maxNames = 10_000
