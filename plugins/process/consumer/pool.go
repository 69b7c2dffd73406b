package consumer

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// pool reuses the memory of records for later ones. A record is needed until its message
// is settled, since a refused message is made of it again; the message shares only the
// bytes of its value with it, which are not reused.
type pool struct{ of sync.Pool }

// leastRecords is how many records a piece of memory has room for at least. A batch of
// one record holds a whole piece until it is settled, at 160 bytes a record, while
// read_ahead counts records: more than a few would make that bound mean nothing.
const leastRecords = 8

// GetRecords is the client's, who asks for the records of a batch.
func (p *pool) GetRecords(n int) []kgo.Record {
	if s, _ := p.of.Get().(*[]kgo.Record); s != nil && cap(*s) >= n {
		return *s
	}
	return make([]kgo.Record, max(n, leastRecords))
}

// PutRecords is the client's, when the last record of a batch is recycled.
func (p *pool) PutRecords(s []kgo.Record) { p.of.Put(&s) }

// recycle gives the records of a settled batch back.
func recycle(records []*kgo.Record) {
	for _, r := range records {
		r.Recycle()
	}
	clear(records)
}
