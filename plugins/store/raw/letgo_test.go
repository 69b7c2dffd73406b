package raw

import (
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/plugins/store/lake"
	"weir/tests/letgo"
)

func TestRaw_LetsGoOfWhatWasRead(t *testing.T) {
	o := connected(t, lake.FileURL(t.TempDir()), "")
	letgo.After(t, func() service.MessageBatch { return batchOf(20, time.Now()) }, func(batch service.MessageBatch) {
		if err := o.WriteBatch(t.Context(), batch); err != nil {
			t.Error(err)
		}
	})
}
