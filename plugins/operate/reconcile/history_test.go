package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/internal/platform/sqldb"
	"weir/tests/integration/require"
	"weir/tests/integration/testbed"
)

// fleetKeys take a fleet's name as its key, and "" as an admin's.
type fleetKeys struct{}

func (fleetKeys) Check(_ context.Context, text string) (*apikey.Key, error) {
	return &apikey.Key{Fleet: text, Admin: text == "", Scopes: []apikey.Scope{apikey.Query}}, nil
}

// asking asks the proof's handler, for a fleet or "" for an admin.
func asking(t *testing.T, proofs *Proofs, fleet, path string, now time.Time, into any) int {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
	r.Header.Set("X-Api-Key", fleet)
	(&apikey.Authenticator{Keys: fleetKeys{}}).Require(apikey.Route{Scope: apikey.Query, Unnamed: true},
		Handler(proofs, func() time.Time { return now })).ServeHTTP(w, r)
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			t.Fatalf("%s: %v in %s", path, err, w.Body)
		}
	}
	return w.Code
}

// opened are proofs in a store of their own.
func opened(t *testing.T, db *sqldb.DB) *Proofs {
	t.Helper()
	proofs, err := OpenProofs(t.Context(), db, event.LogTelemetry)
	if err != nil {
		t.Fatal(err)
	}
	return proofs
}

func (p *Proofs) kept(t *testing.T, proof Proof) {
	t.Helper()
	if proof.Verdict != proofFailed && proof.Report == nil {
		proof.Report = &Report{At: proof.At, Total: Counts{Accepted: 10, Stored: 10}}
	}
	if err := p.keep(t.Context(), proof); err != nil {
		t.Fatal(err)
	}
}

// What runs came to is known for thirty days, page by page; what is older is
// forgotten, and reports before that.
func TestHistory_ThirtyDaysOfVerdicts(t *testing.T) {
	proofs := opened(t, testbed.SQLite(t))
	now := time.Date(2026, 11, 27, 12, 30, 0, 0, time.UTC)
	const runs = 33 * 24 // one an hour
	for i := range runs {
		at := now.Add(-time.Duration(runs-1-i) * time.Hour)
		one := Proof{Verdict: proofExplained, At: at}
		switch i % 100 {
		case 98:
			one.Verdict, one.Report = proofLoss, &Report{At: at, Total: Counts{Accepted: 10, Unexplained: 3}}
		case 99:
			one.Verdict, one.Detail = proofFailed, "the log is down"
		}
		proofs.kept(t, one)
	}
	var seen []past
	for path, pages := "/v1/proof/history?limit=100", 1; ; pages++ {
		var page historyJSON
		if code := asking(t, proofs, "", path, now, &page); code != http.StatusOK {
			t.Fatal(path, code)
		}
		seen = append(seen, page.History...)
		if page.Next == nil {
			break
		}
		if pages > 20 {
			t.Fatal("the pages do not end")
		}
		path = "/v1/proof/history?limit=100&cursor=" + *page.Next
	}
	if n := 30 * 24; len(seen) != n {
		t.Errorf("%d runs are known, want %d", len(seen), n)
	}
	for i, one := range seen {
		switch {
		case !one.At.Equal(now.Add(-time.Duration(i) * time.Hour)):
			t.Fatalf("run %d is of %s", i, one.At)
		case one.Verdict == proofFailed && one.Accepted != nil,
			one.Verdict == proofLoss && *one.Unexplained != 3, one.Verdict == proofExplained && *one.Accepted != 10:
			t.Errorf("run %d: %+v", i, one)
		}
	}
	var sums hoursJSON
	asking(t, proofs, "", "/v1/proof/hours", now, &sums)
	var total hour
	for _, h := range sums.Hours {
		total.Explained, total.Loss, total.Failed = total.Explained+h.Explained, total.Loss+h.Loss, total.Failed+h.Failed
	}
	if len(sums.Hours) != len(seen) || total.Explained+total.Loss+total.Failed != int64(len(seen)) || total.Loss != 7 ||
		total.Failed != 7 || !sums.Hours[len(sums.Hours)-1].Hour.Equal(now.Truncate(time.Hour)) {
		t.Errorf("by the hour: %d, %+v", len(sums.Hours), total)
	}
	var reports int
	if err := proofs.db.QueryRowContext(t.Context(), `SELECT count(*) FROM reconcile_proof WHERE report <> ''`).Scan(
		&reports); err != nil || reports > reportsKept || reports < reportsKept-10 {
		t.Errorf("%d reports are kept: %v", reports, err)
	}
	var answer proofJSON
	asking(t, proofs, "", "/v1/proof", now, &answer)
	if len(answer.History) != historyPage || answer.Report == nil || !answer.At.Equal(now) {
		t.Errorf("the last: %+v", answer)
	}
}

// A fleet is told the verdicts, and nothing that counts records of others.
func TestHistory_AFleetIsToldVerdicts(t *testing.T) {
	proofs := opened(t, testbed.SQLite(t))
	now := time.Now()
	proofs.kept(t, Proof{Verdict: proofLoss, At: now, Report: &Report{Total: Counts{Accepted: 10, Unexplained: 3}}})
	var page historyJSON
	asking(t, proofs, "plant-1", "/v1/proof/history", now, &page)
	var last proofJSON
	asking(t, proofs, "plant-1", "/v1/proof", now, &last)
	for _, list := range [][]past{page.History, last.History} {
		if len(list) != 1 || list[0].Verdict != proofLoss || list[0].Accepted != nil || list[0].Unexplained != nil {
			t.Errorf("%+v", list)
		}
	}
}

func TestHistory_WhatIsNoRangeIsRefused(t *testing.T) {
	proofs := opened(t, testbed.SQLite(t))
	for _, path := range []string{"history?limit=0", "history?limit=1001", "history?cursor=x", "history?from=yesterday",
		"history?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", "history?page=2",
		"hours?from=1926-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", "hours?limit=2"} {
		if code := asking(t, proofs, "", "/v1/proof/"+path, time.Now(), nil); code != http.StatusBadRequest {
			t.Errorf("%s: %d", path, code)
		}
	}
}

// A clock that jumps ahead forgets no history.
func TestHistory_AClockThatJumpsAheadForgetsNothing(t *testing.T) {
	proofs := opened(t, testbed.SQLite(t))
	now := time.Now()
	proofs.kept(t, Proof{Verdict: proofExplained, At: now.Add(-20 * 24 * time.Hour)})
	proofs.kept(t, Proof{Verdict: proofExplained, At: now})
	proofs.kept(t, Proof{Verdict: proofExplained, At: now.Add(365 * 24 * time.Hour)})
	list, err := proofs.history(t.Context(), time.UnixMicro(0), now.Add(time.Hour), nil, 10)
	if err != nil || len(list) != 2 {
		t.Errorf("%d are left: %v", len(list), err)
	}
}

// What an older weir kept goes on being known.
func TestHistory_RunsOfAnOlderWeirAreKnown(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { olderRuns(t, testbed.SQLite(t)) })
	t.Run("postgres", func(t *testing.T) {
		base := require.Env(t, "WEIR_TEST_POSTGRES_URL")
		whole, err := sqldb.Open(t.Context(), base)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { whole.Close() })
		schema := "proofs_" + strings.ReplaceAll(uuid.NewString(), "-", "")
		if _, err := whole.ExecContext(t.Context(), "CREATE SCHEMA "+schema); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := whole.ExecContext(context.Background(), "DROP SCHEMA "+schema+" CASCADE"); err != nil {
				t.Error(err)
			}
		})
		url := base + map[bool]string{true: "&", false: "?"}[strings.Contains(base, "?")] + "search_path=" + schema
		db, err := sqldb.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		olderRuns(t, db)
	})
}

func olderRuns(t *testing.T, db *sqldb.DB) {
	if err := db.Migrate(t.Context(), "reconcile", proofMigrations()[:1]); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	for i, report := range []string{`{"total":{"accepted":12,"unexplained":2}}`, ""} {
		if _, err := db.ExecContext(t.Context(), `INSERT INTO reconcile_proof (id, at, verdict, report, detail)
			VALUES ($1, $2, $3, $4, '')`, fmt.Sprint(i), now.UnixMicro()-int64(i), "loss", report); err != nil {
			t.Fatal(err)
		}
	}
	proofs := opened(t, db)
	list, err := proofs.history(t.Context(), now.Add(-time.Hour), now.Add(time.Hour), nil, 10)
	if err != nil || len(list) != 2 || list[0].Accepted == nil || *list[0].Accepted != 12 || *list[0].Unexplained != 2 ||
		list[1].Accepted != nil {
		t.Fatalf("%+v %v", list, err)
	}
	proofs.kept(t, Proof{Verdict: proofExplained, At: now.Add(time.Second)})
	hours, err := proofs.hours(t.Context(), now.Add(-time.Hour), now.Add(time.Hour))
	var runs int64
	for _, h := range hours {
		runs += h.Explained + h.Loss
	}
	if err != nil || runs != 3 {
		t.Errorf("%+v %v", hours, err)
	}
}

// A process that starts knows when all was last explained, and what was not: an
// alert on either does not wait for its first run.
func TestProofs_AProcessThatStartsKnowsTheLastOnes(t *testing.T) {
	db, err := sqldb.Open(t.Context(), "sqlite://"+t.TempDir()+"/control.db")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	proofs := opened(t, db)
	if at, last, err := proofs.latest(t.Context()); err != nil || !at.IsZero() || last != nil {
		t.Fatalf("of nothing: %s %+v %v", at, last, err)
	}
	at := time.Now().Add(-time.Hour).Truncate(time.Second).UTC()
	proofs.kept(t, Proof{Verdict: proofExplained, At: at})
	proofs.kept(t, Proof{Verdict: proofLoss, At: at.Add(time.Minute), Report: &Report{Total: Counts{Accepted: 9,
		Unexplained: 4}}})
	proofs.kept(t, Proof{Verdict: proofFailed, At: at.Add(2 * time.Minute), Detail: "the log is away"})
	got, last, err := proofs.latest(t.Context())
	if err != nil || !got.Equal(at) || last == nil || last.Total.Unexplained != 4 {
		t.Errorf("%s %+v %v", got, last, err)
	}
}

// Proofs of the two logs lie beside each other: what one of them came to, and that
// somebody asks for one, is told of its own log alone.
func TestProofs_AreOfTheirLog(t *testing.T) {
	db := testbed.SQLite(t)
	var of [2]*Proofs
	now := time.Now()
	for i, log := range event.Logs() {
		var err error
		if of[i], err = OpenProofs(t.Context(), db, log.Name); err != nil {
			t.Fatal(err)
		}
		verdict := []Verdict{proofExplained, proofLoss}[i]
		if err := of[i].keep(t.Context(), Proof{Verdict: verdict, At: now.Add(time.Duration(i) * time.Second),
			Report: &Report{}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := of[1].ask(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	for i, want := range []Verdict{proofExplained, proofLoss} {
		last, err := of[i].Last(t.Context())
		if err != nil || last == nil || last.Verdict != want {
			t.Errorf("the last of %d: %+v %v", i, last, err)
		}
		past, err := of[i].history(t.Context(), now.Add(-time.Hour), now.Add(time.Hour), nil, 10)
		if err != nil || len(past) != 1 || past[0].Verdict != want {
			t.Errorf("those of %d: %+v %v", i, past, err)
		}
		hours, err := of[i].hours(t.Context(), now.Add(-time.Hour), now.Add(time.Hour))
		if err != nil || len(hours) != 1 || hours[0].Explained+hours[0].Loss != 1 {
			t.Errorf("the hours of %d: %+v %v", i, hours, err)
		}
		if asked, err := of[i].wish(t.Context()); err != nil || asked.open() != (i == 1) {
			t.Errorf("whether one was asked for of %d: %+v %v", i, asked, err)
		}
		explained, _, err := of[i].latest(t.Context())
		if err != nil || explained.IsZero() != (i == 1) {
			t.Errorf("when all was explained of %d: %s %v", i, explained, err)
		}
	}
	if _, err := OpenProofs(t.Context(), db, "users"); err == nil {
		t.Error("proofs of no log are opened")
	}
}
