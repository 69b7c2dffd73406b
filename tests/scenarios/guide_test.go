package scenarios

import (
	"database/sql"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// guide returns the commands of docs/schema-evolution.md, in order.
func guide(t *testing.T) (commands []string) {
	t.Helper()
	raw, err := os.ReadFile(repo("docs/schema-evolution.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(raw), -1) {
		commands = append(commands, strings.Split(strings.TrimSpace(block[1]), "\n\n")...)
	}
	if len(commands) < 10 {
		t.Fatalf("the guide has only %d commands", len(commands))
	}
	return commands
}

// TestGuide_ABreakGoesAsTheGuideSays follows docs/schema-evolution.md on a running weir: firmware 4 renames cpu_temp
// and measures it in kelvin. Its events are refused, its schema is registered on purpose, and its readings are then
// counted in the same series as those of older firmware, also after a replay and a rebuild.
func TestGuide_ABreakGoesAsTheGuideSays(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	admin, err := s.weir("keys", "create", "--admin", "--data", s.data)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(repo("schemas"), filepath.Join(s.dir, "schemas")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(s.bin, filepath.Join(s.dir, "weir")); err != nil {
		t.Fatal(err)
	}
	left := guide(t)
	addresses := strings.NewReplacer("127.0.0.1:8090", s.addresses[1])
	// says runs the guide's next command with a given beginning, and expects an exit code and a part of the output.
	says := func(begins string, code int, want string) {
		t.Helper()
		for i, command := range left {
			if !strings.HasPrefix(strings.TrimSpace(command), begins) {
				continue
			}
			left = append(left[:i:i], left[i+1:]...)
			cmd := exec.Command("sh", "-c", addresses.Replace(command))
			cmd.Dir = s.dir
			cmd.Env = append(os.Environ(), "PATH="+s.dir+":"+os.Getenv("PATH"), "ADMIN="+strings.TrimSpace(admin))
			out, _ := cmd.CombinedOutput() // the exit code is checked below
			if cmd.ProcessState.ExitCode() != code || !strings.Contains(string(out), want) {
				t.Fatalf("%s\nends with %d and says\n%swant %d and %s", command, cmd.ProcessState.ExitCode(), out, code, want)
			}
			return
		}
		t.Fatalf("the guide has no command %q", begins)
	}

	event := func(firmware int, metrics string) string {
		return fmt.Sprintf(`{"event_id":%q,"device_id":"press-%d","device_firmware_version":"%d.1.0","timestamp":%q,"metrics":%s}`,
			uuid.NewString(), firmware, firmware, time.Now().UTC().Format(time.RFC3339Nano), metrics)
	}
	fleet := func() (events []string) {
		for firmware := 1; firmware <= 3; firmware++ {
			events = append(events, event(firmware, `{"cpu_temp":61.25,"battery_voltage":3.7,"vibration":1}`))
		}
		return events
	}
	fourth := func() string {
		return event(4, `{"processor_temperature":334.4,"battery_voltage":3.7,"flow_rate":7}`)
	}
	s.post(fleet()...)
	if status, answer := s.send(s.key, fourth()); status != 400 || !strings.Contains(answer, "unknown_firmware") {
		t.Fatalf("firmware 4 before its schema: %d %s", status, answer)
	}
	s.drained() // a replay reads the raw store

	says("grep -v x-weir-major", 1, "perhaps it is now processor_temperature, in K instead of °C\n  "+
		"REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL at #/properties/metrics/properties/processor_temperature")
	if out, err := s.weir("schema", "register", "careless.json"); err == nil || !strings.Contains(err.Error(),
		"processor_temperature, in K instead of °C") {
		t.Fatalf("the careless version was registered: %s %v", out, err)
	}
	says("weir schema register schemas/examples", 0, "4")
	sent := 0
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if status, _ := s.send(s.key, fourth()); status == 202 {
			sent++
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("firmware 4 is not accepted a minute after its schema was registered")
		}
	}
	for range 4 {
		s.post(append(fleet(), fourth())...)
		sent++
	}
	s.drained()

	// All four firmwares have one series in one unit, now and after a replay and a rebuild.
	one := func(when string) {
		t.Helper()
		s.sql(func(db *sql.DB) error {
			var renamed int
			if err := db.QueryRow(`SELECT count(*) FROM rollup_1m WHERE metric = 'processor_temperature'`).Scan(
				&renamed); err != nil || renamed != 0 {
				t.Errorf("%s: %d windows have the new name (%v)", when, renamed, err)
			}
			for firmware, want := range map[int]int{1: 5, 2: 5, 3: 5, 4: sent} {
				var n int
				var low, high float64
				if err := db.QueryRow(`SELECT coalesce(sum(count), 0), coalesce(min(min), 0), coalesce(max(max), 0) FROM rollup_1m WHERE metric = 'cpu_temp' AND device_id = ?`,
					fmt.Sprintf("press-%d", firmware)).Scan(&n, &low, &high); err != nil {
					return err
				}
				if n != want || math.Abs(low-61.25) > 1e-9 || math.Abs(high-61.25) > 1e-9 {
					t.Errorf("%s: firmware %d has %d readings from %v to %v, want %d of 61.25", when, firmware, n, low, high, want)
				}
			}
			return nil
		})
	}
	one("live")
	from, to := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339),
		time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
	if j := s.replay("--mode", "reprocess", "--from", from, "--to", to)(); j.State != "done" ||
		int(j.Progress.Read) != 15+sent {
		t.Errorf("the replay: %+v", j)
	}
	s.drained()
	one("replayed")
	says("weir replay --mode rebuild", 0, "")
	one("rebuilt")

	// The remaining commands of the guide.
	v4, err := os.ReadFile(repo("schemas/examples/telemetry/v4.json"))
	if err != nil {
		t.Fatal(err)
	}
	fifth := strings.NewReplacer(">=4.0.0 <5.0.0", ">=5.0.0 <6.0.0", `"flow_rate": {`,
		`"oil_temp": {"type": "number"}, "flow_rate": {`).Replace(string(v4))
	if err := os.WriteFile(filepath.Join(s.dir, "new.json"), []byte(fifth), 0o644); err != nil {
		t.Fatal(err)
	}
	says("curl -X PUT", 0, `"policy":"additive"`)
	says("weir schema check new.json --against latest --replay 1h", 0, "")
	says("weir schema check new.json", 0, "")
	says("weir schema register new.json", 0, "5")
	says("curl -H", 0, `"version":1`)
	says("curl -H", 0, `"references":[{"name":"percent.json"`)
	if err := os.WriteFile(filepath.Join(s.dir, "climate.json"),
		[]byte(`{"properties":{"humidity":{"$ref":"percent.json"}},"title":"x"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	says("weir schema check climate.json", 0, "compatible with climate/1")
	if out, err := s.weir("schema", "register", "climate.json", "--subject", "climate", "--reference",
		"percent.json=percent/1", "--data", s.data); err != nil || strings.TrimSpace(out) != "2" {
		t.Errorf("registering a schema with a reference: %q %v", out, err)
	}
	says("curl -X PUT", 0, `telemetry/1-3`)
	if out, err := s.weir("schema", "check", "new.json"); err != nil || !strings.Contains(out, "billing") {
		t.Errorf("who is not ready is not named: %s %v", out, err)
	}
	if len(left) > 0 {
		t.Errorf("commands of the guide that were not run: %q", left)
	}
	s.reconcile()
}
