package rollup

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"weir/plugins/store/lake"
)

// movedDay writes objects of a whole old day, each with the usual number of devices, which report
// three metrics every ten seconds.
func movedDay(b *testing.B, s *Store, dir string, objects int) (day int64) {
	b.Helper()
	ctx := context.Background()
	day = byDay.floor(noon.Unix()) - byDay.Width
	if err := s.place(ctx, lake.FileURL(dir)); err != nil {
		b.Fatal(err)
	}
	mine, err := s.takeTier(ctx, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for o := range objects {
		device := o * ownersOfObject
		level := [3]float64{20 + 30*r.Float64(), 3.7, 0.2}
		made, err := mine.write(ctx, day, func() ([]*windowRow, error) {
			var rows []*windowRow
			for ; device < (o+1)*ownersOfObject && len(rows) < ownersAtOnce*1440; device++ {
				for minute := range int64(1440) {
					key := Key{"acme", fmt.Sprintf("device-%05d", device), day + minute*60}
					row := &windowRow{Key: key, State: ledgerDropped}
					for tick := range int64(6) {
						for i := range level {
							level[i] *= 1 + (r.Float64()-0.5)/100
						}
						level[0] = min(max(level[0], 20), 60)
						row.merge(&sample{id: r.Uint64(), at: (row.Bucket + tick*10) * 1e6, readings: []reading{
							{"battery_voltage", level[1]}, {"cpu_temp", level[0]}, {"vibration", level[2]}}},
							func(n string) string { return n })
					}
					row.Ledger = nil
					rows = append(rows, row)
				}
			}
			return rows, nil
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Logf("%d windows: %.1f MB, sums %.2f MB", made.Windows, float64(made.Bytes)/1e6, float64(made.Summed)/1e6)
		if err := mine.swap(ctx, nil, []coldObject{made}, nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := mine.release(ctx); err != nil {
		b.Fatal(err)
	}
	return day
}

// BenchmarkColdSum queries an old day of a whole fleet, with as many devices as one object has;
// fifty thousand devices have 196 objects.
func BenchmarkColdSum(b *testing.B) {
	const objects = 2
	s := openStore(b, "sqlite://"+b.TempDir()+"/r.db")
	day := movedDay(b, s, b.TempDir(), objects)
	run := func(b *testing.B, res resolution) {
		q := query{Fleet: "acme", From: day, To: day + byDay.Width, Resolution: res, Merge: true, Limit: maxLimit}
		for b.Loop() {
			if lines, next, err := s.run(context.Background(), q); err != nil || next != nil || len(lines) == 0 {
				b.Fatal(len(lines), next, err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N)/objects, "ms/object")
	}
	b.Run("minutes", func(b *testing.B) { run(b, byMinute) })
	b.Run("hours", func(b *testing.B) { run(b, byHour) })
	if _, err := s.db.ExecContext(context.Background(), `UPDATE rollup_cold SET summed = 0`); err != nil {
		b.Fatal(err)
	}
	b.Run("minutes_without_sums", func(b *testing.B) { run(b, byMinute) })
}
