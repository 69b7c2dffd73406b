package scenarios

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	_ "modernc.org/sqlite"
)

// The rollup store is locked for a while. Meanwhile events are accepted and stored raw as before, and the log keeps
// the backlog. Once the store is back, the rollups catch up at least twice as fast as events arrive, without
// intervention.
func TestCatchup_RollupsCatchUpAfterTheirStoreWasAway(t *testing.T) {
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	const (
		rate = 1500
		away = 15 * time.Second
		few  = 5 * rate // the lag of a healthy system: the records of 5 s
	)
	devices, wait := s.fleet("--devices", "300", "--rate", fmt.Sprint(rate), "--duration", "1h", "--batch", "50",
		"--connections", "8",
		"--duplicates", "1", "--late", "1", "--retry", "--retry-for", "2m")
	lag := lagOf(t, s)
	time.Sleep(4 * time.Second)

	release := lockDatabase(t, filepath.Join(s.data, "rollups.db"))
	before := s.memory()
	time.Sleep(away)
	behind, raw := lag("weir-rollup"), lag("weir-raw")
	t.Logf("after %s without the rollup store: rollups %d records behind, raw %d; memory %s, before %s", away, behind, raw,
		s.memory(), before)
	if minimum := int64(rate * away.Seconds() / 2); behind < minimum {
		t.Errorf("rollups are only %d records behind, of at least %d: was their store away?", behind, minimum)
	}
	if raw > 2*few {
		t.Errorf("the raw store is %d records behind, with nothing wrong with it", raw)
	}

	release()
	back := time.Now()
	for left := behind; left > few; left = lag("weir-rollup") {
		if time.Since(back) > 90*time.Second {
			t.Fatalf("rollups are still %d records behind, 90 s after their store was back", left)
		}
		time.Sleep(100 * time.Millisecond)
	}
	took := time.Since(back).Seconds()
	speed := (float64(behind) + rate*took - few) / took
	t.Logf("caught up in %.1f s: at %.0f events/s, while %d/s came, %.1f times as fast", took, speed, rate, speed/rate)
	if speed < 2*rate {
		t.Errorf("caught up at %.0f events/s, less than twice as fast as they came", speed)
	}
	if err := devices.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	t.Logf("weir fleet:\n%s", wait())
	s.verify(90 * time.Second)
	s.reconcile()
}

// lockDatabase takes SQLite's exclusive lock, which every writer needs, until release is called.
func lockDatabase(t *testing.T, path string) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(20000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() }) // also ends the lock when the test fails
	conn, err := db.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(context.Background(), "BEGIN EXCLUSIVE"); err != nil {
		t.Fatalf("locking %s: %v", path, err)
	}
	return func() {
		t.Helper()
		if _, err := conn.ExecContext(context.Background(), "ROLLBACK"); err != nil {
			t.Fatalf("releasing %s: %v", path, err)
		}
	}
}

// lagOf returns a function that reads how many records a consumer group has not committed yet.
func lagOf(t *testing.T, s *system) func(group string) int64 {
	t.Helper()
	client, err := kgo.NewClient(s.brokerOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return func(group string) int64 {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		lags, err := kadm.NewClient(client).Lag(ctx, group)
		if err == nil {
			err = lags.Error()
		}
		if err != nil {
			t.Fatalf("reading the lag of %s: %v", group, err)
		}
		return lags[group].Lag.Total()
	}
}

// memory returns the resident memory (VmRSS) of the running weir, as text.
func (s *system) memory() string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.up.Process.Pid))
	if err != nil {
		return err.Error()
	}
	return string(regexp.MustCompile(`VmRSS:\s*(.*)`).FindSubmatch(raw)[1])
}
