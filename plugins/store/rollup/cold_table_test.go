package rollup

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"weir/plugins/store/lake"
)

// oldDay returns the rows of one day of devices that report every ten seconds: readings with two
// decimals that change slowly, as those of sensors do.
func oldDay(devices int, day int64) (rows []*windowRow) {
	names := []string{"battery_voltage", "cpu_temp", "vibration"}
	r := rand.New(rand.NewPCG(1, 2))
	for d := range devices {
		values := []float64{12 + r.Float64(), 40 + 20*r.Float64(), 2 + 3*r.Float64()}
		for minute := range int64(1440) {
			row := &windowRow{Key: Key{"acme", fmt.Sprintf("device-%05d", d), day + minute*60}, State: ledgerDropped, Version: 2}
			for n := range 6 {
				s := sample{id: r.Uint64(), at: row.Bucket*1e6 + int64(n)*10_000_000 + r.Int64N(1_000_000)}
				for i, name := range names {
					values[i] += (r.Float64() - 0.5) * []float64{0.05, 1, 0.5}[i]
					s.readings = append(s.readings, reading{name, math.Round(values[i]*100) / 100})
				}
				row.merge(&s, strings.Clone)
			}
			row.State, row.Ledger = ledgerDropped, nil
			rows = append(rows, row)
		}
	}
	return rows
}

// The cost of keeping two years depends on this: a window of three metrics takes at most 150
// bytes.
func TestCold_AWindowOfThreeMetricsHas150Bytes(t *testing.T) {
	rows := oldDay(16, 0)
	lines := coldLines(rows)
	body, err := coldTable().Encode(len(lines), lake.Options{RowGroupRows: 24 << 10}, &lake.Coverage{},
		lake.ColumnsOf(lines, coldLine.value))
	if err != nil {
		t.Fatal(err)
	}
	if each := float64(len(body)) / float64(len(rows)); each > 150 {
		t.Errorf("a window of three metrics has %.1f bytes", each)
	}
}
