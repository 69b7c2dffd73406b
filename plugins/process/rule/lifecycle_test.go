package rule

import (
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/lifecycle/tombstone"
)

// An erasure locks partitions in the order in which batches lock them, wherever their rows lie: neither is ended as a
// deadlock.
func TestErasure_LocksPartitionsInTheOrderOfBatches(t *testing.T) {
	b := newBench(t, perMinute)
	b.postgres()
	b.apply(b.operator(), []*service.Message{message(0, 0, at(0, 1)), message(1, 0, second(0))}...)
	ctx, db := t.Context(), b.open()
	if _, err := db.ExecContext(ctx, `UPDATE rule_position SET version = version WHERE part = 0`); err != nil {
		t.Fatal(err) // its row lies behind that of the other now
	}
	batch, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = batch.Rollback() }()
	var pid int
	if err := batch.QueryRowContext(ctx, `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	lock := func(part int) {
		t.Helper()
		if _, err := batch.ExecContext(ctx, `SELECT 1 FROM rule_position WHERE part = $1 FOR UPDATE`, part); err != nil {
			t.Fatal(err)
		}
	}
	lock(0)
	erased := make(chan error, 1)
	go func() {
		erased <- erase(ctx, db, tombstone.Target{Job: "j", Fleet: "plant-1", Device: "pump-1",
			Until: time.Now().UnixMicro()})
	}()
	for began, waits := time.Now(), 0; waits == 0; time.Sleep(10 * time.Millisecond) {
		if err := db.QueryRowContext(ctx, `SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))`,
			pid).Scan(&waits); err != nil || time.Since(began) > time.Minute {
			t.Fatal("the erasure does not wait for the batch: ", err)
		}
	}
	lock(1)
	if err := batch.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-erased; err != nil {
		t.Error(err)
	}
}
