package rollup

import (
	"cmp"
	"crypto/rand"
	"slices"
	"sync"
	"time"
)

// memory is what a process keeps of a database of rollups, so that the next
// batch of the same devices needs no reading. Where the database has a journal,
// rows are also changed here first; all stores on a handle share one then.
//
// None of it is needed: what is not in a row is in the journal. So whatever goes
// wrong, all of it is forgotten and read again.
type memory struct {
	id    string     // of this process's part of the journal, where each has one
	mu    sync.Mutex // held while a batch is merged
	cache *cache
	names map[string]string
	batch uint64
	known int64 // the erasures that the cache knows of

	term      int64     // of the journal, that the cache is of; 0: of none
	owes      bool      // there may be entries that rows lack, with nothing in memory
	unwritten []*entry  // whose rows lack what the journal has, by when they first did
	now       time.Time // of the last batch, as it says
	begun     time.Time // of this memory: clock counts from it
	added     int64     // when the last batch was, by clock
	entries   []journaled
	bytes     int   // of them
	written   int64 // rows, ever
	read      int64 // rows that were not in memory, ever
	evicted   int64 // rows that found no room in memory, ever
	note      note
}

// journaled is an entry of the journal, and its bytes.
type journaled struct {
	seq   int64
	bytes int
}

func newMemory() *memory {
	return &memory{id: rand.Text(), cache: newCache(), names: map[string]string{}, begun: time.Now()}
}

// clock is milliseconds that no change of the server's time moves.
func (m *memory) clock() int64 { return time.Since(m.begun).Milliseconds() }

// forget begins anew, when another process has written.
func (m *memory) forget() {
	m.cache = newCache()
	m.term, m.unwritten, m.entries, m.bytes = 0, nil, nil, 0
}

// failed forgets what a transaction changed that has failed.
func (m *memory) failed(touched []*entry, journals bool, written int64) {
	if m.written = written; journals {
		m.owes = m.owes || m.term != 0
		m.forget() // also what earlier batches have put into the journal
		return
	}
	m.unwritten = nil
	for _, e := range touched {
		m.cache.drop(e)
	}
}

// changed notes a row that is to be written.
func (m *memory) changed(e *entry) {
	if e.unwritten {
		return
	}
	e.unwritten, e.since = true, m.added
	m.unwritten = append(m.unwritten, e)
}

// usage is what rows cost a process.
type usage struct {
	Written int64 // rows, ever
	Read    int64 // rows that were not in memory, ever
	Evicted int64 // rows that found no room in memory, ever
	Held    int   // rows in memory
}

// Use returns what rows have cost this process.
func (m *memory) Use() usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return usage{m.written, m.read, m.evicted, len(m.cache.rows)}
}

const (
	// journalMost is how many bytes a journal may have: as many are merged again
	// after a crash, some 800,000 events in a few seconds.
	journalMost = 64 << 20
	// writeMost is how many rows one transaction writes when time has come for
	// them: batches wait for it.
	writeMost = 2000
	// quiet is after how long without a batch all rows are written.
	quiet = 5 * time.Second
)

// due returns how many rows are to be written by now, the oldest first: those
// that have waited for their time, and all of them when no more batches come.
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

// excess returns how many rows are to be written because there is no room for
// more: as many as make some, so that the next batches need not.
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

// maxNames bounds the table of interned names, which a stream of ever new
// metric names would otherwise grow.
const maxNames = 10_000
