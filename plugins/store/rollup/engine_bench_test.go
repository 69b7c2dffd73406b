package rollup

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"weir/tests/bench/backlog"
)

// BenchmarkRows compares the cost of rows of minutes in two engines: the SQL table that they are
// in, and a key-value store. Each writes 2,000 rows in one synced transaction, minute after minute
// of 50,000 devices, in the order in which they are due. For Pebble it does not include what SQL
// would need to read the rows: a copy, or a query engine.
func BenchmarkRows(b *testing.B) {
	const devices, most = 50_000, 2_000
	metrics := `["battery_voltage","cpu_temp","vibration"]`
	stats := "[" + strings.Repeat("6,244.75,40.25,41.25,0.8,40.5,41.25,41.25,50123456,", 3)
	stats = stats[:len(stats)-1] + "]"
	detail, ledger := make([]byte, 150), make([]byte, 6*8)
	run := func(b *testing.B, write func(from, bucket int64)) {
		rows, used := 0, time.Duration(0)
		for n := int64(0); b.Loop(); n += most {
			before := backlog.Used(b)
			write(n%devices, n/devices*60)
			used += backlog.Used(b) - before
			rows += most
		}
		b.ReportMetric(float64(used)/1e3/float64(rows), "cpu-µs/row")
	}
	b.Run("sqlite", func(b *testing.B) {
		s := openStore(b, "sqlite://"+b.TempDir()+"/r.db")
		db := s.backend.(*sqlite).db
		run(b, func(from, bucket int64) {
			if err := func() error {
				tx, err := db.BeginTx(b.Context(), nil)
				if err != nil {
					return err
				}
				defer func() { _ = tx.Rollback() }() // a no-op after the commit
				stmt, err := tx.PrepareContext(b.Context(), `INSERT INTO rollup_window_1m (metrics, stats, detail, ledger,
					updated_at, version, ledger_state, fleet, device_id, bucket) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
				if err != nil {
					return err
				}
				defer stmt.Close()
				for i := range int64(most) {
					if _, err := stmt.ExecContext(context.Background(), metrics, stats, detail, ledger, bucket, 1, 0, "acme",
						fmt.Sprintf("press-%05d", from+i), bucket); err != nil {
						return err
					}
				}
				return tx.Commit()
			}(); err != nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("pebble", func(b *testing.B) {
		db, err := pebble.Open(b.TempDir(), &pebble.Options{Logger: mute{}})
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		var value []byte
		run(b, func(from, bucket int64) {
			batch := db.NewBatch()
			for i := range int64(most) {
				key := binary.BigEndian.AppendUint64(fmt.Appendf(nil, "acme\x00press-%05d\x00", from+i), uint64(bucket))
				value = append(append(append(append(value[:0], metrics...), stats...), detail...), ledger...)
				if err := batch.Set(key, value, nil); err != nil {
					b.Fatal(err)
				}
			}
			if err := batch.Commit(pebble.Sync); err != nil {
				b.Fatal(err)
			}
		})
	})
}

// mute is a logger that discards everything.
type mute struct{}

func (mute) Infof(string, ...any)         {}
func (mute) Errorf(string, ...any)        {}
func (mute) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }
