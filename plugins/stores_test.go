package plugins

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"weir/internal/lifecycle"
	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
	"weir/plugins/operate/recount"
	"weir/plugins/store/raw"
)

func unheld() error { return nil }

// erase does what an erasure does with the stores, in their order: one pass, in
// which each store is stopped once before and once within its work.
func (w *filled) erase(target tombstone.Target, again bool) {
	w.Helper()
	opened := w.process()
	for _, kind := range stores() {
		s := opened[kind.Name]
		asked, stop := 0, errors.New("stopped")
		killed := lifecycle.Erasure{Target: target, Again: again, Held: func() error {
			if asked++; asked > 1 {
				return stop
			}
			return nil
		}}
		if err := s.Erase(w.Context(), killed); err != nil && !errors.Is(err, stop) {
			w.Fatalf("%s: %v", kind.Name, err)
		}
		dead, cancel := context.WithCancel(w.Context())
		cancel()
		_ = s.Erase(dead, lifecycle.Erasure{Target: target, Again: again, Held: unheld}) // does nothing, or all
		for range 2 {
			if err := s.Erase(w.Context(), lifecycle.Erasure{Target: target, Again: again, Held: unheld}); err != nil {
				w.Fatalf("%s: %v", kind.Name, err)
			}
		}
	}
}

// The stores together leave nothing of a device and count what they delete as
// they had counted it before, however often they are stopped; what is on its way
// does not come back; its neighbours keep everything; what came later stays, and
// is counted again where it shared a window with what is gone.
func TestStores_ForgetADeviceAndCountIt(t *testing.T) {
	everywhere(t, func(w *filled) {
		ctx := w.Context()
		minute := time.Now().Add(-time.Hour).Truncate(time.Minute)
		until := minute.Add(30 * time.Second)
		devices := [][2]string{{"acme", "pump-1"}, {"acme", "pump-10"}, {"other", "pump-1"}}
		w.aged(2, devices...)
		for _, d := range devices {
			w.happened(d[0], d[1], minute.Add(10*time.Second), 20)
			w.spoken(d[0], d[1], minute)
		}
		want := map[string]int64{"raw_rows": 20, "enriched_rows": 20, "dead_letters": 1,
			"dead_letter_outcomes": 1, "rollup_windows_1m": 3,
			"rollup_windows_1h": 1, "rollup_windows_1d": 1, "alerts": 1, "alert_notices": 1,
			"group_memberships": 1, "subject_blocks": 1, "consent_changes": 1, "identity_claims": 1, "identity_devices": 1,
			"audit_log_entries": 1, "replay_jobs": 1, "anomaly_baselines": 1,
			"rule_keys": 1, "rule_results": 1}
		if got := w.counted("acme", "pump-1"); fmt.Sprint(got) != fmt.Sprint(want) {
			w.Fatalf("before: %v, expected %v", got, want)
		}
		neighbours := fmt.Sprint(w.counted("acme", "pump-10"), w.counted("other", "pump-1"))

		w.happened("acme", "pump-1", minute.Add(40*time.Second), 7) // later, within the same minute
		target := tombstone.Target{Job: uuid.NewString(), Fleet: "acme", Device: "pump-1", Until: until.UnixMicro(),
			Buried: until.UnixMicro()}
		for name, s := range w.process() {
			for range 2 {
				if err := s.Bury(ctx, tombstone.Of("acme", "pump-1", until)); err != nil {
					w.Fatalf("%s: %v", name, err)
				}
			}
		}
		w.erase(target, false)
		w.erase(target, true)
		left := "map[alerts:1 dead_letters:1 enriched_rows:7 raw_rows:7]"
		if got := w.counted("acme", "pump-1"); fmt.Sprint(got) != left {
			w.Fatalf("left: %v", got)
		}
		w.happened("acme", "pump-1", minute.Add(20*time.Second), 4) // was on its way: a redelivery, a replay, a redrive
		if got := w.counted("acme", "pump-1"); fmt.Sprint(got) != left {
			w.Fatalf("it came back: %v", got)
		}
		for range 2 { // again, as after a crash
			n, err := recount.Later(ctx, w.lake(lifecycle.Raw), w.db(lifecycle.Rollups), nil, target)
			if err != nil || n != 0 && n != 7 {
				w.Fatal(n, err)
			}
		}
		w.happened("acme", "pump-1", minute.Add(50*time.Second), 3)
		var events int
		if err := w.db(lifecycle.Rollups).QueryRowContext(ctx,
			`SELECT count FROM rollup_1m WHERE device_id = 'pump-1' AND fleet = 'acme'`).
			Scan(&events); err != nil || events != 10 {
			w.Fatalf("%d events are counted, %v", events, err)
		}
		if got := w.erased(target.Job); fmt.Sprint(got) != fmt.Sprint(want) {
			w.Fatalf("noted %v, expected %v", got, want)
		}
		if got := fmt.Sprint(w.counted("acme", "pump-10"), w.counted("other", "pump-1")); got != neighbours {
			w.Fatalf("the neighbours had %v, and have %v", neighbours, got)
		}
		rows := 0
		if _, err := raw.NewReader(w.lake(lifecycle.Raw)).Scan(ctx, raw.Query{Fleet: "acme", Devices: []string{"pump-1"}},
			func(r *raw.Row) error {
				if rows++; r.ReceivedAt <= until.UnixMicro() {
					return fmt.Errorf("event %x was received before", r.ID)
				}
				return nil
			}); err != nil || rows != 10 {
			w.Fatal(rows, err)
		}
	})
}

// A person whose id is the name of another's device takes nothing of that with them, and
// keeps nothing of it out.
func TestStores_ANameOfAPersonTakesNoDevice(t *testing.T) {
	everywhere(t, func(w *filled) {
		at := time.Now().Add(-time.Hour)
		w.happened("acme", "pump-1", at, 5)
		w.spoken("acme", "pump-1", at)
		before := w.counted("acme", "pump-1")
		target := tombstone.Target{Job: uuid.NewString(), Fleet: "acme", Device: "pump-1", Name: true,
			Until: time.Now().UnixMicro(), Buried: time.Now().UnixMicro()}
		for name, s := range w.process() {
			if err := s.Bury(w.Context(), target.Stone()); err != nil {
				w.Fatalf("%s: %v", name, err)
			}
		}
		w.erase(target, false)
		w.erase(target, true)
		for what, n := range w.erased(target.Job) {
			if before[what] -= n; before[what] == 0 {
				delete(before, what)
			}
		}
		for _, what := range []string{"identity_claims", "consent_changes"} {
			if before[what] != 0 {
				w.Errorf("of a person's %s are left %d", what, before[what])
			}
		}
		for _, what := range []string{"raw_rows", "enriched_rows", "dead_letters", "rollup_windows_1m", "alerts",
			"anomaly_baselines",
			"group_memberships", "rule_results", "identity_devices"} {
			if before[what] == 0 {
				w.Errorf("%s of a device went", what)
			}
		}
		w.happened("acme", "pump-1", at, 5) // in a replay
		if got := w.counted("acme", "pump-1"); got["raw_rows"] != 10 || got["dead_letters"] != 2 {
			w.Errorf("what was replayed of a device is refused: %v", got)
		}
	})
}

// Two processes that erase at once - the lease of the first ran out - delete what
// there is, and count it once.
func TestStores_TwoProcessesEraseAndCountOnce(t *testing.T) {
	everywhere(t, func(w *filled) {
		at := time.Now().Add(-time.Hour)
		w.aged(3, [2]string{"acme", "pump-1"}, [2]string{"acme", "pump-4"}, [2]string{"other", "pump-1"})
		for i := range 6 {
			w.happened("acme", fmt.Sprint("pump-", i), at, 5)
		}
		w.happened("other", "pump-1", at, 5)
		w.spoken("acme", "pump-1", at)
		w.spoken("other", "pump-1", at)
		neighbour := w.counted("other", "pump-1")
		for _, device := range []string{"pump-1", ""} {
			want := w.counted("acme", device)
			target := w.bothErase(device)
			if got := w.counted("acme", device); len(got) > 0 {
				w.Fatalf("left of %q: %v", device, got)
			}
			if got := w.erased(target.Job); fmt.Sprint(got) != fmt.Sprint(want) {
				w.Fatalf("of %q are noted %v, expected %v", device, got, want)
			}
		}
		if got := w.counted("other", "pump-1"); fmt.Sprint(got) != fmt.Sprint(neighbour) {
			w.Fatalf("the neighbour had %v, and has %v", neighbour, got)
		}
		if n := w.oldObjects(); n != 1 {
			w.Errorf("%d objects of old minutes are left", n)
		}
	})
}

// bothErase has two processes erase a device of acme, or the fleet, at once.
func (w *filled) bothErase(device string) tombstone.Target {
	w.Helper()
	now := time.Now()
	target := tombstone.Target{Job: uuid.NewString(), Fleet: "acme", Device: device, Until: now.UnixMicro(),
		Buried: now.UnixMicro()}
	opened := []map[string]lifecycle.Store{w.process(), w.process()}
	for name, s := range opened[0] {
		if err := s.Bury(w.Context(), tombstone.Of("acme", device, now)); err != nil {
			w.Fatalf("%s: %v", name, err)
		}
	}
	for _, again := range []bool{false, true} {
		for _, kind := range stores() {
			var both sync.WaitGroup
			for _, process := range opened {
				both.Go(func() {
					var err error
					for try := range 10 { // what the other has changed meanwhile is tried again, as an erasure does
						if err = process[kind.Name].Erase(w.Context(), lifecycle.Erasure{Target: target, Again: again,
							Held: unheld}); err == nil {
							return
						}
						time.Sleep(time.Duration(try) * 50 * time.Millisecond)
					}
					w.Errorf("%s: %v", kind.Name, err)
				})
			}
			both.Wait()
		}
	}
	return target
}

// Retention deletes nothing of a held fleet from any store, goes on when it is
// released, and finds nothing the next time.
func TestStores_ExpireHonoursHoldsAndIsIdempotent(t *testing.T) {
	everywhere(t, func(w *filled) {
		at := time.Now().Add(-time.Hour)
		w.aged(3, [2]string{"acme", "pump-1"}, [2]string{"other", "pump-1"}, [2]string{"other", "pump-2"})
		for _, fleet := range []string{"acme", "other"} {
			w.happened(fleet, "pump-1", at, 5)
			w.spoken(fleet, "pump-1", at)
		}
		for _, query := range []string{`UPDATE alert SET state = 'resolved'`,
			`UPDATE alert_notice SET sealed_at = created_at`,
			`UPDATE replay_job SET state = 'done', ended_at = created_at`} {
			_, err := w.db(lifecycle.Control).ExecContext(w.Context(), query)
			must(w.T, err)
		}
		held, other := w.counted("acme", ""), w.counted("other", "")
		var holds []string
		run := func(dry bool) (removed int64) {
			opened := w.process()
			for _, kind := range stores() {
				u := lifecycle.Upkeep{Compact: true, Pass: expire.Pass{Now: time.Now().AddDate(1, 0, 0), DryRun: dry,
					Held: func(context.Context) ([]string, error) { return holds, nil }}}
				for range kind.Keep {
					u.Keep = append(u.Keep, 24*time.Hour)
				}
				if len(kind.Keep) == 0 {
					continue
				}
				shares, err := opened[kind.Name].Expire(w.Context(), u)
				if err != nil {
					w.Errorf("%s: %v", kind.Name, err)
				}
				for _, s := range shares {
					removed += s.Rows
				}
			}
			return removed
		}
		holds = []string{"acme"}
		plan := run(true)
		if got := w.counted("other", ""); fmt.Sprint(got) != fmt.Sprint(other) {
			w.Fatalf("a dry run deleted: %v of %v are left", got, other)
		}
		if done := run(false); done != plan || done == 0 {
			w.Fatalf("%d rows went, and a dry run had said %d", done, plan)
		}
		if got := w.counted("acme", ""); fmt.Sprint(got) != fmt.Sprint(held) {
			w.Fatalf("the held fleet had %v, and has %v", held, got)
		}
		// people, detectors and time change these
		kept := "map[anomaly_baselines:1 consent_changes:1 group_memberships:2 identity_claims:1 identity_devices:1 " +
			"rule_keys:1]"
		if got := w.counted("other", ""); fmt.Sprint(got) != kept {
			w.Fatalf("left of the other: %v", got)
		}
		holds = nil
		if done := run(false); done == 0 {
			w.Fatal("nothing went after the hold was released")
		}
		if got := w.counted("acme", ""); fmt.Sprint(got) != kept {
			w.Fatalf("left: %v", got)
		}
		if done := run(false); done != 0 {
			w.Fatalf("%d rows went the second time", done)
		}
		if n := w.oldObjects(); n != 0 {
			w.Errorf("%d objects of old minutes are left", n)
		}
	})
}

// What no store knows of, an erasure would leave: wherever a device's name is
// found in a database, a store has that table.
func TestStores_KnowEveryTableThatNamesADevice(t *testing.T) {
	everywhere(t, func(w *filled) {
		w.aged(1, [2]string{"acme", "pump-1"})
		w.happened("acme", "pump-1", time.Now(), 1)
		w.spoken("acme", "pump-1", time.Now())
		known := []string{"rollup_journal"} // it is emptied when rows are written, and by an erasure first
		for _, kind := range stores() {
			known = append(known, kind.Tables...)
		}
		found := 0
		for _, at := range []lifecycle.Place{lifecycle.Rollups, lifecycle.Control} {
			for _, table := range w.naming(w.db(at), "pump-1") {
				if found++; !slices.ContainsFunc(known, func(k string) bool {
					return table == k || strings.HasPrefix(table, k+"_p")
				}) {
					w.Errorf("table %s names a device, and no store of plugins.go has it", table)
				}
			}
			must(w.T, w.db(at).Scrub(w.Context(), known...))
		}
		if found < 7 {
			w.Errorf("found only %d tables", found)
		}
	})
}
