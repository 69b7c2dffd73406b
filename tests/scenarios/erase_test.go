package scenarios

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// receipt holds the fields of an erasure that the tests read.
type receipt struct {
	ID, State, Error, Reason string
	Device                   string `json:"device_id"`
	Until                    time.Time
	CreatedAt                time.Time `json:"created_at"`
	EndedAt                  time.Time `json:"ended_at"`
	Erased                   map[string]int64
	Recounted                int64 `json:"recounted_events"`
}

// A device, another that goes on sending, a whole fleet and a person are erased at the same time. weir is killed once
// during the first pass and once while the erasures wait for their second. Afterwards an independent reader finds
// nothing of them, not even after everything that is left was replayed, rebuilt and redriven. Events that a device
// sent after its erasure are stored and counted, and every offset stays explained. The commands are those of
// docs/erasure.md.
func TestErase_ErasedDevicesStayErased(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.noting()
	s.env = []string{"WEIR_RECONCILE_INTERVAL=1h", "WEIR_RAW_PERIOD=1s", "WEIR_ROLLUP_PERIOD=500ms", "WEIR_RULES_IDLE=2s"}
	s.start()
	s.ready()
	s.createKey()
	other, err := s.weir("keys", "create", "--fleet", "plant-8", "--scope", "ingest,query,operate", "--data", s.data)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := s.weir("keys", "create", "--admin", "--data", s.data)
	if err != nil {
		t.Fatal(err)
	}
	other, admin = strings.TrimSpace(other), strings.TrimSpace(admin)
	devices := []string{"pump-7", "valve-7", "pump-70"}
	for _, d := range devices {
		s.story(s.key, d)
	}
	for _, d := range []string{"a-8", "pump-7"} { // pump-7 of another fleet
		s.story(other, d)
	}
	s.administer(admin, http.MethodPut, "/v1/groups/line?fleet=plant-7", `{"devices":["pump-7","pump-70"]}`)
	s.administer(admin, http.MethodPut, "/v1/groups/all", `{"devices":["pump-7"]}`)
	s.administer(admin, http.MethodPut, "/v1/groups/theirs?fleet=plant-8", `{"devices":["a-8"]}`)
	people := s.people()
	s.drained()
	day := []string{"--from", time.Now().Add(-72 * time.Hour).UTC().Format(time.RFC3339), "--to",
		time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}
	s.replay(append([]string{"--mode", "reprocess", "--device", "pump-7"}, day...)...)()
	s.replay(append([]string{"--mode", "redrive", "--device", "pump-7", "--dry-run"}, day...)...)()
	if j := s.replay("--mode", "redrive", "--code", "unknown_firmware")(); j.Progress.Refused == 0 {
		t.Fatalf("no outcome was noted: %+v", j)
	}
	s.alerted(5)

	if _, err := s.weir("erase", "--fleet", "plant-7", "--reason", "by mistake", "--data", s.data); err == nil ||
		!strings.Contains(err.Error(), "--yes") {
		t.Fatalf("a whole fleet without --yes: %v", err)
	}
	s.administer(admin, http.MethodPut, "/v1/holds/plant-7", `{"reason":"case 7"}`)
	if _, err := s.weir("erase", "--device", "pump-7", "--fleet", "plant-7", "--reason", "too early", "--data",
		s.data); err == nil || !strings.Contains(err.Error(), "case 7") {
		t.Fatalf("under legal hold: %v", err)
	}
	s.administer(admin, http.MethodDelete, "/v1/holds/plant-7", "")

	commands := docCommands(t, "docs/erasure.md")
	dry := s.command(commands[0]+" --json", admin)()
	for _, what := range []string{"raw_rows", "dead_letters", "rollup_windows_1m", "alerts", "anomaly_baselines",
		"group_memberships", "replay_jobs", "audit_log_entries"} {
		if dry.Erased[what] == 0 {
			t.Errorf("before: no %s of the device: %v", what, dry.Erased)
		}
	}
	if t.Failed() || dry.State != "done" || dry.Device != "" {
		t.Fatalf("the dry run: %+v", dry)
	}
	out, err := s.found("plant-7", "pump-7", time.Now(), "--silent", "--kept", "pump-70=61")
	for _, sees := range []string{"has event", "has dead letter", "control.db alert.device_id names",
		"rollups.db rollup_window_1m.device_id names", "holds the name", "62 rows of pump-70"} {
		if err == nil || !strings.Contains(out, sees) {
			t.Fatalf("the reader does not see what is there (%s): %s", sees, out)
		}
	}
	began := time.Now()
	device := s.command(commands[1]+" --json", admin)
	sending := s.command(`weir erase --device valve-7 --fleet plant-7 --reason "goes on" --json`, admin)
	fleet := s.command(commands[2]+" --json", admin)
	person := s.command(`weir erase --person `+annAt+` --fleet shop --reason "`+ann+` asked" --json`, admin)
	s.erasing(admin, 4, 1) // in the first pass; all requests are acknowledged
	s.kill()
	s.start()
	s.ready()
	s.erasing(admin, 4, 4)
	later := s.postOf(s.key, "valve-7", 40, time.Now(), 55)
	time.Sleep(20 * time.Second) // the second pass is due later
	s.kill()
	s.start()
	s.ready()
	gone, on, all, forgotten := device(), sending(), fleet(), person()
	t.Logf("person: %+v", forgotten)
	t.Logf("device: %+v", gone)
	t.Logf("one that goes on: %+v", on)
	t.Logf("fleet: %+v", all)
	if took := time.Since(began); took > 15*time.Minute {
		t.Errorf("they took %s", took)
	}
	for what, n := range dry.Erased {
		rolled := what == "rollup_windows_1h" || what == "rollup_windows_1d" // may not be rolled up yet at the dry run
		if gone.Erased[what] != n && what != "audit_log_entries" &&          // the erasure adds one that names the device
			(!rolled || gone.Erased[what] < n) {
			t.Errorf("%d %s were erased, of %d", gone.Erased[what], what, n)
		}
	}
	if gone.Erased["dead_letter_outcomes"] == 0 || gone.Device != "" {
		t.Errorf("%+v", gone)
	}
	if out := s.shell(commands[3], admin); !strings.Contains(out, gone.ID) {
		t.Errorf("the receipt is not found by the device's name: %s", out)
	}
	look := func(neighbour int) {
		t.Helper()
		s.erased("plant-7", "pump-7", gone.Until, "--kept", fmt.Sprint("pump-70=", neighbour))
		s.erased("plant-8", "", all.Until)
		s.left("valve-7", on.Until, len(later))
		s.forgotten(people, forgotten.Until)
	}
	look(62)
	for _, mode := range []string{"reprocess", "rebuild"} {
		s.replay(append([]string{"--mode", mode}, day...)...)()
	}
	s.widen() // now a schema knows the firmware of the dead letters
	s.replay("--mode", "redrive")()
	s.drained()
	time.Sleep(3 * time.Second)
	look(63) // with the event of its dead letter
	if out := s.shell(commands[4]+" --deep", admin); !strings.Contains(out, "Every record is explained") ||
		!regexp.MustCompile(`ERASED`).MatchString(out) {
		t.Errorf("%s", out)
	}
}

// story sends everything that a device can leave behind: events of two days, an alert, and dead letters of three
// kinds; of one kind, only the raw bytes name the device.
func (s *system) story(key, device string) {
	s.t.Helper()
	now := time.Now()
	s.postOf(key, device, 20, now.Add(-24*time.Hour), 55)
	s.postOf(key, device, 39, now.Add(-10*time.Minute), 55)
	s.postOf(key, device, 1, now, 55)
	s.alarm(key, device, now)
	for _, bad := range []string{
		fmt.Sprintf(`{"event_id":%q,"device_id":%q,"device_firmware_version":"2.0.0","timestamp":%q,"metrics":{"cpu_temp":"hot"}}`, uuid.NewString(), device, now.UTC().Format(time.RFC3339)),
		fmt.Sprintf(`{"event_id":%q,"device_id":%q,"device_firmware_version":"7.0.1","timestamp":%q,"metrics":{"cpu_temp":41.5,"battery_voltage":3.7}}`, uuid.NewString(), device, now.UTC().Format(time.RFC3339)),
		fmt.Sprintf(`{broken "device_id":%q`, device),
	} {
		if status, body := s.sendTo(key, bad); status != http.StatusBadRequest {
			s.t.Fatalf("%s was answered %d %s", bad, status, body)
		}
	}
}

// postOf sends n events at one-second intervals that end at a time, and returns their ids.
func (s *system) postOf(key, device string, n int, until time.Time, temperature float64) (ids []string) {
	s.t.Helper()
	var list []string
	for i := range n {
		id := uuid.NewString()
		ids = append(ids, id)
		list = append(list, fmt.Sprintf(`{"event_id":%q,"device_id":%q,"device_firmware_version":"2.0.0","timestamp":%q,"metrics":{"cpu_temp":%g,"battery_voltage":3.7,"vibration":0.2}}`,
			id, device, until.Add(time.Duration(i-n)*time.Second).UTC().Format(time.RFC3339Nano), temperature))
	}
	if status, body := s.sendTo(key, "["+strings.Join(list, ",")+"]"); status != http.StatusAccepted {
		s.t.Fatalf("events were answered %d %s", status, body)
	}
	return ids
}

// alarm opens an alert: two events with a low battery, dated so that they are the device's newest.
func (s *system) alarm(key, device string, now time.Time) {
	s.t.Helper()
	for i := range 2 {
		event := fmt.Sprintf(`{"event_id":%q,"device_id":%q,"device_firmware_version":"2.0.0","timestamp":%q,"metrics":{"cpu_temp":50,"battery_voltage":2.9,"vibration":0.2}}`,
			uuid.NewString(), device, now.Add(time.Duration(i)*time.Second).UTC().Format(time.RFC3339Nano))
		if status, body := s.sendTo(key, event); status != http.StatusAccepted {
			s.t.Fatalf("answered %d %s", status, body)
		}
	}
}

func (s *system) sendTo(key, body string) (int, string) {
	s.t.Helper()
	return s.request("http://"+s.addresses[0]+"/v1/events", http.MethodPost, key, body)
}

func (s *system) administer(key, method, path, body string) string {
	s.t.Helper()
	status, answer := s.request("http://"+s.addresses[1]+path, method, key, body)
	if status >= 300 {
		s.t.Fatalf("%s %s was answered %d %s", method, path, status, answer)
	}
	return answer
}

func (s *system) request(url, method, key, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-API-Key", key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// alerted waits until so many devices have an alert and an anomaly baseline.
func (s *system) alerted(devices int) {
	s.t.Helper()
	n, begun := 0, 0
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		s.control(func(db *sql.DB) error {
			return errors.Join(db.QueryRow(`SELECT count(DISTINCT fleet || device_id) FROM alert WHERE kind = 'metric'`).Scan(
				&n),
				db.QueryRow(`SELECT count(*) FROM anomaly_device`).Scan(&begun))
		})
		if n >= devices && begun >= devices {
			return
		}
	}
	s.t.Fatalf("%d devices have alerts, %d baselines, expected %d", n, begun, devices)
}

func (s *system) control(do func(*sql.DB) error) {
	s.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.data, "control.db")+"?_pragma=busy_timeout(10000)")
	if err == nil {
		defer db.Close()
		err = do(db)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// docCommands returns the commands of a page that has five of them in one block.
func docCommands(t *testing.T, path string) []string {
	t.Helper()
	raw, err := os.ReadFile(repo(path))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(raw), -1)
	if len(blocks) != 1 {
		t.Fatalf("%s has %d blocks of commands, want one", path, len(blocks))
	}
	commands := strings.Split(strings.TrimSpace(blocks[0][1]), "\n\n")
	if len(commands) != 5 {
		t.Fatalf("%s shows %d commands", path, len(commands))
	}
	return commands
}

// line returns a shell command as a user would type it, and its standard output.
func (s *system) line(command, admin string) (*exec.Cmd, *bytes.Buffer) {
	s.t.Helper()
	bin := s.t.TempDir()
	if err := os.Symlink(s.bin, filepath.Join(bin, "weir")); err != nil {
		s.t.Fatal(err)
	}
	command = strings.NewReplacer("127.0.0.1:8080", s.addresses[0], "127.0.0.1:8090", s.addresses[1]).Replace(command)
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = s.dir // ./data is relative to it
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "ADMIN="+admin)
	var out bytes.Buffer
	cmd.Stdout = &out
	cmd.Stderr = os.Stderr
	return cmd, &out
}

func (s *system) shell(command, admin string) string {
	s.t.Helper()
	cmd, out := s.line(command, admin)
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out.String()
}

// command starts a shell command that prints a receipt; the function it returns waits for the end.
func (s *system) command(command, admin string) func() receipt {
	s.t.Helper()
	cmd, out := s.line(command, admin)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return func() (r receipt) {
		s.t.Helper()
		if err := cmd.Wait(); err != nil {
			s.t.Fatalf("%s: %v\n%s", command, err, out)
		}
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			s.t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return r
	}
}

// erasing waits until at least known erasures exist and at least n of them have begun.
func (s *system) erasing(admin string, known, n int) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var list struct{ Erasures []receipt }
		if err := json.Unmarshal([]byte(s.administer(admin, http.MethodGet, "/v1/erasures", "")), &list); err != nil {
			s.t.Fatal(err)
		}
		begun := 0
		for _, e := range list.Erasures {
			if e.State == "running" && !e.Until.IsZero() {
				begun++
			}
		}
		if begun >= n && len(list.Erasures) >= known {
			return
		}
	}
	s.t.Fatalf("%d erasures did not begin", n)
}

// erased fails if the independent reader finds anything of a device or fleet.
func (s *system) erased(fleet, device string, until time.Time, args ...string) {
	s.t.Helper()
	out, err := s.found(fleet, device, until, append(args, "--silent")...)
	s.t.Logf("%s", out)
	if err != nil {
		s.t.Errorf("something is left: %v", err)
	}
}

// found returns the output of tests/verify/erased.py, and an error if it found something.
func (s *system) found(fleet, device string, until time.Time, args ...string) (string, error) {
	s.t.Helper()
	python, err := exec.Command(repo("tests/integration/venv.sh")).Output()
	if err != nil {
		s.t.Fatalf("making the Python environment: %v", err)
	}
	args = append([]string{"-B", repo("tests/verify/erased.py"), "--data", s.data, "--fleet", fleet, "--until",
		fmt.Sprint(until.UnixMicro())}, args...)
	if device != "" {
		args = append(args, "--device", device)
	}
	out, err := exec.Command(strings.TrimSpace(string(python)), args...).CombinedOutput()
	return string(out), err
}

// left checks that of a device that went on sending exactly the later events are stored and counted.
func (s *system) left(device string, until time.Time, events int) {
	s.t.Helper()
	out, err := s.found("plant-7", device, until, "--kept", fmt.Sprint(device, "=", events))
	s.t.Logf("%s", out)
	if err != nil {
		s.t.Errorf("of a device that goes on: %v", err)
	}
	for _, resolution := range []string{"1m", "1h", "1d"} {
		counted := 0
		// the API adds minutes that are not rolled up yet
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(500 * time.Millisecond) {
			counted = s.countedOf(device, resolution)
			if counted == events || time.Now().After(deadline) {
				break
			}
		}
		if counted != events {
			s.t.Errorf("%d events of %s are counted at %s, expected the %d that came later", counted, device, resolution, events)
		}
	}
}

func (s *system) countedOf(device, resolution string) (n int) {
	s.t.Helper()
	path := fmt.Sprintf("/v1/rollups?device=%s&metric=cpu_temp&resolution=%s&from=%s&to=%s", device, resolution,
		time.Now().Add(-72*time.Hour).UTC().Format(time.RFC3339), time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	status, body := s.request("http://"+s.addresses[1]+path, http.MethodGet, s.key, "")
	var page struct{ Rollups []struct{ Count int } }
	if err := json.Unmarshal([]byte(body), &page); err != nil || status != http.StatusOK {
		s.t.Fatalf("%d %s %v", status, body, err)
	}
	for _, r := range page.Rollups {
		n += r.Count
	}
	return n
}

// widen registers a schema for the firmware of the dead letters.
func (s *system) widen() {
	s.t.Helper()
	v3, err := os.ReadFile(repo("schemas/telemetry/v3.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	path := filepath.Join(s.dir, "v7.json")
	if err := os.WriteFile(path, bytes.ReplaceAll(v3, []byte(">=3.0.0 <4.0.0"), []byte(">=7.0.0 <8.0.0")),
		0o644); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.weir("schema", "register", path, "--data", s.data); err != nil {
		s.t.Fatal(err)
	}
	time.Sleep(6 * time.Second) // until it is in force
}
