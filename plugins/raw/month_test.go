package raw

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/plugins/lake"
)

// BenchmarkFirstPageOfADeviceDay reads a hundred events of one device's day out
// of a month of a hundred devices, an object an hour.
func BenchmarkFirstPageOfADeviceDay(b *testing.B) {
	o := connected(b, lake.FileURL(b.TempDir()), "")
	offset := int64(0)
	for hour := range 30 * 24 {
		var batch service.MessageBatch
		for i := range 1200 {
			at := noon.Add(time.Duration(hour)*time.Hour + time.Duration(i)*3*time.Second)
			batch = append(batch, record(0, offset, body(fmt.Sprintf("d%03d", i%100), int(offset), at), at))
			offset++
		}
		if err := o.WriteBatch(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
	from := noon.AddDate(0, 0, 17).Truncate(24 * time.Hour)
	for b.Loop() {
		n := 0
		stats, err := NewReader(o.store).Scan(context.Background(), Query{
			From: from, To: from.AddDate(0, 0, 1), Devices: []string{"d042"}, Fleet: "acme", Parallel: 1,
		}, func(*Row) error {
			if n++; n == 100 {
				return ErrStop
			}
			return nil
		})
		if err != nil || n != 100 {
			b.Fatal(n, err, stats)
		}
	}
}
