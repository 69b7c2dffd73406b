package erasure

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"weir/plugins/process/rule"
)

// summingWorld is a world with a rule of all devices, whose partition stands at a time.
func summingWorld(t *testing.T) (w *world, stands func(time.Time)) {
	w = newWorld(t, sqliteURL(t))
	if _, err := rule.OpenVersions(t.Context(), w.db); err != nil {
		t.Fatal(err)
	}
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := w.db.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`INSERT INTO rule_version (number, version, rules, comment, created_by, created_at, text)
		VALUES (1, 'v', '', '', '', 0, $1)`,
		`rules: [{ name: minutes, across_devices: true, window: { type: tumbling, size: 1h, allowed_lateness: 0s },
			select: { who: sketch(this.device_id) } }]`)
	exec(`INSERT INTO rule_position (topic, part, log, next, time, version, rules, tally, updated_at, told_at)
		VALUES ('raw-events', 0, '', 7, 0, 1, 'v', '{}', 0, 0)`)
	return w, func(at time.Time) { exec(`UPDATE rule_position SET time = $1`, at.UnixMicro()) }
}

// An erasure is done though windows of rules wait for what may still correct them. It goes
// on with these, names nobody meanwhile, is not overdue, and stops for a legal hold.
func TestErasure_SumsGoOnWhenAllElseIsDone(t *testing.T) {
	w, stands := summingWorld(t)
	stands(w.now.Add(-time.Minute))
	id := w.ask(Spec{Fleet: "acme", Device: "pump-1", Reason: "why"}).ID
	r := w.runner("a")
	r.sums = &sums{control: w.db}
	w.carry(r)
	w.now = w.now.Add(3 * time.Minute)
	w.carry(r)
	e := w.get(id)
	if e.State != Done || e.phase != summing || e.Sums == nil || e.Sums.Parts != 1 || e.Sums.Waiting != 1 ||
		e.Sums.Over() {
		t.Fatalf("%+v %+v", e, e.Sums)
	}
	if raw, err := json.Marshal(e); err != nil || strings.Contains(string(raw), "pump-1") ||
		!strings.Contains(string(raw), `"sums":{"parts":1,"parts_done":0,"parts_waiting":1,"made_anew":0,"kept":{}}`) {
		t.Errorf("%s %v", raw, err)
	}
	endedAt := *e.EndedAt
	w.now = w.now.Add(time.Hour)
	if n, err := w.store.overdue(t.Context()); err != nil || n != 0 {
		t.Errorf("%d are overdue (%v)", n, err)
	}
	if _, err := w.holds.Place(t.Context(), "acme", "case 7", "counsel"); err != nil {
		t.Fatal(err)
	}
	stands(w.now.Add(2 * time.Hour))
	w.carry(r)
	if e = w.get(id); e.State != Done || e.phase != summing || e.Sums.Over() || e.Error != "" {
		t.Fatalf("under a hold: %+v %+v", e, e.Sums)
	}
	if _, err := w.holds.Release(t.Context(), "acme", "counsel"); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(2 * holdAgain)
	w.carry(r)
	var left int
	err := w.db.QueryRow(`SELECT (SELECT count(*) FROM rule_touched) + (SELECT count(*) FROM rule_anew)`).Scan(&left)
	if e = w.get(id); e.State != Done || e.phase != ended || !e.Sums.Over() || !e.EndedAt.Equal(endedAt) || left != 0 ||
		err != nil {
		t.Fatalf("%+v %+v, %d rows are left: %v", e, e.Sums, left, err)
	}
}

// What fails when all else is done is tried again, and the erasure stays done.
func TestErasure_SumsThatFailAreTriedAgain(t *testing.T) {
	w, stands := summingWorld(t)
	stands(w.now.Add(-time.Minute))
	id := w.ask(Spec{Fleet: "acme", Device: "pump-1", Reason: "why"}).ID
	r := w.runner("a")
	r.sums = &sums{control: w.db}
	w.carry(r)
	w.now = w.now.Add(3 * time.Minute)
	w.carry(r)
	stands(w.now.Add(2 * time.Hour))
	rename := func(from, to string) {
		t.Helper()
		if _, err := w.db.Exec(`ALTER TABLE ` + from + ` RENAME TO ` + to); err != nil {
			t.Fatal(err)
		}
	}
	rename("rule_touched", "away")
	w.now = w.now.Add(2 * time.Minute)
	w.carry(r)
	if e := w.get(id); e.State != Done || e.phase != summing || !strings.Contains(e.Error, "tried again") {
		t.Fatalf("%+v", e)
	}
	rename("away", "rule_touched")
	w.now = w.now.Add(2 * time.Minute)
	w.carry(r)
	if e := w.get(id); e.State != Done || e.phase != ended || e.Error != "" || !e.Sums.Over() {
		t.Fatalf("%+v %+v", e, e.Sums)
	}
}
