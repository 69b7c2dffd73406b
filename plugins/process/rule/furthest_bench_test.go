package rule

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"weir/tests/bench/backlog"
)

// What the sums of a funnel cost in addition to its results: the same pattern with a name that is not
// a funnel's has no sums.
func BenchmarkFurthest_BesideResults(b *testing.B) {
	for _, name := range []string{"funnel_buy", "pattern_buy"} {
		b.Run(name, func(b *testing.B) {
			w := newBench(b, strings.Replace(funnelRules, "funnel_buy", name, 1))
			o := w.operator()
			log := crowd(rand.New(rand.NewPCG(17, 9)), 100_000, 20_000)
			used, at := backlog.Used(b), 0
			for b.Loop() {
				w.apply(o, log[at:at+2000]...)
				at += 2000
			}
			b.ReportMetric(float64(backlog.Used(b)-used)/1e3/float64(at), "cpu-µs/event")
		})
	}
}

// The time to add up the sums of a day and of a month, with 30,000 devices in each. Hours of the last
// day have a row for each of twelve partitions, those before are gathered into one.
func BenchmarkFurthest_SumFunnel(b *testing.B) {
	w := newBench(b, funnelRules)
	w.apply(w.operator())
	db := w.open()
	if err := migrate(b.Context(), db); err != nil {
		b.Fatal(err)
	}
	sum := &Furthest{}
	for i := range 30_000 {
		if err := sum.add(fmt.Sprint(i), []byte(`{"viewed":1,"added":1,"ordered":1,"paid":1}`)); err != nil {
			b.Fatal(err)
		}
	}
	const hours = 31 * 24
	var rows [][]any
	for hour := range hours {
		for part := range map[bool]int{true: 12, false: 1}[hour < 24] {
			rows = append(rows, []any{"plant-1", "funnel_buy", hourOf(noon().UnixMicro()) - int64(hour)*hourLong,
				"user-events", part, sum.Entries, 1, 1, sum.append(nil)})
		}
	}
	for _, row := range rows {
		if _, err := db.Exec(`INSERT INTO rule_furthest (fleet, rule, hour, topic, part, entries, since, told_at, steps) VALUES `+
			values(1, len(row)), row...); err != nil {
			b.Fatal(err)
		}
	}
	for _, days := range []int{1, 31} {
		b.Run(fmt.Sprintf("days=%d", days), func(b *testing.B) {
			for b.Loop() {
				if _, err := SumFunnel(b.Context(), db, ofRange(noon().Add(time.Hour-time.Duration(days)*24*time.Hour),
					noon().Add(time.Hour)), 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
