package scenarios

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inventory is the output of tests/verify/inventory.py.
type inventory struct {
	Raw         lakeInventory `json:"raw"`
	DeadLetters lakeInventory `json:"dead_letters"`
	Rollups     struct {
		Rows       map[string]map[string]int
		Bytes      int64
		Partitions []string
	}
	Control struct {
		Rows  map[string]int
		Bytes int64
	}
}

type lakeInventory struct {
	Rows    map[string]int
	Digest  map[string]string
	Objects int
	Bytes   int64
}

// places are the URLs of the stores.
type places struct{ raw, deadLetters, rollups, control string }

func (s *system) places() places {
	return places{filepath.Join(s.data, "raw"), filepath.Join(s.data, "dead-letter"),
		filepath.Join(s.data, "rollups.db"), filepath.Join(s.data, "control.db")}
}

// taken returns an inventory of the stores, made with tools that share no code with weir.
func taken(t *testing.T, p places) (inv inventory) {
	t.Helper()
	if _, err := os.Stat(p.rollups); err == nil {
		writeRollups(t, p.rollups)
	}
	python, err := exec.Command(repo("tests/integration/venv.sh")).Output()
	if err != nil {
		t.Fatalf("making the Python environment: %v", err)
	}
	cmd := exec.Command(strings.TrimSpace(string(python)), "-B", repo("tests/verify/inventory.py"), p.raw, p.deadLetters,
		p.rollups, p.control)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("taking the inventory: %v", err)
	}
	if err := json.Unmarshal(out, &inv); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return inv
}

// retentionReport holds the fields of a retention report that the tests read.
type retentionReport struct {
	StartedAt time.Time `json:"started_at"`
	At        time.Time `json:"at"`
	Held      []string  `json:"held_fleets"`
	Stores    []struct {
		Store, Error, Lifecycle         string
		Rows, Kept, Partitions, Objects int
	}
	Freed []struct{ Store string }
}

func (r retentionReport) of(store string) (rows, kept int) {
	for _, s := range r.Stores {
		if s.Store == store {
			return s.Rows, s.Kept
		}
	}
	return -1, -1
}

// forget runs weir with the retention clock set to a time until runs find nothing more to delete, and returns the
// number of rows that they deleted, by store.
func (s *system) forget(at time.Time) (rows map[string]int) {
	s.t.Helper()
	s.env = []string{"WEIR_RETENTION_INTERVAL=1s", "WEIR_RETENTION_NOW=" + at.UTC().Format(time.RFC3339)}
	s.start()
	s.ready()
	defer s.end()
	return forgotten(s.t, at, func() (string, error) {
		return s.weir("retention", "--json", "--limit", "1000", "--data", s.data)
	})
}

// end stops weir with SIGTERM. Unlike stop it tolerates an unclean end: other tests check how streams drain.
func (s *system) end() {
	s.t.Helper()
	if err := s.up.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatalf("stopping weir: %v", err)
	}
	select {
	case err := <-s.done:
		if err != nil {
			s.t.Logf("weir up after SIGTERM: %v", err)
		}
		s.up = nil
	case <-time.After(90 * time.Second):
		s.t.Fatal("weir up did not end after SIGTERM")
	}
}

// forgotten waits until three polls in a row find that the newest run, with the clock at a time, deleted nothing. It
// returns the rows that all runs of that time deleted, by store.
func forgotten(t *testing.T, at time.Time, ask func() (string, error)) (rows map[string]int) {
	t.Helper()
	last, settled := "", 0
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		out, err := ask()
		last = fmt.Sprint(out, err)
		if err != nil {
			continue // a run may fail while the streams start
		}
		var answer struct{ Runs []retentionReport }
		if err := json.Unmarshal([]byte(out), &answer); err != nil {
			t.Fatal(err)
		}
		rows = map[string]int{}
		quiet := false
		for i, r := range answer.Runs {
			if !r.At.Equal(at.Truncate(time.Second)) {
				continue
			}
			sum := 0
			for _, store := range r.Stores {
				rows[store.Store] += store.Rows
				sum += store.Rows
			}
			quiet = quiet || i == 0 && sum == 0
		}
		if settled++; !quiet {
			settled = 0
		}
		if settled == 3 {
			return rows
		}
	}
	t.Fatalf("no run of %s ended and found nothing more:\n%s", at, last)
	return nil
}

// The retention clock is moved forward. What is expired by then leaves the stores and the disk, each store at its own
// age, except for the fleet under legal hold. The checks use pyarrow, sqlite3 and the file system.
func TestRetention_ForgetsOnTimeAndKeepsWhatIsHeld(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.env = s.judging()
	s.start()
	s.ready()
	s.createKey()
	other, err := s.weir("keys", "create", "--fleet", "plant-8", "--scope", "ingest,query,operate", "--data", s.data)
	if err != nil {
		t.Fatal(err)
	}
	_, first := s.fleet("--devices", "1500", "--rate", "1500", "--events", "9000", "--batch", "50", "--malformed", "2",
		"--duplicates", "3")
	s.key = strings.TrimSpace(other)
	_, second := s.fleet("--devices", "1500", "--rate", "1500", "--events", "9000", "--batch", "50", "--malformed", "2")
	first()
	second()
	s.drained()
	good := s.judged(fleetName, "plant-8")
	s.documented("docs/retention.md") // puts a hold on plant-8 at its end
	s.stop()                          // stores what is still batched

	before, now := taken(t, s.places()), time.Now()
	if before.Raw.Rows[fleetName] < 8000 || before.Raw.Rows["plant-8"] < 8000 || before.DeadLetters.Rows[fleetName] == 0 ||
		before.Rollups.Rows["rollup_window_1m"]["plant-8"] == 0 {
		t.Fatalf("there is too little to forget: %+v", before)
	}
	for fleet, g := range good {
		if g.Events != before.Raw.Rows[fleet] || g.Refused != before.DeadLetters.Rows[fleet] {
			t.Errorf("the data quality of %s is of %+v; there are %d events and %d dead letters", fleet, g,
				before.Raw.Rows[fleet], before.DeadLetters.Rows[fleet])
		}
	}

	in100, in750 := now.AddDate(0, 0, 100), now.AddDate(0, 0, 750)
	plan := s.plan(in100)
	for store, want := range map[string][2]int{
		"raw":          {before.Raw.Rows[fleetName], before.Raw.Rows["plant-8"]},
		"dead_letters": {before.DeadLetters.Rows[fleetName], before.DeadLetters.Rows["plant-8"]},
		"ledgers":      {before.Rollups.Rows["ledgers"][fleetName], before.Rollups.Rows["ledgers"]["plant-8"]},
		"rollups_1m":   {0, 0},
	} {
		if rows, kept := plan.of(store); rows != want[0] || kept != want[1] {
			t.Errorf("the dry run says of %s that %d rows would go and holds keep %d; the stores say %v", store, rows, kept,
				want)
		}
	}
	if after := taken(t, s.places()); fmt.Sprint(after.Raw, after.DeadLetters,
		after.Rollups.Rows) != fmt.Sprint(before.Raw, before.DeadLetters, before.Rollups.Rows) {
		t.Errorf("a dry run changed the stores:\n%+v\nwere\n%+v", after, before)
	}

	gone := s.forget(in100)
	after := taken(t, s.places())
	t.Logf("in 100 days: deleted %v; raw %d → %d bytes, dead letters %d → %d", gone, before.Raw.Bytes, after.Raw.Bytes,
		before.DeadLetters.Bytes, after.DeadLetters.Bytes)
	if after.Raw.Rows[fleetName]+after.DeadLetters.Rows[fleetName]+after.Rollups.Rows["ledgers"][fleetName] != 0 {
		t.Errorf("what is too old is still there: %+v", after)
	}
	if after.Raw.Digest["plant-8"] != before.Raw.Digest["plant-8"] ||
		after.DeadLetters.Digest["plant-8"] != before.DeadLetters.Digest["plant-8"] ||
		after.Rollups.Rows["ledgers"]["plant-8"] != before.Rollups.Rows["ledgers"]["plant-8"] {
		t.Errorf("the held fleet lost something: %+v, was %+v", after, before)
	}
	if after.Rollups.Rows["rollup_window_1m"][fleetName] != before.Rollups.Rows["rollup_window_1m"][fleetName] {
		t.Errorf("rollups of 100 days ago went: %v", after.Rollups.Rows)
	}
	if after.Raw.Bytes*10 > before.Raw.Bytes*7 {
		t.Errorf("the raw store takes %d bytes of %d", after.Raw.Bytes, before.Raw.Bytes)
	}

	gone = s.forget(in750)
	later := taken(t, s.places())
	t.Logf("in 750 days: deleted %v; rollups %d → %d bytes", gone, after.Rollups.Bytes, later.Rollups.Bytes)
	for _, table := range []string{"rollup_window_1m", "rollup_window_1h", "rollup_window_1d"} {
		if n := later.Rollups.Rows[table][fleetName]; n != 0 {
			t.Errorf("%s has %d rows of two years ago", table, n)
		}
		if n, want := later.Rollups.Rows[table]["plant-8"], before.Rollups.Rows[table]["plant-8"]; n < want {
			t.Errorf("%s has %d rows of the held fleet, of %d", table, n, want)
		}
	}
	if later.Control.Rows["audit_log"] < before.Control.Rows["audit_log"] {
		t.Errorf("the audit log went while a fleet was held: %v, was %v", later.Control.Rows, before.Control.Rows)
	}

	if _, err := s.weir("hold", "release", "--fleet", "plant-8", "--data", s.data); err != nil {
		t.Fatal(err)
	}
	gone = s.forget(in750)
	end := taken(t, s.places())
	t.Logf("after the hold: deleted %v; raw %d, rollups %d → %d bytes", gone, end.Raw.Bytes, later.Rollups.Bytes,
		end.Rollups.Bytes)
	if len(end.Raw.Rows)+len(end.DeadLetters.Rows)+len(end.Rollups.Rows["rollup_window_1m"])+len(
		end.Rollups.Rows["rollup_window_1d"]) != 0 || end.Raw.Objects != 0 {
		t.Errorf("something is left: %+v", end)
	}
	if end.Rollups.Bytes*4 > before.Rollups.Bytes || end.Control.Rows["legal_hold"] != 0 {
		t.Errorf("the empty database of rollups takes %d bytes, the full one took %d; control %v", end.Rollups.Bytes,
			before.Rollups.Bytes, end.Control.Rows)
	}
}

// plan returns the report of a dry run as of a time.
func (s *system) plan(at time.Time) (r retentionReport) {
	s.t.Helper()
	out, err := s.weir("retention", "--dry-run", "--at", at.UTC().Format(time.RFC3339), "--json", "--data", s.data)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	return r
}

// documented runs all commands of a page in one script, as they are printed; only addresses are replaced.
func (s *system) documented(page string) {
	s.t.Helper()
	raw, err := os.ReadFile(repo(page))
	if err != nil {
		s.t.Fatal(err)
	}
	bin := s.t.TempDir()
	if err := os.Symlink(s.bin, filepath.Join(bin, "weir")); err != nil {
		s.t.Fatal(err)
	}
	addresses := strings.NewReplacer("127.0.0.1:8080", s.addresses[0], "127.0.0.1:8090", s.addresses[1], "curl ",
		"curl -sS --fail-with-body ")
	script := "set -eu\n"
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(raw), -1)
	if len(blocks) == 0 {
		s.t.Fatalf("%s has no commands", page)
	}
	for _, block := range blocks {
		script += addresses.Replace(block[1])
	}
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	s.t.Logf("the commands of %s:\n%s", page, out)
	if err != nil {
		s.t.Fatalf("the commands of %s: %v", page, err)
	}
}
