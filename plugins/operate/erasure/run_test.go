package erasure

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/control/hold"
	"weir/internal/lifecycle"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/tests/integration/require"
)

// world is a control store, and two stores: one that knows of tombstones at once,
// and one that brings things back until its second pass.
type world struct {
	*testing.T
	db      *sqldb.DB
	store   *Store
	holds   *hold.Store
	now     time.Time
	things  map[string]int64 // what the stores hold
	buried  []tombstone.Stone
	fail    func(doing string) error
	did     []string
	recount int64
}

func newWorld(t *testing.T, url string) *world {
	t.Helper()
	ctx := t.Context()
	db, err := sqldb.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{T: t, db: db, now: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC), things: map[string]int64{"quick": 3,
		"slow": 5}, fail: func(string) error {
		return nil
	}}
	if w.store, err = OpenStore(ctx, db); err != nil {
		t.Fatal(err)
	}
	if w.holds, err = hold.Open(ctx, db); err != nil {
		t.Fatal(err)
	}
	w.store.now = func() time.Time { return w.now }
	return w
}

func sqliteURL(t *testing.T) string { return "sqlite://" + t.TempDir() + "/control.db" }

// fake is a store that is erased in both passes, or only in the first.
type fake struct {
	*world
	name  string
	twice bool
}

func (f fake) Bytes(context.Context) (int64, error) { return 300 << 20, nil }

func (f fake) Expire(context.Context, lifecycle.Upkeep) ([]lifecycle.Share, error) { return nil, nil }

func (f fake) Bury(_ context.Context, s tombstone.Stone) error {
	f.did = append(f.did, "bury "+f.name)
	f.buried = append(f.buried, s)
	return f.fail("bury " + f.name)
}

func (f fake) Count(context.Context, string, ...tombstone.Who) (map[string]int64, error) {
	return map[string]int64{f.name: f.things[f.name]}, nil
}

func (f fake) Erase(ctx context.Context, e lifecycle.Erasure) error {
	if e.Again && !f.twice {
		return nil
	}
	f.did = append(f.did, "erase "+f.name)
	if err := e.Held(); err != nil {
		return err
	}
	n := f.things[f.name]
	if err := tombstone.Update(ctx, f.db, func(tx *sql.Tx) error {
		return tombstone.Add(ctx, tx, e.Job, f.name, n)
	}); err != nil {
		return err
	}
	f.things[f.name] = 0
	return f.fail("erase " + f.name)
}

// Remains says what stays: of the slow one alone, and only once it is empty.
func (f fake) Remains(context.Context, string) (string, error) {
	if f.name == "quick" {
		return "", nil
	}
	return fmt.Sprintf("sums that had %d", f.things[f.name]), f.fail("remains")
}

// runner is a process of its own.
func (w *world) runner(owner string) *runner {
	return &runner{store: w.store, holds: w.holds, owner: owner, settle: 2 * time.Minute,
		log: 7 * 24 * time.Hour, claims: time.Hour, now: func() time.Time { return w.now }, scrubs: map[*sqldb.DB]time.Time{},
		tables: map[*sqldb.DB][]string{w.db: {"erasure", "not_there_yet"}},
		stores: []named{{fake{w, "quick", false}, "quick", true}, {fake{w, "slow", true}, "slow", false}},
		recount: func(context.Context, tombstone.Target) (int64, error) {
			w.did = append(w.did, "recount")
			return w.recount, w.fail("recount")
		}}
}

func (w *world) ask(spec Spec) *Erasure {
	w.Helper()
	e, err := w.store.Create(w.Context(), spec, "key", bound)
	if err != nil {
		w.Fatal(err)
	}
	return e
}

// carry does steps until there is nothing to be done now.
func (w *world) carry(r *runner) {
	w.Helper()
	for range 20 {
		e, err := r.store.take(w.Context(), r.owner)
		if err != nil {
			w.Fatal(err)
		}
		if e == nil {
			return
		}
		if err := r.carry(w.Context(), e); err != nil {
			w.Fatal(err)
		}
	}
	w.Fatal("it goes on for ever")
}

func (w *world) get(id string) *Erasure {
	w.Helper()
	e, err := w.store.Get(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return e
}

// quiet fails unless no erasure is under way, or one is, and returns the mark.
func (w *world) quiet(want bool) string {
	w.Helper()
	mark, quiet, err := w.store.Quiet(w.Context())
	if err != nil || quiet != want {
		w.Fatal("no erasure is under way:", quiet, err)
	}
	return mark
}

func anErasure(t *testing.T, url string) {
	w := newWorld(t, url)
	w.recount = 4
	before := w.quiet(true)
	id := w.ask(Spec{Fleet: "acme", Device: "pump-1", Reason: "pump-1 asked"}).ID
	r := w.runner("a")
	asked := w.now
	w.now = w.now.Add(time.Minute) // nobody was there
	w.carry(r)
	e := w.get(id)
	if e.State != Running || e.phase != settle || e.Until == nil || !e.Until.Equal(asked.Add(time.Minute)) ||
		e.Device != "pump-1" {
		t.Fatalf("%+v", e)
	}
	w.things["slow"] = 2 // a writer that did not know
	w.now = w.now.Add(119 * time.Second)
	w.carry(r)
	if w.things["slow"] != 2 {
		t.Fatal("the second pass came too early")
	}
	w.quiet(false)
	w.now = w.now.Add(2 * time.Second)
	w.carry(r)
	e = w.get(id)
	if e.State != Done || e.Erased["quick"] != 3 || e.Erased["slow"] != 7 || e.Recounted != 4 || w.things["slow"] != 0 ||
		!slices.Equal(e.Remains, []string{"sums that had 0"}) {
		t.Fatalf("%+v", e)
	}
	if after := w.quiet(true); after == before || w.quiet(true) != after {
		t.Fatalf("the mark before was %s, after it is %s", before, after)
	}
	raw, err := json.Marshal(e)
	if err != nil || strings.Contains(string(raw), "pump-1") || e.Subject != tombstone.Subject("acme", "pump-1") ||
		e.Reason != "(erased) asked" {
		t.Fatalf("the receipt: %s %v", raw, err)
	}
	if !e.DueBy.Equal(e.Until.Add(17 * time.Minute)) { // two stores of 300 MB
		t.Fatalf("due by %s", e.DueBy)
	}
	if !e.LogClearBy.Equal(w.now.Add(7*24*time.Hour)) || e.EndedAt.After(*e.DueBy) {
		t.Fatalf("%+v", e)
	}
	if got := fmt.Sprint(w.did); got != "[bury quick bury slow erase quick erase slow erase slow recount]" {
		t.Fatal(got)
	}
	for _, s := range w.buried {
		if s != tombstone.Of("acme", "pump-1", *e.Until) {
			t.Fatalf("%+v", s)
		}
	}
	list, err := w.store.list(t.Context(), "acme", tombstone.Subject("acme", "pump-1"), w.now, 10)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if n, err := w.store.overdue(t.Context()); err != nil || n != 0 {
		t.Fatal(n, err)
	}
}

func TestErasure_AnErasureIsDoneInTwoPassesAndItsReceiptNamesNobody(t *testing.T) {
	anErasure(t, sqliteURL(t))
}

func TestErasure_ErasuresAreCarriedOutInPostgresToo(t *testing.T) {
	base := require.Env(t, "WEIR_TEST_POSTGRES_URL")
	db, err := sqldb.Open(t.Context(), base)
	if err != nil {
		t.Fatal(err)
	}
	schema := fmt.Sprintf("erasure_test_%d", time.Now().UnixNano())
	if _, err := db.ExecContext(t.Context(), `CREATE SCHEMA `+schema); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.Exec(`DROP SCHEMA ` + schema + ` CASCADE`); err != nil {
			t.Error(err)
		}
		_ = db.Close()
	})
	join := "?"
	if strings.Contains(base, "?") {
		join = "&"
	}
	anErasure(t, base+join+"search_path="+schema)
}

// A process is killed after each thing that an erasure does, and another takes it
// up: it ends with everything erased, and with the same counts.
func TestErasure_AnErasureThatIsKilledAnywhereIsTakenUp(t *testing.T) {
	for _, at := range []string{"bury quick", "bury slow", "erase quick", "erase slow", "recount"} {
		w := newWorld(t, sqliteURL(t))
		id := w.ask(Spec{Fleet: "acme", Device: "pump-1", Reason: "why"}).ID
		dead := false
		w.fail = func(doing string) error {
			if doing == at && !dead {
				dead = true
				panic("killed")
			}
			return nil
		}
		for n := 0; !w.get(id).State.Ended(); n++ {
			func() {
				defer func() { _ = recover() }()
				w.carry(w.runner(fmt.Sprint("process ", n)))
			}()
			w.now = w.now.Add(lease + time.Second) // until another may take it
			if n > 30 {
				t.Fatalf("killed at %s, it never ends: %+v", at, w.get(id))
			}
		}
		if e := w.get(id); !dead || e.State != Done || e.Erased["quick"] != 3 || e.Erased["slow"] != 5 {
			t.Fatalf("killed at %s: %+v", at, e)
		}
		w.now = w.now.Add(time.Hour)
	}
}

func TestErasure_AnOutageDelaysAnErasureAndEndsIt(t *testing.T) {
	w := newWorld(t, sqliteURL(t))
	id := w.ask(Spec{Fleet: "acme", WholeFleet: true, Reason: "why"}).ID
	down := errors.New("the store of pump-1 is away")
	w.fail = func(doing string) error {
		if doing == "erase quick" {
			return down
		}
		return nil
	}
	w.carry(w.runner("a"))
	if e := w.get(id); e.State != Running || !strings.Contains(e.Error, "is away") || e.phase != begin {
		t.Fatalf("%+v", e)
	}
	if w.things["slow"] != 0 {
		t.Fatal("a store that is away kept another from being erased")
	}
	w.now = w.now.Add(18 * time.Minute)
	if n, err := w.store.overdue(t.Context()); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	down = nil
	w.carry(w.runner("a"))
	w.now = w.now.Add(5 * time.Minute)
	w.carry(w.runner("a"))
	if e := w.get(id); e.State != Done || e.Error != "" || w.buried[0] != tombstone.Of("acme", "", *e.Until) ||
		len(slices.Compact(w.buried)) != 1 {
		t.Fatalf("%+v %v", e, w.buried)
	}
}

// A hold refuses an erasure that has not begun, with its own words, and stops one
// that has until it is released.
func TestErasure_ALegalHoldIsInTheWay(t *testing.T) {
	w := newWorld(t, sqliteURL(t))
	ctx := t.Context()
	if _, err := w.holds.Place(ctx, "acme", "case 7", "counsel"); err != nil {
		t.Fatal(err)
	}
	refused := w.ask(Spec{Fleet: "acme", Device: "pump-1", Reason: "why"}).ID
	w.carry(w.runner("a"))
	if e := w.get(refused); e.State != Refused || !strings.Contains(e.Error, "case 7") ||
		!strings.Contains(e.Error, "counsel") || len(w.did) > 0 || e.Device != "" {
		t.Fatalf("%+v %v", e, w.did)
	}
	h := Handler(w.store, w.holds, nil)
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/erasures",
		strings.NewReader(`{"fleet":"acme","device_id":"pump-1","reason":"why"}`)))
	if answer.Code != http.StatusConflict || !strings.Contains(answer.Body.String(), "case 7") {
		t.Fatal(answer.Code, answer.Body)
	}
	if _, err := w.holds.Release(ctx, "acme", "counsel"); err != nil {
		t.Fatal(err)
	}
	id := w.ask(Spec{Fleet: "acme", Device: "pump-1", Reason: "why"}).ID
	w.fail = func(doing string) error {
		if doing == "erase quick" {
			_, err := w.holds.Place(ctx, "acme", "case 8", "counsel")
			return err
		}
		return nil
	}
	w.carry(w.runner("a"))
	if e := w.get(id); e.State != Held || !strings.Contains(e.Error, "case 8") || w.things["slow"] != 5 {
		t.Fatalf("%+v", e)
	}
	w.fail = func(string) error { return nil }
	if _, err := w.holds.Release(ctx, "acme", "counsel"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.now = w.now.Add(3 * time.Minute)
		w.carry(w.runner("a"))
	}
	if e := w.get(id); e.State != Done || e.Error != "" || w.things["slow"] != 0 {
		t.Fatalf("%+v", e)
	}
}

func TestErasure_ADryRunCountsAndErasesNothing(t *testing.T) {
	w := newWorld(t, sqliteURL(t))
	id := w.ask(Spec{Fleet: "acme", Device: "pump-1", Reason: "why", DryRun: true}).ID
	w.carry(w.runner("a"))
	if e := w.get(id); e.State != Done || e.Erased["slow"] != 5 || w.things["slow"] != 5 || len(w.did) > 0 ||
		e.Until != nil {
		t.Fatalf("%+v %v", e, w.did)
	}
}

func TestErasure_AnErasureIsAskedForOverHTTPAndWhatIsWrongIsSaid(t *testing.T) {
	w := newWorld(t, sqliteURL(t))
	fleets := []string{"acme"}
	h := Handler(w.store, w.holds, func(context.Context) ([]string, error) { return fleets, nil })
	ask := func(method, path, body string) (int, string) {
		t.Helper()
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
		return answer.Code, answer.Body.String()
	}
	status, body := ask("POST", "/v1/erasures", `{"device_id":"pump-1","reason":"why"}`)
	var e Erasure
	if err := json.Unmarshal([]byte(body), &e); err != nil || status != http.StatusCreated || e.Fleet != "acme" ||
		e.State != Queued {
		t.Fatal(status, body, err)
	}
	w.now = w.now.Add(time.Second)
	for path, has := range map[string]bool{"": true, "?fleet=acme": true, "?fleet=acme&device=pump-1": true,
		"?fleet=acme&device=pump-2": false, "?fleet=b": false} {
		if status, body := ask("GET", "/v1/erasures"+path, ""); status != 200 || strings.Contains(body, e.ID) != has {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _ := ask("GET", "/v1/erasures/"+e.ID, ""); status != 200 {
		t.Error(status)
	}
	if status, _ := ask("GET", "/v1/erasures/none", ""); status != 404 {
		t.Error(status)
	}
	fleets = []string{"acme", "other"}
	for body, says := range map[string]string{
		`{"device_id":"pump-1","reason":"why"}`:                                   "acme, other",
		`{"fleet":"acme","reason":"why"}`:                                         "whole_fleet",
		`{"fleet":"acme","device_id":"pump-1","whole_fleet":true,"reason":"why"}`: "not both",
		`{"fleet":"acme","device_id":"a b","reason":"why"}`:                       "no device_id",
		`{"fleet":"acme","device_id":"pump-1"}`:                                   "reason",
		`{"fleet":"a b","whole_fleet":true,"reason":"why"}`:                       "fleet",
		`{"fleet":"acme","device":"pump-1","reason":"why"}`:                       "unknown field",
		`{`: "reading the body",
	} {
		if status, answer := ask("POST", "/v1/erasures", body); status != 400 || !strings.Contains(answer, says) {
			t.Errorf("%s was answered %d %s", body, status, answer)
		}
	}
}
