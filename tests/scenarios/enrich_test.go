package scenarios

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"weir/plugins/operate/replay"
	"weir/tests/integration/require"
)

// look returns the YAML of an HTTP look-up, as the ingest and replay streams use it.
func look(name, key, url, indent string) string {
	return strings.ReplaceAll(fmt.Sprintf(`    - name: %s
      key: ${! %s }
      result_map: root.context.%s = this
      processors:
        - label: ask_%s
          http: { url: "%s/${! content().string().escape_url_query() }", verb: GET, retries: 0 }
`, name, key, name, name, url), "\n", "\n"+indent)
}

// lookingUp adds look-ups to the ingest and replay streams of user events.
func (s *system) lookingUp(url string) {
	s.t.Helper()
	for file, at := range map[string][2]string{"user_ingest.yaml": {"    # before validate:", "    "},
		"user_replay.yaml": {"            # Where user_ingest has `enrich`", "            "}} {
		path := filepath.Join(s.dir, "configs", "streams", file)
		raw, err := os.ReadFile(path)
		if err != nil {
			s.t.Fatal(err)
		}
		indent := at[1] + "    "
		add := at[1] + "- label: enrich\n" + at[1] + "  enrich:\n" + at[1] + "    lookups:\n" +
			indent + look("profile", "this.device_id", url+"/profile", indent) +
			look("place", "this.context.ip", url+"/place", indent)
		add = strings.TrimRight(add, " ") // the insertion ends with a line break
		text := strings.Replace(string(raw), at[0], add+at[0], 1)
		if text == string(raw) {
			s.t.Fatalf("%s says nowhere where look-ups go", file)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
}

// The profile service is down while user events come in: they are stored without profiles. Once it is back, an enrich
// job asks again and is killed half way. Each event is enriched once and counted once, personal data in the answers
// is masked, and a look-up whose key (an IP address) was not stored is reported as such. A second run changes
// nothing. The command is that of docs/enrich.md.
func TestEnrich_LookUpsThatFailedAreAskedLaterOnce(t *testing.T) {
	t.Parallel()
	const events = 5000
	var there atomic.Bool
	var asked atomic.Int64
	profiles := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !there.Load() {
			http.Error(w, "away", http.StatusInternalServerError)
			return
		}
		asked.Add(1)
		_, _ = fmt.Fprintf(w, `{"plan":"gold","contact":"ann.%s@example.com"}`, filepath.Base(r.URL.Path))
	}))
	defer profiles.Close()
	s := newSystem(t)
	gate := s.withPeople(nil)
	s.lookingUp(profiles.URL)
	s.start()
	s.ready()
	s.createKey()
	s.listens(gate)
	id := ""
	for first := 0; first < events; first += 100 {
		var list []string
		for i := first; i < first+100; i++ {
			id = uuid.NewString()
			list = append(list, fmt.Sprintf(`{"event_id":%q,"device_id":"browser-%d","device_firmware_version":"1.2.0",`+
				`"timestamp":%q,"metrics":{},"metadata":{"type":"page_viewed"},"user":{"id":"u-%d"},"context":{"ip":"203.0.113.%d"}}`,
				id, i, time.Now().UTC().Format(time.RFC3339Nano), i, i%200+1))
		}
		status, body := s.request("http://"+gate+"/v1/events", http.MethodPost, s.key, "["+strings.Join(list, ",")+"]")
		if status != http.StatusAccepted {
			t.Fatalf("%d %.300s", status, body)
		}
	}
	s.explained(events)
	there.Store(true)
	raw, err := os.ReadFile(repo("docs/enrich.md"))
	if err != nil {
		t.Fatal(err)
	}
	commands := shell(string(raw))
	if len(commands) != 1 {
		t.Fatalf("docs/enrich.md has %d commands", len(commands))
	}
	now := time.Now().UTC()
	words := strings.Fields(strings.NewReplacer("2026-11-20T10:00:00Z", now.Add(-time.Hour).Format(time.RFC3339),
		"2026-11-20T11:00:00Z", now.Add(time.Hour).Format(time.RFC3339), `"profiles were away"`, "away").Replace(commands[0]))
	ended := s.replay(append(words[2:], "--rate", "400")...)
	s.killMidway()
	s.start()
	s.ready()
	want := []replay.Account{{Lookup: "place", LookedAt: events, KeyNotStored: events},
		{Lookup: "profile", LookedAt: events, Enriched: events}}
	if j := ended(); j.State != "done" || j.Progress.Read != events || fmt.Sprint(j.Progress.Lookups) != fmt.Sprint(want) {
		t.Fatalf("%+v, expected %+v", j, want)
	}
	if n := asked.Load(); n < events || n > events+2500 {
		t.Errorf("%d were asked for, of %d", n, events)
	}
	if report := s.explained(events); !strings.Contains(report, fmt.Sprintf(
		"%d rows of what look-ups said later compared with their events: %d right, 0 differing\n", events, events)) {
		t.Errorf("the proof says of what was found out later:\n%s", report)
	}
	var lineage struct {
		Stored []struct {
			EnrichFailed []string `json:"enrich_failed"`
			Later        []struct {
				Lookup, Version, Job string
				Facts                struct {
					Context struct{ Profile map[string]string }
				}
			} `json:"enriched_later"`
		}
	}
	s.get("/v1/events/"+id+"/lineage?log=user-events", s.key, &lineage)
	if len(lineage.Stored) != 1 || len(lineage.Stored[0].EnrichFailed) != 2 || len(lineage.Stored[0].Later) != 1 {
		t.Fatalf("%+v", lineage)
	}
	if l := lineage.Stored[0].Later[0]; l.Lookup != "profile" || l.Facts.Context.Profile["plan"] != "gold" ||
		!strings.HasPrefix(l.Facts.Context.Profile["contact"], "pii-") || len(l.Version) != 8 {
		t.Errorf("%+v", l)
	}
	before := asked.Load()
	want[1] = replay.Account{Lookup: "profile", LookedAt: events, Already: events}
	if j := s.replay(words[2:]...)(); j.State != "done" || fmt.Sprint(j.Progress.Lookups) != fmt.Sprint(want) ||
		asked.Load() != before {
		t.Errorf("run again: %+v, and %d were asked for", j, asked.Load()-before)
	}
	if out, err := s.weir("privacy", "scan", "--log", "user-events", "--stores", "raw,enriched", "--data", s.data,
		"--json"); err != nil || !strings.Contains(out, `"store": "enriched"`) {
		t.Errorf("%v\n%s", err, out)
	}
	out, err := exec.Command(require.Python(t, repo(".")), "-c", `
import glob, json, sys, pyarrow.parquet as pq
rows = [row for name in glob.glob(sys.argv[1] + "/enriched/date=*/*.parquet") for row in pq.ParquetFile(name).read().to_pylist()]
events = {str(row["event_id"]) for name in glob.glob(sys.argv[1] + "/date=*/*.parquet")
          for row in pq.ParquetFile(name).read(columns=["event_id"]).to_pylist()}
key = lambda row: str(row["event_id"])
assert all(json.loads(row["facts"])["context"]["profile"]["plan"] == "gold" for row in rows)
assert {key(row) for row in rows} == events
print(len(rows), len({key(row) for row in rows}))
`, filepath.Join(s.data, "user-raw")).CombinedOutput()
	if want := fmt.Sprintf("%d %d\n", events, events); err != nil || string(out) != want {
		t.Errorf("another reader: %v %s, expected %s", err, out, want)
	}
}
