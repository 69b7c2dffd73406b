package rule

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// A key that is gone is none, though its grave is a row: an erasure deletes that, and counts it neither before nor
// after. Nor does it count when rules change.
func TestErasure_GravesAreDeletedAndNotCounted(t *testing.T) {
	b := newBench(t, perMinute)
	o := b.operator()
	offset := int64(0)
	b.apply(o, round(3, &offset, 0)...)
	o.writeRows(t)
	b.apply(o, round(1, &offset, 70*s)...) // all are told; pump-0 has a new window
	o.rowsEach, o.journalMost = 1, 1
	b.apply(o, round(1, &offset, 71*s)...)
	b.apply(o, round(1, &offset, 72*s)...)
	keys, graves := b.rows()
	if keys == 0 || graves == 0 {
		t.Fatalf("%d rows, %d graves", keys, graves)
	}
	ctx, db := t.Context(), b.open()
	if err := tombstone.Update(ctx, db, func(tx *sql.Tx) error {
		if n, err := dropState(ctx, tx, ` WHERE topic = $1 AND part = $2`, "raw-events", 0); err != nil || n != int64(keys) {
			return fmt.Errorf("of %d keys and %d graves: %d, %v", keys, graves, n, err)
		}
		return errUndo
	}); err != errUndo {
		t.Error(err)
	}
	before, err := count(ctx, db, "plant-1", "")
	if err != nil || before[countState] != int64(keys) {
		t.Errorf("before: %v of %d keys and %d graves, %v", before, keys, graves, err)
	}
	if err := erase(ctx, db, tombstone.Target{Job: "j", Fleet: "plant-1", Until: time.Now().UnixMicro()}); err != nil {
		t.Fatal(err)
	}
	erased := map[string]int64{}
	if err := tombstone.Counts(ctx, db, "j", erased); err != nil || erased[countState] != int64(keys) {
		t.Errorf("erased: %v of %d keys and %d graves, %v", erased, keys, graves, err)
	}
	if n, left := b.rows(); n+left > 0 {
		t.Errorf("%d rows and %d graves are left", n, left)
	}
}

var errUndo = sql.ErrTxDone

// Rows go that count no more than what is dropped, in few statements or in many.
func TestRowWriter_DropsNoRowThatCountsMore(t *testing.T) {
	for name, prepare := range map[string]func(*bench){"sqlite": func(*bench) {}, "postgres": (*bench).postgres} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, perMinute)
			prepare(b)
			b.operator()
			ctx, db := t.Context(), b.open()
			if err := migrate(ctx, db); err != nil {
				t.Fatal(err)
			}
			const keys = 1200
			op := &operator{Rule: &Rule{Epoch: "e"}}
			most := rowsMost(db.Dialect)
			put, drop := &rowWriter{topic: "raw-events", part: 0}, &rowWriter{topic: "raw-events", part: 0}
			for i := range keys {
				key := fmt.Sprint("plant-1\x00pump-", i)
				put.put(op, key, "pump", []byte{1}, int64(i%3))
				if i%2 == 0 {
					drop.drop(op, key, 1)
				}
			}
			for _, w := range []*rowWriter{put, drop} {
				if err := tombstone.Update(ctx, db, func(tx *sql.Tx) error { return w.flush(ctx, tx, most) }); err != nil {
					t.Fatal(err)
				}
			}
			left := map[int64]int{}
			seqs, err := sqldb.All(ctx, db, func(row sqldb.Row) (seq int64, err error) {
				return seq, row.Scan(&seq)
			}, `SELECT seq FROM rule_state`)
			if err != nil {
				t.Fatal(err)
			}
			for _, seq := range seqs {
				left[seq]++
			}
			if left[0] != keys/6 || left[1] != keys/6 || left[2] != keys/3 {
				t.Errorf("left are, by what they count, %v", left)
			}
		})
	}
}
