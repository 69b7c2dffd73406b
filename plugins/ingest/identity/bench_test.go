package identity

import (
	"fmt"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// What it costs to look at events that say nothing new: a thousand a batch, of as many
// people.
func BenchmarkIdentity_EventsThatSayNothingNew(b *testing.B) {
	parsed, err := spec().ParseYAML(fmt.Sprintf("{ url: 'sqlite://%s/control.db' }", b.TempDir()), nil)
	if err != nil {
		b.Fatal(err)
	}
	p, err := newProcessor(parsed, service.MockResources())
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close(b.Context())
	var batch service.MessageBatch
	for i := range 1000 {
		batch = append(batch, message(fmt.Sprint("d", i), fmt.Sprintf(`{"anonymous_id":"a%d","id":"u%d"}`, i, i), 0))
	}
	if _, err := p.ProcessBatch(b.Context(), batch); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.ProcessBatch(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(batch)), "µs/event")
}
