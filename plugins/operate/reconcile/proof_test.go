package reconcile

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
	"weir/tests/integration/testbed"
)

// A run that is asked for is done though the schedule is far away, and its
// outcome kept; one that cannot be done is kept as that.
func TestProof_IsDoneWhenItIsAskedFor(t *testing.T) {
	w := filled(t)
	url := "sqlite://" + filepath.Join(t.TempDir(), "control.db")
	db, err := sqldb.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	proofs, err := OpenProofs(t.Context(), db, event.LogTelemetry)
	if err != nil {
		t.Fatal(err)
	}
	asked, err := proofs.ask(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	env := service.NewEnvironment()
	if err := Register(env); err != nil {
		t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	if err := b.AddInputYAML(fmt.Sprintf("reconcile:\n  seed_brokers: [%q]\n  raw: %s\n  dead_letter: %s\n"+
		"  interval: 1h\n  wait: 0s\n  control: %s\n", w.brokers, w.rawURL, w.deadURL, url)); err != nil {
		t.Fatal(err)
	}
	if err := b.AddConsumerFunc(func(context.Context, *service.Message) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := b.SetLoggerYAML("level: OFF"); err != nil {
		t.Fatal(err)
	}
	defer testbed.Run(t, b)()
	after := func(t0 time.Time) Proof {
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if last, err := proofs.Last(t.Context()); err == nil && last != nil && last.At.After(t0) {
				return *last
			}
		}
		t.Fatal("no proof was kept")
		return Proof{}
	}
	first := after(asked)
	if first.Verdict != proofExplained || first.Report == nil || first.Report.Total.Accepted == 0 {
		t.Errorf("the first: %+v", first)
	}
	w.commit("weir-raw", "raw-events", 0, 95) // 90 to 94 are in no store
	if asked, err = proofs.ask(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if second := after(asked); second.Verdict != proofLoss || second.Report.Total.Unexplained != 5 {
		t.Errorf("the second: %+v", second)
	}
}

// A wish is open until a run begins, also by clocks that differ.
func TestProofs_AWishIsNotForgotten(t *testing.T) {
	db := testbed.SQLite(t)
	proofs, err := OpenProofs(t.Context(), db, event.LogTelemetry)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, runner := range []time.Duration{0, time.Hour, time.Hour} { // its clock is ahead
		if _, err := proofs.ask(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		if w, err := proofs.wish(t.Context()); err != nil || !w.open() {
			t.Errorf("asked for: %+v %v", w, err)
		}
		if err := proofs.begin(t.Context(), now.Add(runner)); err != nil {
			t.Fatal(err)
		}
		if w, err := proofs.wish(t.Context()); err != nil || w.open() {
			t.Errorf("begun: %+v %v", w, err)
		}
	}
}
