package reconcile

import (
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/platform/sqldb"
	"weir/plugins/process/rule"
)

// A report tells what became of events in rules; an event that a rule does not
// account for is a loss.
func TestReport_AccountsForEventsInRules(t *testing.T) {
	db, err := sqldb.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "control.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := rule.OpenVersions(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	const row = `INSERT INTO rule_position (topic, part, log, next, time, version, rules, tally, updated_at, told_at)
		VALUES ('raw-events', $1, '', $2, 0, 1, '', $3, 0, 0)`
	for part, counted := range []string{`"counted":2,"late":1`, `"counted":1,"filtered":1`} {
		if _, err := db.Exec(row, part, 13, `{"first":10,"read":3,"rules":{"minute":{"epoch":"e","since":10,"before":0,"counts":{`+
			counted+`}}}}`); err != nil {
			t.Fatal(err)
		}
	}
	report := &Report{}
	if err := report.addRules(t.Context(), Config{Control: db}); err != nil {
		t.Fatal(err)
	}
	if !report.Loss() || len(report.Problems) != 1 ||
		!strings.Contains(report.Problems[0], "tells of 2 of the 3 events of raw-events/1") {
		t.Errorf("the problems are %q", report.Problems)
	}
	var table strings.Builder
	if err := report.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(strings.Fields(table.String()), " "), "minute 3 1 1 0 0") {
		t.Errorf("the table is\n%s", table.String())
	}
}
