package raw

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

// BenchmarkFill writes rows as they lie in a store that is in use: some days, each
// of all devices, merged. tests/bench grows a store by it: WEIR_FILL_DIR says
// where, WEIR_FILL_DAYS how many days from yesterday backwards, after
// WEIR_FILL_SKIP of them, and WEIR_FILL_ROWS how many rows a day. One op is a row.
func BenchmarkFill(b *testing.B) {
	number := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
			return n
		}
		return otherwise
	}
	dir := os.Getenv("WEIR_FILL_DIR")
	if dir == "" {
		dir = b.TempDir()
	}
	const devices = 50_000
	days, skip, rows := number("WEIR_FILL_DAYS", 2), number("WEIR_FILL_SKIP", 0), number("WEIR_FILL_ROWS", 100_000)
	o := connected(b, lake.FileURL(dir), "")
	today := time.Now().UTC().Truncate(24 * time.Hour)
	var made atomic.Int64
	b.ResetTimer()
	b.ReportAllocs()
	var g errgroup.Group
	g.SetLimit(2)
	for d := range days {
		g.Go(func() error {
			day := today.AddDate(0, 0, -1-skip-d)
			w := writing{o: o, now: day.AddDate(0, 0, 1), tombstones: o.Memory.Tombstones()}
			each := max(rows/devices, 1) // rows of a device
			chunk := make([]Row, 0, o.maxRows)
			metrics := []event.Metric{{Name: "cpu_temp"}, {Name: "battery_voltage"}, {Name: "vibration"}}
			flush := func() error {
				list := make([]*Row, len(chunk))
				for i := range chunk {
					list[i] = &chunk[i]
				}
				object := object{rows: list}
				made.Add(int64(len(list)))
				err := w.put(context.Background(), object.name(w.now), list, lake.Coverage{})
				chunk = chunk[:0]
				return err
			}
			for n := 0; n < rows; n++ {
				device, k := n/each, n%each
				at := day.Add(24 * time.Hour / time.Duration(each) * time.Duration(k)).
					Add(time.Duration(device) * time.Millisecond).UnixMicro()
				r := Row{Fleet: "bench", Device: fmt.Sprintf("sim-%06d", device), Firmware: "1.4.0", Time: at, At: at,
					ReceivedAt: at + 40_000, Schema: "telemetry/1", Record: noRecord, Delivery: noRecord}
				binary.BigEndian.PutUint64(r.ID[:], uint64(at))
				binary.BigEndian.PutUint64(r.ID[8:], 1<<63|uint64(device)*0x9e3779b97f4a7c15>>2)
				r.Metrics = append(r.Metrics, metrics...)
				r.Metrics[0].Value = float64(4000+(device+k*31)%2000) / 100
				r.Metrics[1].Value = float64(3300+(device*7+k)%900) / 1000
				r.Metrics[2].Value = float64((device*13+k*17)%1000) / 1000
				if chunk = append(chunk, r); len(chunk) == o.maxRows {
					if err := flush(); err != nil {
						return err
					}
				}
			}
			if len(chunk) == 0 {
				return nil
			}
			return flush()
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(made.Load()), "ns/event")
	b.ReportMetric(float64(made.Load()), "events/op")
}
