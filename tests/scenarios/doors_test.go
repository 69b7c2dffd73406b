package scenarios

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/google/uuid"
)

// No file of a data directory is accessible to group or others: not while weir runs, not after a run, and not after a
// run on a directory that an older weir left with open permissions.
func TestDataDir_IsItsUsersAlone(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey() // before the first keys exist: they are created all the same
	s.greeted(1)
	_, wait := s.fleet("--devices", "5", "--rate", "50", "--duration", "2s", "--malformed", "5")
	wait()
	s.reconcile()
	s.closed("while it runs")
	s.stop()
	s.closed("after a run")

	// The state that an older weir leaves: open permissions, no password, no login at its broker.
	for _, name := range []string{"broker.password", "first-fleet.key", "first-admin.key"} {
		if err := os.Remove(filepath.Join(s.data, name)); err != nil {
			t.Fatal(err)
		}
	}
	err := filepath.WalkDir(s.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := map[bool]os.FileMode{true: 0o755, false: 0o644}[d.IsDir()]
		return os.Chmod(path, mode)
	})
	if err != nil {
		t.Fatal(err)
	}
	s.start()
	s.ready()
	s.closed("after the upgrade")
	_, wait = s.fleet("--devices", "5", "--rate", "50", "--duration", "2s")
	wait()
	s.reconcile()
	s.stop()
	s.closed("after a run of the upgraded one")
	s.reconcile()
	s.closed("after a proof of what does not run")
}

// closed fails if any file of the data directory is accessible to group or others.
func (s *system) closed(when string) {
	s.t.Helper()
	files := 0
	err := filepath.WalkDir(s.data, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // deleted meanwhile by the running weir
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		files++
		if info.Mode().Perm()&0o077 != 0 {
			s.t.Errorf("%s, others may use %s: %v", when, strings.TrimPrefix(path, s.dir), info.Mode())
		}
		return nil
	})
	if err != nil || files < 20 {
		s.t.Fatalf("%s: walked %d files: %v", when, files, err)
	}
}

// Without a terminal, the first keys go to files and not to the log; the log names the files. A restart keeps them.
func TestFirstKeys_GoToFilesWhereNoTerminalIs(t *testing.T) {
	s := newSystem(t)
	s.start()
	s.ready()
	s.greeted(1)
	printed, err := os.ReadFile(filepath.Join(s.dir, "up.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first-fleet.key", "first-admin.key"} {
		file := filepath.Join(s.data, name)
		raw, err := os.ReadFile(file)
		key := strings.TrimSpace(string(raw))
		if err != nil || len(key) < 20 {
			t.Fatalf("%s holds %d characters: %v", name, len(key), err)
		}
		if strings.Contains(string(printed), key) {
			t.Errorf("the key of %s is in the log", name)
		}
		if !strings.Contains(string(printed), file) {
			t.Errorf("the log does not say where %s is", file)
		}
		if name == "first-fleet.key" {
			event := fmt.Sprintf(`{"event_id": %q, "device_id": "pump-1", "device_firmware_version": "2.1.0", "timestamp": %q,
				"metrics": {"cpu_temp": 61.5, "battery_voltage": 3.7, "vibration": 0.2}}`, uuid.NewString(), time.Now().UTC().Format(time.RFC3339))
			if status, err := postOne(t, s.addresses[0], key, event); err != nil || status != 202 {
				t.Errorf("with the key of the file: %d %v", status, err)
			}
		}
	}
	before, err := os.ReadFile(filepath.Join(s.data, "first-fleet.key"))
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.start()
	s.ready()
	s.greeted(2)
	if after, err := os.ReadFile(filepath.Join(s.data, "first-fleet.key")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a second start changes the file of the key: %v", err)
	}
}

// readLog reads the first records of raw-events that the broker shows within ten seconds.
func (s *system) readLog(t *testing.T, opts ...kgo.Opt) (records int, err error) {
	t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(s.addresses[3]), kgo.ConsumeTopics("raw-events"))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	fetched := client.PollFetches(ctx)
	return fetched.NumRecords(), fetched.Err()
}

// A local process without the password can neither write events into the broker, past the gate, nor read any. A
// stream that is started beside 'weir up' with configs/standalone.env can write.
func TestBroker_LetsInWhoKnowsThePasswordOnly(t *testing.T) {
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	s.post(oneEvent("pump-1")) // there is something to read
	password, err := os.ReadFile(filepath.Join(s.data, "broker.password"))
	if err != nil {
		t.Fatal(err)
	}
	knows := scram.Auth{User: "weir", Pass: strings.TrimSpace(string(password))}.AsSha512Mechanism()
	if n, err := s.readLog(t, kgo.SASL(knows)); n == 0 { // else it would show nothing that the other reads none
		t.Fatalf("nothing was read with the password: %v", err)
	}
	if n, _ := s.readLog(t); n > 0 {
		t.Errorf("the log was read without the password: %d records", n)
	}
	intruder, err := kgo.NewClient(kgo.SeedBrokers(s.addresses[3]), kgo.RetryTimeout(time.Second), kgo.RecordRetries(0))
	if err != nil {
		t.Fatal(err)
	}
	defer intruder.Close()
	if err := intruder.ProduceSync(t.Context(), &kgo.Record{Topic: "raw-events",
		Value: []byte("{}")}).FirstErr(); err == nil {
		t.Error("an event got in past the gate")
	}

	profile, err := os.ReadFile(repo("configs/standalone.env"))
	if err != nil {
		t.Fatal(err)
	}
	for was, is := range map[string]string{"127.0.0.1:9092": s.addresses[3], "127.0.0.1:4195": "127.0.0.1:0"} {
		profile = bytes.ReplaceAll(profile, []byte(was), []byte(is))
	}
	env := filepath.Join(s.dir, "beside.env")
	if err := os.WriteFile(env, profile, 0o600); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(s.dir, "beside.yaml")
	err = os.WriteFile(config, []byte(`
http: { enabled: false }
input: { generate: { count: 1, mapping: 'root = {"by": "beside"}' } }
output:
  kafka_franz:
    seed_brokers: ["${WEIR_BROKERS}"]
    topic: dead-letter
    sasl: [ { mechanism: "${WEIR_KAFKA_SASL:none}", username: "${WEIR_KAFKA_USER:}", password: "${WEIR_KAFKA_PASSWORD:}" } ]
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(s.bin, "run", "-e", env, config)
	cmd.Dir = s.dir // the profile's data/ is relative to it
	done := make(chan struct{})
	go func() {
		defer close(done)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("a stream beside: %v\n%s", err, out)
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		<-done
		t.Error("a stream beside did not get in within a minute")
	}
}

// A patch runs in a child process with bounded memory: a valid patch repairs the event, and one that needs too much
// memory fails alone, without harm to weir.
func TestRedrive_PatchIsBounded(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	event := fmt.Sprintf(`{"event_id": %q, "device_id": "pump-1", "device_firmware_version": "2.1.0", "timestamp": %q,
		"metrics": {"cpu_temp": "61.5", "battery_voltage": 3.7, "vibration": 0.2}}`, uuid.NewString(), time.Now().UTC().Format(time.RFC3339))
	if status, err := postOne(t, s.addresses[0], s.key, event); err != nil || status != 400 {
		t.Fatalf("answered %d: %v", status, err)
	}
	redrive := func(args ...string) (string, error) {
		return s.weir(append([]string{"replay", "--data", s.data, "--mode", "redrive", "--reason", "test", "--quiet"},
			args...)...)
	}
	var out string
	var err error
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) { // until the dead letter is stored
		if out, err = redrive("--dry-run", "--patch", "root.metrics.cpu_temp = this.metrics.cpu_temp.number()"); err == nil &&
			strings.Contains(out, `"cpu_temp":61.5`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the preview: %v\n%s", err, out)
		}
	}
	if out, err := redrive("--dry-run", "--patch", "root = range(0, 100000000)"); err == nil ||
		!strings.Contains(err.Error(), "range") {
		t.Errorf("a generator: %v\n%s", err, out)
	}
	bomb := "let a0 = content().string()\n"
	for i := range 60 {
		bomb += fmt.Sprintf("let a%d = $a%d + $a%d\n", i+1, i, i)
	}
	if out, err := redrive("--dry-run", "--patch", bomb+"root.x = $a60"); err != nil ||
		!strings.Contains(out, "of memory") {
		t.Errorf("a bomb: %v\n%s", err, out)
	}
	if out, err := redrive("--patch", "root.metrics.cpu_temp = this.metrics.cpu_temp.number()"); err != nil ||
		!strings.Contains(out, "1 published") {
		t.Errorf("repairing it: %v\n%s", err, out)
	}
	s.reconcile()
	s.stop()
}

// Control characters in what devices sent reach a terminal only as escaped text.
func TestReplay_ShowsDeadLettersAsText(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	for _, body := range []string{
		`{"device_id": "pump\u001b[2J\u202e", "event_id": "\u001b]0;owned\u0007", "device_firmware_version": "2.1.0\u001b[31m", "timestamp": "\u009b31m"}`,
		"{\"device_id\": \"pump\x1b[2J\r\", not JSON \u202e",
	} {
		if status, err := postOne(t, s.addresses[0], s.key, body); err != nil || status != 400 {
			t.Fatalf("answered %d: %v", status, err)
		}
	}
	// the dead letters may not be stored yet
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		cmd := exec.Command(s.bin, "replay", "--data", s.data, "--mode", "redrive", "--dry-run", "--reason", "a\x1b[31m",
			"--patch", `root.x = throw("no\u001b[31m")`)
		out, err := cmd.CombinedOutput()
		if i := bytes.IndexAny(out, "\x1b\r\a\u202e\u009b"); i >= 0 {
			t.Fatalf("a terminal obeys %q", out[max(i-40, 0):min(i+40, len(out))])
		}
		if err == nil && bytes.Contains(out, []byte(`\u202e`)) && bytes.Count(out, []byte(`\u001b`)) > 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it shows no dead letters: %v\n%s", err, out)
		}
	}
}
