package rule

import (
	"math/rand/v2"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/tests/letgo"
)

// Whatever is kept of events - windows, matches, pairs, texts that came first or last - is a copy.
func TestEventRules_LetGoOfWhatWasRead(t *testing.T) {
	b := newBench(t, everything)
	o := b.operator()
	r, all := rand.New(rand.NewPCG(1, 2)), 0
	msgs := records(r, 400)
	for all < len(msgs) {
		letgo.After(t, func() service.MessageBatch {
			batch := msgs[all : all+100 : all+100]
			all += len(batch)
			return batch
		}, func(batch service.MessageBatch) { b.apply(o, batch...); clear(batch) })
	}
	if len(b.results()) == 0 {
		t.Error("the rules told nothing")
	}
}
