package alert

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"weir/internal/lifecycle/expire"
	"weir/internal/platform/sqldb"
	"weir/tests/integration/require"
)

var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// stores runs a test over each kind of store.
func stores(t *testing.T, test func(*testing.T, *fixture)) {
	t.Run("sqlite", func(t *testing.T) { test(t, newFixture(t, "sqlite://"+t.TempDir()+"/control.db")) })
	t.Run("postgres", func(t *testing.T) {
		url := require.Env(t, "WEIR_TEST_POSTGRES_URL")
		db, err := sqldb.Open(context.Background(), url)
		if err != nil {
			t.Fatal(err)
		}
		for _, drop := range []string{"VIEW IF EXISTS alert_open",
			"TABLE IF EXISTS alert, alert_notice, alert_delivery, alert_channel"} {
			if _, err := db.Exec("DROP " + drop); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Migrate(context.Background(), "none", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec("DELETE FROM weir_migration WHERE room = 'alert'"); err != nil {
			t.Fatal(err)
		}
		_ = db.Close()
		test(t, newFixture(t, url))
	})
}

// fixture is a store and a clock.
type fixture struct {
	t     *testing.T
	db    *sqldb.DB
	store *store
	now   time.Time
}

func newFixture(t *testing.T, url string) *fixture {
	t.Helper()
	db, err := sqldb.Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s, err := openStore(context.Background(), db, defaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{t, db, s, start}
}

func metric(id, transition, device string, at time.Time) string {
	return fmt.Sprintf(`{"version":1,"alert_id":%q,"kind":"metric","transition":%q,"rule":"hot","detector":"threshold","severity":"critical",
		"fleet":"acme","device_id":%q,"metric":"t","value":95.5,"event_id":"00000000-0000-4000-8000-000000000001",
		"at":%q,"since":%q,"summary":"%s of %s"}`, id, transition, device, at.Format(time.RFC3339Nano), at.Format(time.RFC3339Nano), transition, device)
}

func pipeline(id, rule string, at time.Time) string {
	return fmt.Sprintf(`{"alert_id":%q,"kind":"pipeline","rule":%q,"severity":"critical","fleet":"","subject":"s","summary":"it is so","details":{"n":1},"at":%q}`,
		id, rule, at.Format(time.RFC3339Nano))
}

func (f *fixture) apply(records ...string) applied {
	f.t.Helper()
	var list []*Record
	for _, raw := range records {
		r, err := ParseRecord([]byte(raw))
		if err != nil {
			f.t.Fatal(err)
		}
		list = append(list, r)
	}
	done, err := f.store.Apply(context.Background(), list, f.now)
	if err != nil {
		f.t.Fatal(err)
	}
	return done
}

// pass lets time pass, second by second as alert_store does.
func (f *fixture) pass(d time.Duration) (sum swept) {
	f.t.Helper()
	for end := f.now.Add(d); f.now.Before(end); {
		f.now = f.now.Add(min(time.Second, end.Sub(f.now)))
		s, err := f.store.Sweep(context.Background(), f.now)
		if err != nil {
			f.t.Fatal(err)
		}
		sum = swept{sum.Announced + s.Announced, sum.Escalated + s.Escalated, sum.Quieted + s.Quieted, sum.Sealed + s.Sealed}
	}
	return sum
}

func (f *fixture) state(id string) (state string, folded sql.NullString) {
	f.t.Helper()
	if err := f.db.QueryRow(`SELECT state, folded_into FROM alert WHERE alert_id = $1`, id).Scan(&state,
		&folded); err != nil {
		f.t.Fatal(err)
	}
	return state, folded
}

// told returns the sealed notices as "reason count", in order.
func (f *fixture) told() (list []string) {
	f.t.Helper()
	rows, err := f.db.Query(`SELECT reason, count, alerts FROM alert_notice WHERE sealed_at IS NOT NULL ORDER BY sealed_at, created_at, reason`)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var reason, alerts string
		var n int
		if err := rows.Scan(&reason, &n, &alerts); err != nil {
			f.t.Fatal(err)
		}
		var lines []line
		if err := json.Unmarshal([]byte(alerts), &lines); err != nil || len(lines) != min(n, maxLines) {
			f.t.Fatalf("%d lines of %d: %v", len(lines), n, err)
		}
		list = append(list, fmt.Sprint(reason, " ", n))
	}
	return list
}

func (f *fixture) wantTold(want ...string) {
	f.t.Helper()
	if got := f.told(); fmt.Sprint(got) != fmt.Sprint(want) {
		f.t.Errorf("told %v, want %v", got, want)
	}
}

func TestAlert_OpensResolvesAndIsToldOnce(t *testing.T) {
	stores(t, func(t *testing.T, f *fixture) {
		opened, resolved := metric("a", "opened", "d", start), metric("a", "resolved", "d", start.Add(time.Minute))
		for range 3 { // delivered three times
			f.apply(opened)
		}
		if n := f.pass(4 * time.Second).Sealed; n != 0 {
			t.Errorf("sealed %d before the group's wait", n)
		}
		f.pass(2 * time.Second)
		f.wantTold("opened 1")
		if done := f.apply(resolved, opened, resolved); done != (applied{Resolved: 1, Repeated: 2}) {
			t.Errorf("applied %+v", done)
		}
		f.pass(10 * time.Second)
		f.wantTold("opened 1", "resolved 1")
		if state, _ := f.state("a"); state != stateResolved {
			t.Errorf("is %s", state)
		}
	})
}

func TestAlert_AlertsOfAFleetAreToldTogether(t *testing.T) {
	stores(t, func(t *testing.T, f *fixture) {
		for b := range 5 {
			var batch []string
			for i := range 100 {
				batch = append(batch, metric(fmt.Sprintf("a%d", b*100+i), "opened", fmt.Sprintf("d%d", b*100+i), start))
			}
			f.apply(batch...)
			f.pass(500 * time.Millisecond)
		}
		f.pass(5 * time.Second)
		f.wantTold("opened 500")
		f.apply(metric("late", "opened", "another", start)) // and a straggler waits for the interval
		f.pass(4 * time.Minute)
		f.wantTold("opened 500")
		f.pass(2 * time.Minute)
		f.wantTold("opened 500", "opened 1")
	})
}

func TestAlert_SecondAlertOfASubjectIsFoldedIntoTheFirst(t *testing.T) {
	stores(t, func(t *testing.T, f *fixture) {
		first, second := metric("a", "opened", "d", start), metric("b", "opened", "d", start.Add(time.Second))
		if done := f.apply(first, second); done != (applied{Opened: 1, Folded: 1}) {
			t.Errorf("applied %+v", done)
		}
		if _, into := f.state("b"); into.String != "a" {
			t.Errorf("folded into %q", into.String)
		}
		f.apply(metric("b", "resolved", "d", start.Add(time.Minute)))
		if state, _ := f.state("a"); state != stateResolved {
			t.Errorf("the first is %s", state)
		}
		f.apply(first, second) // delivered again: opens nothing
		var open int
		if err := f.db.QueryRow(`SELECT count(*) FROM alert_open`).Scan(&open); err != nil || open != 0 {
			t.Errorf("%d are open: %v", open, err)
		}
		f.apply(metric("c", "opened", "d", start.Add(2*time.Minute)), metric("a", "resolved", "d", start.Add(time.Minute)))
		if state, _ := f.state("c"); state != stateOpen {
			t.Errorf("an old resolution made the next %s", state)
		}
	})
}

func TestAlert_FlappingIsSilentForTheCooldown(t *testing.T) {
	stores(t, func(t *testing.T, f *fixture) {
		at := start
		for i := range 8 { // open and shut every minute
			f.apply(metric(fmt.Sprint("a", i), "opened", "d", at))
			f.pass(30 * time.Second)
			f.apply(metric(fmt.Sprint("a", i), "resolved", "d", at.Add(30*time.Second)))
			f.pass(30 * time.Second)
			at = at.Add(time.Minute)
		}
		f.wantTold("opened 1", "resolved 1")
		f.apply(metric("b", "opened", "d", at)) // open still, when the cooldown ends
		f.pass(10 * time.Minute)
		f.wantTold("opened 1", "resolved 1", "opened 1")
	})
}

func TestAlert_UnacknowledgedEscalatesOnce(t *testing.T) {
	stores(t, func(t *testing.T, f *fixture) {
		f.apply(metric("a", "opened", "d", start), metric("b", "opened", "e", start))
		f.pass(10 * time.Second)
		if _, err := f.db.Exec(`UPDATE alert SET state = 'acknowledged' WHERE alert_id = 'b'`); err != nil {
			t.Fatal(err)
		}
		if n := f.pass(14 * time.Minute).Escalated; n != 0 {
			t.Errorf("%d escalated early", n)
		}
		if n := f.pass(time.Hour).Escalated; n != 1 {
			t.Errorf("%d escalated", n)
		}
		f.wantTold("opened 2", "escalated 1")
	})
}

func TestAlert_PipelineAlertThatGoesQuietResolves(t *testing.T) {
	stores(t, func(t *testing.T, f *fixture) {
		f.apply(pipeline("p", "spillway", start))
		f.pass(50 * time.Minute)
		f.apply(pipeline("p2", "spillway", start.Add(50*time.Minute))) // it goes on
		if n := f.pass(50 * time.Minute).Quieted; n != 0 {
			t.Errorf("%d resolved while there was news", n)
		}
		if n := f.pass(20 * time.Minute).Quieted; n != 1 {
			t.Errorf("%d resolved", n)
		}
		f.apply(pipeline("p3", "spillway", start.Add(3*time.Hour)))
		f.pass(10 * time.Second)
		f.wantTold("opened 1", "escalated 1", "resolved 1", "opened 1")
	})
}

func ruled(id, transition, device, key string, at time.Time) string {
	return fmt.Sprintf(`{"version":1,"alert_id":%q,"kind":"rule","transition":%q,"rule":"fraud","severity":"critical","fleet":"acme",
		"device_id":%q,"subject":%q,"summary":"it is so","at":%q}`, id, transition, device, key, at.Format(time.RFC3339Nano))
}

// What a rule tells of a key again and again is one alert, which ends when that is
// taken back, or nothing more is told; another key's is another.
func TestAlert_RuleHasOneOfAKey(t *testing.T) {
	stores(t, func(t *testing.T, f *fixture) {
		if done := f.apply(ruled("a", "opened", "d", "card 1", start), ruled("b", "opened", "d", "card 1", start),
			ruled("c", "opened", "d", "card 2", start), ruled("a", "opened", "d", "card 1", start)); done.Opened != 2 ||
			done.Folded != 1 || done.Repeated != 1 {
			t.Errorf("%+v", done)
		}
		if n, err := CountOpen(t.Context(), f.db, "acme"); err != nil || n != 2 {
			t.Errorf("%d are open of the fleet: %v", n, err)
		}
		if done := f.apply(ruled("c", "resolved", "d", "card 2", start.Add(time.Minute))); done.Resolved != 1 {
			t.Errorf("%+v", done)
		}
		f.pass(50 * time.Minute)
		f.apply(ruled("d", "opened", "d", "card 1", start.Add(50*time.Minute))) // it goes on
		if n := f.pass(50 * time.Minute).Quieted; n != 0 {
			t.Errorf("%d resolved while there was news", n)
		}
		if n := f.pass(20 * time.Minute).Quieted; n != 1 {
			t.Errorf("%d resolved", n)
		}
	})
}

func TestAlert_RetentionDeletesWhatIsOver(t *testing.T) {
	stores(t, func(t *testing.T, f *fixture) {
		f.apply(metric("old", "opened", "d", start), metric("open", "opened", "e", start))
		f.apply(metric("old", "resolved", "d", start.Add(time.Second)))
		f.pass(10 * time.Second)
		before := f.now.Add(time.Hour)
		p := expire.Pass{DryRun: true, Held: func(context.Context) ([]string, error) {
			return []string{"acme", "plant-1"}, nil
		}}
		if plan, err := expireAlerts(t.Context(), f.db, p, before); err != nil || plan.Rows != 0 || plan.Kept != 3 {
			t.Fatalf("held: %+v, %v", plan, err)
		}
		p.Held = nil
		if plan, err := expireAlerts(t.Context(), f.db, p, before); err != nil || plan.Rows != 3 {
			t.Fatalf("a dry run: %+v, %v", plan, err)
		}
		p.DryRun = false
		if done, err := expireAlerts(t.Context(), f.db, p, before); err != nil || done.Rows != 3 {
			t.Fatalf("%+v, %v", done, err)
		}
		for table, want := range map[string]int{"alert": 1, "alert_notice": 0} {
			n := 0
			if err := f.db.QueryRow(`SELECT count(*) FROM ` + table).Scan(&n); err != nil || n != want {
				t.Errorf("%s keeps %d, want %d: %v", table, n, want, err)
			}
		}
	})
}

func TestAlert_RecordsAreReadAsTheirSchemaSays(t *testing.T) {
	schema, err := jsonschema.Compile("../../../schemas/alert/v1.json")
	if err != nil {
		t.Fatal(err)
	}
	good := []string{metric("a", "opened", "d", start), pipeline("p", "lag", start), ruled("r", "opened", "d", "k", start)}
	for _, raw := range good {
		if _, err := ParseRecord([]byte(raw)); err != nil || !fits(t, schema, []byte(raw)) {
			t.Errorf("%s: %v", raw, err)
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(raw), &fields); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"alert_id", "kind", "rule", "severity", "at"} {
			without := map[string]any{}
			for k, v := range fields {
				if k != name {
					without[k] = v
				}
			}
			b, err := json.Marshal(without)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ParseRecord(b); err == nil || fits(t, schema, b) {
				t.Errorf("taken without %s", name)
			}
		}
	}
}

func fits(t *testing.T, schema *jsonschema.Schema, raw []byte) bool {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return schema.Validate(v) == nil
}

func TestAlerts_OpenOnesOfAFleetAreBounded(t *testing.T) {
	stores(t, func(t *testing.T, f *fixture) {
		f.store.policy.MaxOpen = 2
		if got := f.apply(metric("a", "opened", "d1", f.now), metric("b", "opened", "d2", f.now),
			metric("c", "opened", "d3", f.now)); got.Opened != 2 || got.Beyond != 1 || got.BeyondOf != "acme" {
			t.Errorf("three of two: %+v", got)
		}
		var n int
		if err := f.db.QueryRow(`SELECT count(*) FROM alert WHERE alert_id = 'c'`).Scan(&n); err != nil || n != 0 {
			t.Errorf("the one beyond is recorded: %d %v", n, err)
		}
		if got := f.apply(metric("c", "resolved", "d3", f.now), metric("b", "opened", "d2", f.now),
			metric("b2", "opened", "d2", f.now), pipeline("p", "r", f.now)); got.Repeated != 2 || got.Folded != 1 ||
			got.Opened != 1 || got.Beyond != 0 {
			t.Errorf("what needs no room: %+v", got)
		}
		if got := f.apply(metric("a", "resolved", "d1", f.now),
			metric("c2", "opened", "d3", f.now.Add(time.Second))); got.Resolved != 1 || got.Opened != 1 || got.Beyond != 0 {
			t.Errorf("with room again: %+v", got)
		}
		f.store.policy.MaxOpen = 0
		if got := f.apply(metric("d", "opened", "d4", f.now)); got.Opened != 1 {
			t.Errorf("without a bound: %+v", got)
		}
	})
}

// Alerts of weir's own watch have no reading, and say nothing of detection.
func TestAlert_FreshnessIsOfTheOldestReading(t *testing.T) {
	early, late := time.Unix(100, 0), time.Unix(200, 0)
	for _, is := range []struct {
		records []*Record
		want    *time.Time
	}{
		{nil, nil}, {[]*Record{{Kind: Metric}}, nil}, {[]*Record{{Kind: "pipeline", ReceivedAt: &early}}, nil},
		{[]*Record{{Kind: Metric, ReceivedAt: &late}, {Kind: Metric, ReceivedAt: &early}, {Kind: Metric}}, &early},
	} {
		if got := oldestOf(is.records); got != is.want {
			t.Errorf("of %d records the oldest is %v, want %v", len(is.records), got, is.want)
		}
	}
}
