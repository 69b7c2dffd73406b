package dedupe

import (
	"runtime"
	"testing"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/storeurl"
	"weir/tests/letgo"
)

func TestDedupe_LetsGoOfWhatWasRead(t *testing.T) {
	p := newTestProcessor(t, newTestPool(), "url: "+storeurl.New("pebble", t.TempDir()))
	kept := &event.Event{} // what the next batch uses again: the pool itself may forget it meanwhile
	p.events.New = func() any { return kept }
	letgo.After(t, func() (batch service.MessageBatch) {
		for i := range int64(20) {
			batch = append(batch, record(uuid.NewString(), 0, i))
		}
		return append(batch, batch[0].Copy()) // and one that came twice
	}, func(batch service.MessageBatch) { process(t, p, batch...) })
	runtime.KeepAlive(kept)
}
