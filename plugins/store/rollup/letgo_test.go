package rollup

import (
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/tests/letgo"
)

// Windows that begin, that are in memory, and that are read of the database.
func TestRollup_LetsGoOfWhatWasRead(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		s, now, n := openStore(t, fresh()), time.Now(), 0
		for range 3 {
			letgo.After(t, func() (batch service.MessageBatch) {
				for i := range 20 {
					n++
					batch = append(batch, testMessage(testEvent(n, string(rune('a'+i/2)), now, `{"t":20.5,"h":-3}`), "acme"))
				}
				return batch
			}, func(batch service.MessageBatch) {
				out, err := benchProcessor(t).ProcessBatch(t.Context(), batch)
				if err != nil {
					t.Error(err)
					return
				}
				var windows []*Window
				for _, msg := range out[0] {
					w, err := windowOf(msg)
					if err != nil {
						t.Error(err)
					}
					windows = append(windows, w)
				}
				if res, err := s.Add(t.Context(), windows, now); err != nil || res.Events[outcomeCounted] != 20 {
					t.Errorf("%+v: %v", res, err)
				}
			})
			if n == 40 {
				if err := s.WriteOut(t.Context()); err != nil {
					t.Fatal(err)
				}
				s.forget()
			}
		}
	})
}
