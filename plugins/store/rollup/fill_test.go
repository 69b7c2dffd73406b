package rollup

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"weir/plugins/store/lake"
)

// BenchmarkFill writes minutes as a store in use has them: rows of the last days, without ledgers,
// and objects of older days. tests/bench uses it to grow a store: WEIR_FILL_DB and WEIR_FILL_DIR
// say where, WEIR_FILL_DAYS how many days from yesterday backwards, after WEIR_FILL_SKIP days, and
// WEIR_FILL_ROWS how many windows a day.
func BenchmarkFill(b *testing.B) {
	number := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
			return n
		}
		return otherwise
	}
	url, dir := os.Getenv("WEIR_FILL_DB"), os.Getenv("WEIR_FILL_DIR")
	if url == "" {
		url, dir = "sqlite://"+b.TempDir()+"/r.db", b.TempDir()
	}
	days, skip, windows := number("WEIR_FILL_DAYS", 8), number("WEIR_FILL_SKIP", 0), number("WEIR_FILL_ROWS", 2000)
	s := openStore(b, url)
	ctx := context.Background()
	if err := s.place(ctx, lake.FileURL(dir)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	tier, err := s.takeTier(ctx, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	today, made := byDay.floor(time.Now().Unix()), 0
	for d := range days {
		back := int64(1 + skip + d)
		day := today - back*byDay.Width
		if back <= 7 { // hot
			err = fillRows(ctx, s, day, windows)
		} else {
			err = fillObjects(ctx, tier, day, windows)
		}
		if err != nil {
			b.Fatal(err)
		}
		made += windows
	}
	if err := tier.release(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(made), "ns/event")
	b.ReportMetric(float64(made), "events/op")
}

// filled returns the nth of some windows of a day, in the order of devices.
func filled(day int64, n, windows int) *windowRow {
	const devices = 50_000
	each := max(windows/devices, 1)
	device, k := n/each, n%each
	bucket := byMinute.floor(day + int64(k)*byDay.Width/int64(each) + int64(device%60)*60)
	r := &windowRow{Key: Key{"bench", fmt.Sprintf("sim-%06d", device), bucket}, Version: 1, State: ledgerDropped}
	for i, name := range []string{"battery_voltage", "cpu_temp", "vibration"} {
		m := &metricRow{Name: name}
		for e := range 6 {
			m.add(float64((device*(7+i)+k*31+e*3)%1000)/100+1, (bucket+int64(e)*10)*1e6)
		}
		r.Metrics = append(r.Metrics, m)
	}
	return r
}

// fillRows writes the windows of a day to the table.
func fillRows(ctx context.Context, s *Store, day int64, windows int) error {
	const chunk = 5000
	for from := 0; from < windows; from += chunk {
		var rows []*windowRow
		for n := from; n < min(from+chunk, windows); n++ {
			rows = append(rows, filled(day, n, windows))
		}
		if err := s.backend.update(ctx, func(t tx) error { return t.write(ctx, rows, at(day)) }); err != nil {
			return err
		}
	}
	return nil
}

// fillObjects writes the windows of a day to objects, of some thousand devices each.
func fillObjects(ctx context.Context, t *tier, day int64, windows int) error {
	const object, group = 40_000, 4_000
	for from := 0; from < windows; from += object {
		next, end := from, min(from+object, windows)
		made, err := t.write(ctx, day, func() ([]*windowRow, error) {
			var rows []*windowRow
			for ; next < end && len(rows) < group; next++ {
				rows = append(rows, filled(day, next, windows))
			}
			return rows, nil
		})
		if err == nil {
			err = t.swap(ctx, nil, []coldObject{made}, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
