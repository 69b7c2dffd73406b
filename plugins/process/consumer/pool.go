package consumer

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// pool reuses the memory of records. Records are needed until their message is settled, because a refused message is
// made from them again. Messages share only the bytes of values with records, and these bytes are not reused.
type pool struct{ of sync.Pool }

// leastRecords is the minimum capacity of a piece of memory, in records of 160 bytes. A batch of one record holds a
// whole piece until it is settled, and read_ahead counts only records: with large pieces that limit would not bound
// memory.
const leastRecords = 8

// GetRecords is called by the client for the records of a batch.
func (p *pool) GetRecords(n int) []kgo.Record {
	if s, _ := p.of.Get().(*[]kgo.Record); s != nil && cap(*s) >= n {
		return *s
	}
	return make([]kgo.Record, max(n, leastRecords))
}

// PutRecords is called by the client when the last record of a batch is recycled.
func (p *pool) PutRecords(s []kgo.Record) { p.of.Put(&s) }

// recycle returns the records of a settled batch to the pool.
func recycle(records []*kgo.Record) {
	for _, r := range records {
		r.Recycle()
	}
	clear(records)
}
