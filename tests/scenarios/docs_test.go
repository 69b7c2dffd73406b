package scenarios

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// answers returns, for each page, the text that the output of each of its commands must contain, in order.
func answers() map[string][]string {
	return map[string][]string{
		"replay.md": {
			"done: ", "done: ", "nothing was made", "dead letters", "done: 1 read, 1 published", `"state":"queued"`,
			`"state":"done"`, `"devices":["pump-1","pump-2"]`, `"press-line"`, `"device_id":"pump-1"`, `"device_id":"pump-1"`, "done: ",
			`"reason":"new consumer"`,
		},
		"ingest.md":   {"weir_", "plant-7", "", "tried cards", "pump-9", "lifted 1"},
		"runbooks.md": {"", "Every record is explained", "unknown_firmware"},
		"fleet.md":    {"accepted"},
		"cost.md":     {"total", "DATADOG, EVENTS AS LOGS", "total", `"from": "model (only`},
		"etl.md": {"is right", "decimal(10,2)", "of source.at", "3 read, 0 filtered, 0 dropped, 1 rejected, 2 written",
			"accounted for"},
		"raw-store.md": {`"pump-1"`},
		"quality.md":   {`"schemas":[`},
		"overview.md":  {`"balanced":true`},
		"reconcile.md": {"Every record is explained"},
		"stream-configs.md": {"", "+            period: 1s", "raw, in force: version 1", "objects each second",
			"the file of each process"},
		"rules.md": {"hot_minute: windows of 1m0s", "", `"rule":"hot_minute"`, "in force: version 1", "in force: version 1", "the file",
			`"number":1`, `"results":[`, `"taken":480`},
		"alerts.md": {`"rule":"processor_hot"`, `"alert_id"`, `"acknowledged`, `"resolved`},
	}
}

// others lists the pages whose commands are run by tests of their own, or need Docker or a cluster.
func others() []string {
	return []string{"schema-evolution.md", "erasure.md", "retention.md", "secured-kafka.md", "deploy.md",
		"kubernetes.md", "traces.md", "restore.md", "user-events.md", "analytics.md", "enrich.md"}
}

func shell(text string) []string {
	var out []string
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(text, -1) {
		out = append(out, strings.Split(strings.TrimSpace(block[1]), "\n\n")...)
	}
	return out
}

// The commands of the docs run as they are printed, one after another; only addresses and times are replaced.
func TestDocs_TheCommandsOfTheDocsWork(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	admin, err := s.weir("keys", "create", "--admin", "--data", s.data)
	if err != nil {
		t.Fatal(err)
	}
	s.somethingOfAll()
	bin := t.TempDir()
	if err := os.Symlink(s.bin, filepath.Join(bin, "weir")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(repo("docs"), filepath.Join(s.dir, "docs")); err != nil { // as in a checkout
		t.Fatal(err)
	}
	began := time.Now()
	own := strings.NewReplacer("127.0.0.1:8080", s.addresses[0], "127.0.0.1:8090", s.addresses[1],
		"2026-11-20T10:00:00Z", began.Add(-time.Hour).UTC().Format(time.RFC3339), "2026-11-20T11:00:00Z",
		began.Add(time.Minute).UTC().Format(time.RFC3339),
		"--rate 1000 --duration 1m", "--rate 1000 --duration 2s")
	pages, err := filepath.Glob(repo("docs/*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	for _, page := range pages {
		name := filepath.Base(page)
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), "\n    weir ") || strings.Contains(string(raw), "\n    curl ") {
			t.Errorf("docs/%s shows a command outside of a block that says sh, which no test would run", name)
		}
		commands, wants := shell(string(raw)), answers()[name]
		if slices.Contains(others(), name) {
			continue
		}
		if len(commands) != len(wants) {
			t.Errorf("docs/%s has %d commands, and this test knows %d answers", name, len(commands), len(wants))
			continue
		}
		env := append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "KEY="+s.key, "ADMIN="+strings.TrimSpace(admin),
			"WEIR_URL=http://"+s.addresses[0], "ID="+s.subject(name))
		for i, command := range commands {
			s.answered(own.Replace(command), wants[i], env)
		}
	}
}

// answered runs a command until it succeeds with output that contains want: what was just sent may not be stored yet.
func (s *system) answered(command, want string, env []string) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(500 * time.Millisecond) {
		cmd := exec.Command("sh", "-c", command)
		cmd.Dir, cmd.Env = s.dir, env
		out, err := cmd.CombinedOutput()
		if err == nil && strings.Contains(string(out), want) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s\nanswers without %s (%v):\n%s", command, want, err, out)
		}
	}
}

// somethingOfAll sends the data that the docs refer to: a normal event, two that are too hot, one of a firmware that
// no schema knows, and one that violates its schema.
func (s *system) somethingOfAll() {
	s.t.Helper()
	now := time.Now().UTC()
	for i, e := range []struct{ firmware, temp string }{{"2.1.0", "61.5"}, {"2.1.0", "99.5"}, {"2.1.0", "99.7"},
		{"9.0.0", "50"}, {"2.1.0", `"62.5"`}} {
		body := fmt.Sprintf(`{"event_id":%q,"device_id":"pump-1","device_firmware_version":%q,"timestamp":%q,"metrics":{"cpu_temp":%s,"battery_voltage":3.7,"vibration":0.2}}`,
			uuid.NewString(), e.firmware, now.Add(time.Duration(i-3)*40*time.Second).Format(time.RFC3339Nano), e.temp)
		req, err := http.NewRequest(http.MethodPost, "http://"+s.addresses[0]+"/v1/events", strings.NewReader(body))
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
		if want := map[bool]int{true: 202, false: 400}[i < 3]; resp.StatusCode != want {
			s.t.Fatalf("event %d was answered %d, not %d", i, resp.StatusCode, want)
		}
	}
}

// subject returns the value of $ID in the commands of a page.
func (s *system) subject(page string) string {
	s.t.Helper()
	switch page {
	case "alerts.md":
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
			var list struct {
				Alerts []struct {
					ID string `json:"alert_id"`
				}
			}
			s.get("/v1/alerts?state=open&rule=processor_hot", s.key, &list)
			if len(list.Alerts) > 0 {
				return list.Alerts[0].ID
			}
			if time.Now().After(deadline) {
				s.t.Fatal("a processor at 99 degrees gave no alert")
			}
		}
	case "ingest.md": // the page revokes it, and the pages that follow need the other
		key, err := s.weir("keys", "create", "--fleet", "plant-8", "--scope", "ingest", "--data", s.data)
		if err != nil {
			s.t.Fatal(err)
		}
		return strings.Split(key, "_")[1]
	}
	return ""
}
