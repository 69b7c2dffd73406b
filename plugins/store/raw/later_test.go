package raw

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
	"weir/plugins/store/lake"
	"weir/tests/integration/require"
)

// laterWorld is a raw store, and what was found out about some of its events.
type laterWorld struct {
	*output
	events int
	found  map[string]string // facts by event and look-up, of the first that was written
}

// newLaterWorld stores events over some hours in many small objects, and finds things
// out about a third of them, some by two processes, in an order of no meaning.
func newLaterWorld(t *testing.T, n int) *laterWorld {
	t.Helper()
	return newLaterWorldAt(t, lake.FileURL(t.TempDir()), n)
}

func newLaterWorldAt(t *testing.T, at string, n int) *laterWorld {
	t.Helper()
	r := rand.New(rand.NewPCG(7, uint64(n)))
	w := &laterWorld{output: connected(t, at, ""), events: n, found: map[string]string{}}
	w.now = func() time.Time { return noon.Add(4 * time.Hour) }
	var batch service.MessageBatch
	for i := range n {
		at := noon.Add(time.Duration(r.IntN(20_000)-10_000) * time.Second) // over midnight, too
		msg := record(0, int64(i), body(fmt.Sprintf("pump-%d", r.IntN(5)), i, at), noon.Add(time.Duration(i)*time.Second))
		if i%50 == 0 { // of no log
			msg = service.NewMessage([]byte(body("pump-1", i, at)))
			msg.MetaSetMut(event.HeaderFleet, "acme")
		}
		if i%4 > 0 {
			msg.MetaSetMut(event.HeaderEnrichFailed, "profile,region")
		}
		if batch = append(batch, msg); len(batch) == 100 {
			if err := w.WriteBatch(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			batch = nil
		}
	}
	var rows []Later
	_, err := NewReader(w.Store).Scan(t.Context(), Query{}, func(row *Row) error {
		if row.EnrichFailed != "" && r.IntN(3) == 0 {
			for _, lookup := range []string{"profile", "region"}[:1+r.IntN(2)] {
				l := LaterOf(row)
				l.Lookup, l.Version, l.Job, l.EnrichedAt = lookup, "0a1b2c3d", "job-1", int64(1000+len(rows))
				l.Facts = fmt.Appendf(nil, `{"context":{"n":%d}}`, len(rows))
				rows = append(rows, l)
				w.found[uuid.UUID(l.ID).String()+" "+lookup] = string(l.Facts)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range rows[:len(rows)/4] { // what another one has found since does not count
		l.Job, l.EnrichedAt, l.Facts = "job-2", l.EnrichedAt+1_000_000, []byte(`{"late":true}`)
		rows = append(rows, l)
	}
	r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	writer := NewLaterWriter(w.Store)
	for len(rows) > 0 {
		some := min(len(rows), 1+r.IntN(60))
		if erased, err := writer.Write(t.Context(), rows[:some]); err != nil || len(erased) > 0 {
			t.Fatal(erased, err)
		}
		rows = rows[some:]
	}
	return w
}

// beside reads what was found out beside all events, by event and look-up.
func (w *laterWorld) beside(t *testing.T) map[string]string {
	t.Helper()
	laters := NewLaters(t.Context(), w.Store, time.Time{})
	defer laters.Close()
	got, events := map[string]string{}, 0
	_, err := NewReader(w.Store).Scan(t.Context(), Query{}, func(row *Row) error {
		events++
		found, err := laters.Of(row)
		for _, l := range found {
			key := uuid.UUID(l.ID).String() + " " + l.Lookup
			if l.ID != row.ID || got[key] != "" {
				t.Errorf("%s is told of %x, or twice", key, row.ID)
			}
			got[key] = string(l.Facts)
		}
		return err
	})
	if err != nil || events != w.events {
		t.Fatal(events, err)
	}
	return got
}

// What was found out later is read beside the events, of each look-up what was found
// first, before and after objects were merged; GET /v1/events tells it page by page.
func TestLater_IsReadBesideTheEvents(t *testing.T) {
	w := newLaterWorld(t, 1500)
	for _, when := range []string{"before", "after"} {
		if got := w.beside(t); fmt.Sprint(got) != fmt.Sprint(w.found) {
			t.Fatalf("%s: %d of %d", when, len(got), len(w.found))
		}
		get := served(t, w.output)
		told, pages := map[string]string{}, 0
		v := url.Values{"from": {"2026-11-18T00:00:00Z"}, "to": {"2026-11-24T00:00:00Z"},
			"fields": {"event_id," + laterField}, "limit": {"400"}}
		for {
			answer, page := get(v)
			if answer.Code != http.StatusOK {
				t.Fatalf("%d %s", answer.Code, answer.Body)
			}
			pages++
			for _, e := range page.Events {
				list, _ := e[laterField].([]any)
				for _, one := range list {
					l := one.(map[string]any)
					facts, err := json.Marshal(l["facts"])
					if err != nil || l["version"] != "0a1b2c3d" || l["job"] == "" || l["enriched_at"] == "" {
						t.Fatal(l, err)
					}
					told[e["event_id"].(string)+" "+l["lookup"].(string)] = string(facts)
				}
			}
			if page.Next == nil {
				break
			}
			v.Set("cursor", *page.Next)
		}
		if fmt.Sprint(told) != fmt.Sprint(w.found) || pages != 4 {
			t.Fatalf("%s: %d pages tell %d of %d", when, pages, len(told), len(w.found))
		}
		if when == "before" {
			done, err := w.Store.Below(LaterFolder).Compact(t.Context(), laterTable(), eager(), time.Now().Add(time.Hour))
			if err != nil || done.Inputs < 10 {
				t.Fatalf("%+v, %v", done, err)
			}
		}
	}
	var out strings.Builder
	if _, err := NewReader(w.Store).Export(t.Context(), Export{Fields: laterField, Format: "csv"}, &out); err != nil ||
		strings.Count(out.String(), "0a1b2c3d") != len(w.found) {
		t.Errorf("%v: an export tells %d of %d", err, strings.Count(out.String(), "0a1b2c3d"), len(w.found))
	}
}

// An event for which no look-up failed costs nothing.
func TestLater_IsReadForEventsThatMissSomething(t *testing.T) {
	w := newLaterWorld(t, 100)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	laters := NewLaters(ctx, w.Store, time.Time{})
	defer laters.Close()
	whole, missing := 0, 0
	_, err := NewReader(w.Store).Scan(t.Context(), Query{}, func(row *Row) error {
		found, err := laters.Of(row)
		if row.EnrichFailed == "" {
			whole++
			return err
		}
		if missing++; err == nil {
			t.Errorf("nothing was read, and %d found", len(found))
		}
		return nil
	})
	if err != nil || whole != 25 || missing != 75 {
		t.Error(whole, missing, err)
	}
}

// Rows whose events were erased are refused, and named; they go with their day, but for
// those of a held fleet.
func TestLater_GoesWithItsEvents(t *testing.T) {
	w := newLaterWorld(t, 600)
	below := w.Store.Below(LaterFolder)
	rows := func() (n int64) {
		objects, err := below.Objects(t.Context(), lake.Select{})
		if err != nil {
			t.Fatal(err)
		}
		if err := below.Footers(t.Context(), objects, func(f lake.Footer) error { n += f.Rows; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := below.Bury(t.Context(), tombstone.Of("acme", "pump-1", noon.Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	before := rows()
	gone := Later{Fleet: "acme", Device: "pump-1", At: noon.UnixMicro(), ReceivedAt: noon.UnixMicro(), Delivery: noRecord,
		Lookup: "profile", Facts: []byte(`{}`)}
	stays := gone
	stays.Device = "pump-2"
	erased, err := NewLaterWriter(w.Store).Write(t.Context(), []Later{gone, stays})
	if err != nil || len(erased) != 1 || erased[0].Device != "pump-1" || rows() != before+1 {
		t.Errorf("%v, %v; %d rows of %d", erased, err, rows(), before)
	}
	for _, held := range [][]string{{"acme"}, nil} {
		pass := expire.Pass{Now: time.Now().AddDate(1, 0, 0),
			Held: func(context.Context) ([]string, error) { return held, nil }}
		removed, err := below.Retain(t.Context(), laterTable(), pass, 24*time.Hour)
		if want := map[bool]int64{true: 0, false: before + 1}[held != nil]; err != nil || removed.Rows != want {
			t.Errorf("held %v: %+v %v, expected %d", held, removed, err, want)
		}
	}
	if got := w.beside(t); len(got) > 0 {
		t.Errorf("%d are left", len(got))
	}
}

// On S3 it lies below the events' prefix, where those who read events do not look.
func TestLater_IsTheSameOnS3(t *testing.T) {
	u, err := url.Parse(require.Env(t, "WEIR_TEST_S3_URL"))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = fmt.Sprintf("/later-%d", time.Now().UnixNano())
	w := newLaterWorldAt(t, fmt.Sprintf("%q", u.String()), 300)
	t.Cleanup(func() {
		_ = w.Store.List(context.Background(), "", func(b lake.Blob) error {
			return w.Store.Remove(context.Background(), b.Key)
		})
	})
	if got := w.beside(t); fmt.Sprint(got) != fmt.Sprint(w.found) {
		t.Errorf("%d of %d", len(got), len(w.found))
	}
	below := 0
	err = w.Store.List(t.Context(), LaterFolder, func(lake.Blob) error { below++; return nil })
	if err != nil || below == 0 {
		t.Errorf("%d objects below %s: %v", below, LaterFolder, err)
	}
}

// DuckDB joins the two tables as docs/enrich.md says, and pyarrow reads the same rows.
func TestLater_OtherReadersJoinIt(t *testing.T) {
	interpreter := require.Python(t, "../../..")
	w := newLaterWorld(t, 800)
	at, err := url.Parse(w.URL)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(interpreter, "-c", `
import duckdb, glob, json, sys, uuid, pyarrow.parquet as pq
folder = sys.argv[1]
sql = open("../../../docs/enrich.md").read().split("`+"```sql"+`\n")[1].split("`+"```"+`")[0].replace("data/user-raw", folder)
joined = duckdb.connect().execute(sql).fetchall()
first = {}
for name in glob.glob(folder + "/enriched/date=*/*.parquet"):
    for row in pq.ParquetFile(name).read().to_pylist():
        key = (row["fleet"], row["event_id"], row["lookup"])
        if key not in first or row["enriched_at"] < first[key]["enriched_at"]:
            first[key] = row
found = {}
for event, lookup, facts in joined:
    if lookup is not None:
        found[str(event) + " " + lookup] = json.dumps(json.loads(facts), separators=(",", ":"))
other = {str(uuid.UUID(bytes=k[1])) if isinstance(k[1], bytes) else str(k[1]): 1 for k in first}
assert len(first) == len(found), (len(first), len(found))
assert {k.split(" ")[0] for k in found} == set(other)
for row in first.values():
    row["event_id"] = str(uuid.UUID(bytes=row["event_id"])) if isinstance(row["event_id"], bytes) else str(row["event_id"])
    facts = row["facts"].decode() if isinstance(row["facts"], bytes) else row["facts"]
    assert found[row["event_id"] + " " + row["lookup"]] == facts, row
print(json.dumps({"events": len({e for e, _, _ in joined}), "found": found}))
`, at.Path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var read struct {
		Events int
		Found  map[string]string
	}
	if err := json.Unmarshal(out, &read); err != nil || read.Events != w.events ||
		fmt.Sprint(read.Found) != fmt.Sprint(w.found) {
		t.Errorf("%v: %d events, %d found of %d", err, read.Events, len(read.Found), len(w.found))
	}
}
