package rollup

import (
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
	mu    sync.Mutex // held while a batch is merged
	cache *cache
	names map[string]string
	batch uint64
	known int64 // the erasures that the cache knows of

	term      int64     // of the journal, that the cache is of; 0: of none
	unwritten []*entry  // whose rows lack what the journal has
	since     time.Time // when the first of them was changed
	now       time.Time // of the last batch
	journaled int       // bytes
	written   int64     // rows, ever
	note      entryWriter
}

func newMemory() *memory { return &memory{cache: newCache(), names: map[string]string{}} }

// forget begins anew, when another process has written.
func (m *memory) forget() {
	m.cache = newCache()
	m.term, m.unwritten, m.journaled = 0, nil, 0
}

// failed forgets what a transaction changed that has failed.
func (m *memory) failed(touched []*entry, journals bool, written int64) {
	if m.written = written; journals {
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
	if len(m.unwritten) == 0 {
		m.since = time.Now()
	}
	e.unwritten = true
	m.unwritten = append(m.unwritten, e)
}

// Written returns how many rows this process has written.
func (m *memory) Written() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.written
}

// journalMost is how many bytes a journal may have: as many are merged again
// after a crash, some 400,000 events in a second or two.
const journalMost = 32 << 20

// due tells whether the rows are to be written.
func (m *memory) due(l Limits) bool {
	return len(m.unwritten) > 0 &&
		(time.Since(m.since) >= l.WriteEvery || len(m.unwritten) >= l.Cache || m.journaled >= journalMost)
}

// maxNames bounds the table of interned names, which a stream of ever new
// metric names would otherwise grow.
const maxNames = 10_000
