package anomaly

import (
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/tests/letgo"
)

// New devices, what opens and resolves alerts, and what is no event.
func TestAnomaly_LetsGoOfWhatWasRead(t *testing.T) {
	r := newRig(t, hot, "")
	letgo.After(t, func() (batch service.MessageBatch) {
		for i := range 20 {
			batch = append(batch, record(i, noon.Add(time.Duration(i)*time.Second), float64(20+i%2*75)))
		}
		batch[7].SetBytes([]byte(`{"metrics":{"a":1,"t":2},"device_id":"d","timestamp":7}`))
		return batch
	}, func(batch service.MessageBatch) {
		if told := r.mark(batch...); len(told) < 2 {
			t.Errorf("%d transitions", len(told))
		}
	})
}
