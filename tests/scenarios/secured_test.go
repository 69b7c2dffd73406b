package scenarios

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kfake"

	"weir/tests/integration/secured"
)

// All shipped streams run against brokers that require TLS and a password, configured only by the environment that
// docs/secured-kafka.md exports. An event is stored, a malformed one is dead-lettered, and every record is explained.
func TestSecured_EveryStreamGetsIntoASecuredKafka(t *testing.T) {
	log := secured.Start(t, kfake.NumBrokers(3))
	s := newSystem(t)
	store := func(scheme, name string) string { return scheme + "://" + filepath.Join(s.data, name) }
	c := &cluster{t: t, sys: s, brokers: log.Address, kafka: &proxy{addr: log.Address}, nodes: map[string]*node{},
		control: store("sqlite", "control.db"), rollups: store("sqlite", "rollups.db"), claims: store("pebble", "claims"),
		raw: store("file", "raw"), deadLetter: store("file", "dead-letter")}
	if err := os.MkdirAll(s.data, 0o755); err != nil {
		t.Fatal(err)
	}

	commands, examples := securedPage(t)
	secret := filepath.Join(s.dir, "secret")
	if err := os.WriteFile(secret, []byte(secured.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(s.bin, filepath.Join(bin, "weir")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-ec", strings.NewReplacer("kafka-1:9093", log.Address, "/etc/weir/kafka-ca.pem", log.CAFile,
		"WEIR_KAFKA_USER=weir", "WEIR_KAFKA_USER="+secured.User, "/run/secrets/kafka", secret).Replace(commands)+
		"\nenv | grep ^WEIR_KAFKA")
	cmd.Dir, cmd.Env = repo("."), append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "raw-events: 30 partitions") {
		t.Fatalf("the commands of the page: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && strings.HasPrefix(name, "WEIR_KAFKA_") {
			t.Setenv(name, value)
		}
	}
	if os.Getenv("WEIR_KAFKA_PASSWORD") != secured.Password {
		t.Fatal("the page exports no password")
	}
	example := filepath.Join(s.dir, "example.yaml")
	if err := os.WriteFile(example, []byte(examples), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := s.weir("lint", example); err != nil {
		t.Errorf("the page's example: %s %v", out, err)
	}

	all := c.run("all", "*")
	all.ready()
	// The engine is ready before the first stream exists, and so before the control store does.
	var key string
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if key, err = s.weir("keys", "create", "--fleet", fleetName, "--scope", "ingest,query,operate", "--store",
			c.control); err == nil {
			break
		}
		if !strings.Contains(err.Error(), "there is no store") || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	event := fmt.Sprintf(`{"event_id": %q, "device_id": "pump-1", "device_firmware_version": "2.1.0", "timestamp": %q,
		"metrics": {"cpu_temp": 61.5, "battery_voltage": 3.7, "vibration": 0.2}}`, uuid.NewString(), time.Now().UTC().Format(time.RFC3339))
	for _, body := range []string{event, `{"event_id": 1}`} { // one event for each topic
		want := map[bool]int{true: 202, false: 400}[body == event]
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			got, err := postOne(t, all.ingest, strings.TrimSpace(key), body)
			if err == nil && got == want {
				break
			}
			if time.Now().After(deadline) { // the stream may not run at first
				t.Fatalf("answered %d, want %d: %v", got, want, err)
			}
		}
	}
	report, err := s.weir("reconcile", "--brokers", log.Address, "--raw", c.raw, "--dead-letter", c.deadLetter, "--wait",
		"60s")
	if err != nil || !strings.Contains(report, "Every record is explained") {
		t.Errorf("%s%v", report, err)
	}
	t.Logf("weir reconcile:\n%s", report)
	logged, err := os.ReadFile(all.log())
	if err != nil {
		t.Fatal(err)
	}
	secured.Silent(t, string(logged)+report)
}

func postOne(t *testing.T, address, key, body string) (int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/v1/events",
		strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-Key", key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// securedPage returns the commands and the config of docs/secured-kafka.md.
func securedPage(t *testing.T) (commands, config string) {
	t.Helper()
	raw, err := os.ReadFile(repo("docs/secured-kafka.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```(sh|yaml)\n(.*?)```").FindAllStringSubmatch(string(raw), -1)
	if len(blocks) != 2 || blocks[0][1] != "sh" || blocks[1][1] != "yaml" {
		t.Fatalf("the page has %d blocks, want one of commands and one config", len(blocks))
	}
	return blocks[0][2], blocks[1][2]
}
