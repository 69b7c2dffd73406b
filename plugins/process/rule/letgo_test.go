package rule

import (
	"math/rand/v2"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/tests/letgo"
)

// Whatever is kept of events - in windows, matches, pairs, first and last values - is a copy, so that
// the messages of a batch can be collected after it.
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
		t.Error("the rules have no results")
	}
}
