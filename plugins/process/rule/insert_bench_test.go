package rule

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/tests/bench/backlog"
)

// The cost of writing the row of a key, if 10,000 of 100,000 keys changed: in random order, and in
// the order of the primary key.
func BenchmarkInsert_RowsOfKeys(b *testing.B) {
	const keys, changed = 100_000, 10_000
	for _, sorted := range []bool{false, true} {
		b.Run(fmt.Sprintf("sorted=%t", sorted), func(b *testing.B) {
			w := newBench(b, "rules: []")
			o := w.operator()
			write := func(of []int) {
				var rows [][]any
				for _, i := range of {
					key := fmt.Sprintf(`["press-%06d"]`, i)
					rows = append(rows, []any{"user-events", 0, "0123456789abcdef", "shop", key, key[2:14], make([]byte, 60)})
				}
				if sorted {
					slices.SortFunc(rows, func(x, y []any) int { return strings.Compare(x[4].(string), y[4].(string)) })
				}
				if err := tombstone.Update(b.Context(), o.db, func(tx *sql.Tx) error {
					return insert(b.Context(), tx, rowsMost(sqldb.SQLite),
						`rule_state (topic, part, epoch, fleet, key, device_id, state)`,
						`ON CONFLICT (topic, part, epoch, fleet, key) DO UPDATE SET state = excluded.state`, rows)
				}); err != nil {
					b.Fatal(err)
				}
			}
			write(rand.Perm(keys))
			n, used, called := 0, backlog.Used(b), calls(b)
			for b.Loop() {
				write(rand.Perm(keys)[:changed])
				n += changed
			}
			b.ReportMetric(float64(calls(b)-called)/float64(n), "reads+writes/row")
			b.ReportMetric(float64(backlog.Used(b)-used)/1e3/float64(n), "cpu-µs/row")
		})
	}
}

// calls returns how many read and write system calls this process has made.
func calls(b *testing.B) (n int64) {
	raw, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if name, count, _ := strings.Cut(line, ": "); name == "syscr" || name == "syscw" {
			more, err := strconv.ParseInt(strings.TrimSpace(count), 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			n += more
		}
	}
	return n
}
