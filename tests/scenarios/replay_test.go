package scenarios

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	_ "modernc.org/sqlite" // driver "sqlite"

	"weir/internal/platform/sqldb"
	"weir/plugins/operate/replay"
	"weir/plugins/store/rollup"
)

// replayJob holds the fields of a replay job that the tests read.
type replayJob struct {
	State    string
	Error    string
	Progress struct {
		Read, Published, Skipped, Refused, Windows, Left int64
		Lookups                                          []replay.Account
	}
	Preview struct{ Letters, Resolved int64 }
}

// replay starts 'weir replay'; the function it returns waits for the end and returns the job.
func (s *system) replay(args ...string) func() replayJob {
	s.t.Helper()
	cmd := exec.Command(s.bin, append([]string{"replay", "--data", s.data, "--json", "--reason", "test"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return func() (j replayJob) {
		s.t.Helper()
		if err := cmd.Wait(); err != nil {
			s.t.Fatalf("weir replay %v: %v\n%s%s", args, err, out.String(), errs.String())
		}
		if err := json.Unmarshal(out.Bytes(), &j); err != nil {
			s.t.Fatalf("weir replay %v: %v\n%s", args, err, out.String())
		}
		return j
	}
}

// killMidway waits until a job has read a part of its input, and kills weir. Afterwards the control store must say
// that the job had not ended.
func (s *system) killMidway() {
	s.t.Helper()
	admin, err := s.weir("keys", "create", "--admin", "--data", s.data)
	if err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		var list struct{ Replays []replayJob }
		s.get("/v1/replays?state=running", strings.TrimSpace(admin), &list)
		if len(list.Replays) == 1 && list.Replays[0].Progress.Read > 0 {
			break
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("no replay was found half way: %+v", list)
		}
	}
	s.kill()
	s.sqlAt("control.db", func(db *sql.DB) error {
		var progress string
		if err := db.QueryRow(`SELECT progress FROM replay_job WHERE state = 'running'`).Scan(&progress); err != nil {
			return fmt.Errorf("the job ended before it was killed: %w", err)
		}
		s.t.Logf("killed at %s", progress)
		return nil
	})
}

// get sends a GET request to the API, expects 200 and decodes the answer.
func (s *system) get(path, key string, into any) {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+s.addresses[1]+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-API-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("GET %s: %d %v", path, resp.StatusCode, err)
	}
}

// drained waits until the raw, rollup and dead-letter groups have committed everything in the log.
func (s *system) drained() {
	s.t.Helper()
	client, err := kgo.NewClient(s.brokerOptions()...)
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	for {
		left, err := undone(ctx, admin)
		if err == nil && left == 0 {
			return
		}
		if ctx.Err() != nil {
			s.t.Fatalf("%d records are still to be processed: %v", left, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// undone counts the records that the groups have not committed. A partition without a commit counts in full.
func undone(ctx context.Context, admin *kadm.Client) (left int64, err error) {
	for group, topics := range map[string][]string{
		"weir-raw": {"raw-events", "replay-events"}, "weir-rollup": {"raw-events", "replay-events"},
		"weir-dead-letter": {"dead-letter"},
	} {
		ends, err := admin.ListEndOffsets(ctx, topics...)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return 0, err
		}
		committed, err := admin.FetchOffsets(ctx, group)
		if err != nil {
			return 0, err
		}
		ends.Each(func(end kadm.ListedOffset) {
			at, _ := committed.Lookup(end.Topic, end.Partition)
			left += end.Offset - max(at.At, 0)
		})
	}
	return left, nil
}

// What is compared of a window. detail holds the rounding remainder of sums, which depends on the order of events and
// is never shown.
const (
	everyBit   = "metrics || stats || hex(detail) || hex(ledger)"
	everyValue = "metrics || stats || hex(ledger)"
)

// rollups returns the given columns of every stored window, by fleet, device and bucket.
func (s *system) rollups(content string) map[string]string {
	s.t.Helper()
	windows := map[string]string{}
	s.sql(func(db *sql.DB) error {
		rows, err := db.Query(`SELECT fleet, device_id, bucket, ` + content + ` FROM rollup_window_1m`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var fleet, device, content string
			var bucket int64
			if err := rows.Scan(&fleet, &device, &bucket, &content); err != nil {
				return err
			}
			windows[fmt.Sprint(fleet, " ", device, " ", bucket)] = content
		}
		return rows.Err()
	})
	if len(windows) == 0 {
		s.t.Fatal("there are no rollups")
	}
	return windows
}

// sameValues compares two contents of everyValue. Sums and variances may differ by rounding: a rebuild adds the same
// numbers in another order.
func sameValues(a, b string) bool {
	a, stats, ok := cutStats(a)
	b, others, also := cutStats(b)
	if !ok || !also || a != b || len(stats) != len(others) {
		return false
	}
	for i, x := range stats {
		if y := others[i]; math.Abs(x-y) > 1e-9*max(math.Abs(x), math.Abs(y)) {
			return false
		}
	}
	return true
}

// cutStats separates the numbers of the stats from the rest of a window's content.
func cutStats(content string) (rest string, stats []float64, ok bool) {
	metrics, after, ok := strings.Cut(content, "][")
	if !ok {
		return "", nil, false
	}
	numbers, ledger, ok := strings.Cut(after, "]")
	if !ok || json.Unmarshal([]byte("["+numbers+"]"), &stats) != nil {
		return "", nil, false
	}
	return metrics + " " + ledger, stats, true
}

// sql calls do with the rollup database, after all rows of its journal are written out.
func (s *system) sql(do func(*sql.DB) error) {
	s.t.Helper()
	writeRollups(s.t, filepath.Join(s.data, "rollups.db"))
	s.sqlAt("rollups.db", do)
}

// writeRollups writes the rollup rows that are only in the journal. Any process may do that, also while weir runs.
func writeRollups(t *testing.T, path string) {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite://"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store, err := rollup.Open(t.Context(), db, rollup.DefaultLimits())
	if err == nil {
		err = store.WriteOut(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s *system) sqlAt(file string, do func(*sql.DB) error) {
	s.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.data, file)+"?_pragma=busy_timeout(10000)")
	if err == nil {
		defer db.Close()
		err = do(db)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) sameRollups(want map[string]string, content, after string) {
	s.t.Helper()
	same := func(a, b string) bool { return a == b }
	if content == everyValue {
		same = sameValues
	}
	got := s.rollups(content)
	wrong := 0
	for key, content := range want {
		if !same(got[key], content) {
			if wrong++; wrong == 1 {
				s.t.Logf("%s was\n%s\nand is\n%s", key, content, got[key])
			}
		}
	}
	if wrong > 0 || len(got) != len(want) {
		s.t.Fatalf("%s, %d of %d windows differ, and there are %d", after, wrong, len(want), len(got))
	}
}

// The same events are replayed three times, with a kill in the middle of each: the rollups stay the same, to the bit.
// Then some windows are corrupted, and a rebuild corrects them.
func TestReplay_ReplaysAndRebuildsLeaveRollupsAsTheyShouldBe(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	_, wait := s.fleet("--devices", "200", "--rate", "2500", "--events", "20000", "--batch", "50", "--connections", "8",
		"--duplicates", "1", "--malformed", "1", "--late", "2", "--clock-ahead", "1", "--retry")
	t.Logf("weir fleet:\n%s", wait())
	s.drained()
	before, values := s.rollups(everyBit), s.rollups(everyValue)
	from, to := time.Now().Add(-48*time.Hour).UTC().Format(time.RFC3339),
		time.Now().Add(time.Hour).UTC().Format(time.RFC3339)

	for range 3 {
		ended := s.replay("--mode", "reprocess", "--from", from, "--to", to, "--rate", "4000")
		s.killMidway()
		s.start()
		s.ready()
		j := ended()
		if j.State != "done" || j.Progress.Read < 19000 || j.Progress.Published != j.Progress.Read {
			t.Fatalf("the replay: %+v", j)
		}
		s.drained()
		s.sameRollups(before, everyBit, "after a replay")
	}

	s.sql(func(db *sql.DB) error {
		_, err := db.Exec(`UPDATE rollup_window_1m SET metrics = o.metrics, stats = o.stats, detail = o.detail
			FROM (SELECT metrics, stats, detail FROM rollup_window_1m ORDER BY device_id LIMIT 1) o`)
		return err
	})
	j := s.replay("--mode", "rebuild", "--from", from, "--to", to)()
	if int(j.Progress.Windows) != len(before) || j.Progress.Left != 0 {
		t.Fatalf("the rebuild of %d windows: %+v", len(before), j)
	}
	s.sameRollups(values, everyValue, "after a rebuild")
	s.verify(90 * time.Second)
	s.reconcile()
}

// Devices with a new firmware send before its schema is registered: their events become dead letters. Once the schema
// is registered, a redrive brings in each event once, although it is killed half way and run again.
func TestReplay_ARedriveAfterASchemaFixBringsInEachEventOnce(t *testing.T) {
	t.Parallel()
	const events = 10_000
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	s.early(events)
	s.drained()

	preview := s.replay("--mode", "redrive", "--code", "unknown_firmware", "--dry-run")()
	if preview.Preview.Letters != events || preview.Progress.Published != 0 {
		t.Fatalf("the preview: %+v", preview)
	}
	if j := s.replay("--mode", "redrive", "--code", "unknown_firmware")(); j.Progress.Refused != events ||
		j.Progress.Published != 0 {
		t.Fatalf("without a schema, all are refused again: %+v", j)
	}
	v3, err := os.ReadFile(repo("schemas/telemetry/v3.json"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.dir, "v7.json")
	if err := os.WriteFile(path, bytes.ReplaceAll(v3, []byte(">=3.0.0 <4.0.0"), []byte(">=7.0.0 <8.0.0")),
		0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.weir("schema", "register", path, "--data", s.data); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Second) { // the schema is not in force at once
		ended := s.replay("--mode", "redrive", "--code", "unknown_firmware", "--rate", "3000")
		s.killMidway()
		s.start()
		s.ready()
		if j := ended(); j.Progress.Refused == 0 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the schema is registered, and events are refused: %+v", j)
		}
	}
	again := s.replay("--mode", "redrive", "--code", "unknown_firmware")()
	if again.Progress.Published != 0 || again.Progress.Skipped != events {
		t.Fatalf("each dead letter is resolved once: %+v", again)
	}
	s.drained()
	s.sql(func(db *sql.DB) error {
		var counted int64
		if err := db.QueryRow(`SELECT sum(count) FROM rollup_1m WHERE metric = 'cpu_temp'`).Scan(&counted); err != nil {
			return err
		}
		if counted != events {
			t.Errorf("%d events are counted of %d", counted, events)
		}
		return nil
	})
	s.reconcile()
	if stored := s.stored(); stored != events {
		t.Errorf("%d events are stored of %d", stored, events)
	}
}

// early posts n events of a firmware that no schema knows.
func (s *system) early(n int) {
	s.t.Helper()
	now := time.Now().UTC()
	for first := 0; first < n; first += 100 {
		var list []string
		for i := first; i < first+100; i++ {
			list = append(list, fmt.Sprintf(`{"event_id":%q,"device_id":"new-%d","device_firmware_version":"7.0.1","timestamp":%q,"metrics":{"cpu_temp":%d.5,"battery_voltage":3.7}}`,
				uuid.NewString(), i%50, now.Add(-time.Duration(i)*100*time.Millisecond).Format(time.RFC3339Nano), 40+i%20))
		}
		req, err := http.NewRequest(http.MethodPost, "http://"+s.addresses[0]+"/v1/events",
			strings.NewReader("["+strings.Join(list, ",")+"]"))
		if err != nil {
			s.t.Fatal(err)
		}
		req.Header.Set("X-API-Key", s.key)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			s.t.Fatalf("events of an unknown firmware were answered %d", resp.StatusCode)
		}
	}
}

// stored counts the events that the API returns for the last two hours.
func (s *system) stored() (n int) {
	s.t.Helper()
	page := fmt.Sprintf("/v1/events?limit=5000&from=%s&to=%s&cursor=",
		time.Now().Add(-2*time.Hour).UTC().Format(time.RFC3339), time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	for cursor := ""; ; {
		var found struct {
			Events []json.RawMessage
			Next   *string
		}
		s.get(page+cursor, s.key, &found)
		if n += len(found.Events); found.Next == nil {
			return n
		}
		cursor = *found.Next
	}
}
