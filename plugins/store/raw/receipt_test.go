package raw

import (
	"context"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/lifecycle/expire"
)

// An event is kept for its time from when it was received, whatever its clock
// says: one of 1970, and one that its device sent months late, in the object of
// a day whose other events have had theirs.
func TestRetention_CountsFromReceipt(t *testing.T) {
	const keep = 90 * 24 * time.Hour
	o := connected(t, "file://"+t.TempDir(), "")
	received := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	o.now = func() time.Time { return received.AddDate(0, 0, 10).Add(time.Second) }
	past := received.AddDate(0, 0, -100)
	batch := service.MessageBatch{
		record(0, 1, body("clock", 1, time.Unix(0, 0)), received),
		record(0, 2, body("clock", 2, time.Unix(60, 0)), received.AddDate(0, 0, 10)), // all is written after that
		record(0, 3, body("away", 3, past), received),
		record(0, 4, body("there", 4, past), past),
		record(0, 5, body("today", 5, received), received),
	}
	if err := o.WriteBatch(context.Background(), batch); err != nil {
		t.Fatal(err)
	}
	held := []string(nil)
	kept := func(days int, want ...string) {
		t.Helper()
		p := expire.Pass{Now: received.AddDate(0, 0, days), Held: func(context.Context) ([]string, error) {
			return held, nil
		}}
		p.DryRun = true
		plan, err := o.Store.Retain(t.Context(), Table(), p, keep)
		if err != nil {
			t.Fatal(err)
		}
		p.DryRun = false
		if done, err := o.Store.Retain(t.Context(), Table(), p, keep); err != nil || done != plan {
			t.Errorf("after %d days, planned %+v, did %+v: %v", days, plan, done, err)
		}
		got := map[string]int{}
		rows, _ := collect(t, o, Query{})
		for _, r := range rows {
			got[r.Device]++
		}
		for _, device := range want {
			got[device]--
		}
		for device, n := range got {
			if n != 0 {
				t.Errorf("after %d days, %+d events of %s", days, n, device)
			}
		}
	}
	kept(0, "clock", "clock", "away", "there", "today") // an audit still needs the day's coverage
	held = []string{"acme"}
	kept(12, "clock", "clock", "away", "there", "today")
	held = nil
	kept(12, "clock", "clock", "away", "today")
	kept(90, "clock", "clock", "away", "today")
	held = []string{"acme"}
	kept(95, "clock", "clock", "away", "today")
	held = nil
	kept(95, "clock")
	kept(99, "clock")
	kept(101)
}
