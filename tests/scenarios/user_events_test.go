package scenarios

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// One weir accepts telemetry and user events at once, over HTTP and WebSocket, and is killed meanwhile. Every record
// of either log is explained, each kind has stores of its own, and no personal data is stored. The commands are those
// of docs/user-events.md.
func TestUserEvents_BothKindsAreKeptApartAndExplained(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	raw, err := os.ReadFile(repo("docs/user-events.md"))
	if err != nil {
		t.Fatal(err)
	}
	commands := shell(string(raw))
	if len(commands) != 7 {
		t.Fatalf("docs/user-events.md has %d commands", len(commands))
	}
	gate := freeAddress(t)
	s.env = []string{"WEIR_PRIVACY_KEYS=k1:only-a-test-knows-this", "WEIR_USER_INGEST_ADDRESS=" + gate,
		"WEIR_RAW_PERIOD=500ms", "WEIR_DEAD_LETTER_PERIOD=500ms"}
	key := ""
	run := func(command string) string {
		t.Helper()
		bin := t.TempDir()
		if err := os.Symlink(s.bin, filepath.Join(bin, "weir")); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", strings.NewReplacer("127.0.0.1:8081", gate, "2026-11-21T09:15:00Z",
			time.Now().UTC().Format(time.RFC3339)).Replace(command))
		cmd.Dir = s.dir // ./data is relative to it
		cmd.Env = append(append(os.Environ(), s.env...), "PATH="+bin+":"+os.Getenv("PATH"), "KEY="+key)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return string(out)
	}
	run(commands[0])
	s.besideWeir()
	s.start()
	s.ready()
	s.createKey()
	out, err := s.weir("keys", "create", "--fleet", "shop", "--scope", "ingest", "--data", s.data)
	if err != nil {
		t.Fatal(err)
	}
	key = strings.TrimSpace(out)
	s.listens(gate)
	if answer := run(commands[1]); !strings.Contains(answer, `"accepted":1`) {
		t.Fatalf("%s", answer)
	}
	post := func(body string) int {
		status, _ := s.request("http://"+gate+"/v1/events", http.MethodPost, key, body)
		return status
	}
	if status := post(strings.Replace(personal(""), `"metadata"`, `"meta"`, 1)); status != http.StatusBadRequest {
		t.Errorf("what is no event about people was answered %d", status)
	}
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+gate+"/v1/stream", http.Header{"X-API-Key": {key}})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.WriteMessage(websocket.TextMessage, []byte(personal(""))); err != nil {
		t.Fatal(err)
	}
	if _, answer, err := conn.ReadMessage(); err != nil || !strings.Contains(string(answer), "202") {
		t.Fatalf("over WebSocket: %s %v", answer, err)
	}
	conn.Close()
	id := uuid.NewString() // used by an event of each kind
	person, pump := personal(""), fmt.Sprintf(`{"event_id":%q,"device_id":"pump-1","device_firmware_version":"2.0.0",`+
		`"timestamp":%q,"metrics":{"cpu_temp":50,"battery_voltage":3.7,"vibration":0.2}}`, id,
		time.Now().UTC().Format(time.RFC3339Nano))
	_, rest, _ := strings.Cut(person, `"device_id"`)
	person = `{"event_id":"` + id + `","device_id"` + rest
	for range 2 { // before and after a kill; the second of each is a duplicate
		if status := post(person); status != http.StatusAccepted {
			t.Errorf("a person's event was answered %d", status)
		}
		if status, body := s.sendTo(s.key, pump); status != http.StatusAccepted {
			t.Errorf("a device's event was answered %d %s", status, body)
		}
		s.kill()
		s.start()
		s.ready()
		s.listens(gate)
	}
	s.drained()
	s.behind("weir-user-raw", "user-events")
	s.behind("weir-user-dead-letter", "user-dead-letter")
	if out := run(commands[2]); !strings.Contains(out, "Every record is explained") || !strings.Contains(out,
		"user-events") {
		t.Errorf("%s", out)
	}
	if out := run("weir reconcile"); !strings.Contains(out, "Every record is explained") || strings.Contains(out,
		"user-events") {
		t.Errorf("%s", out)
	}
	dry := run(`weir erase --person "$(weir privacy token --fleet shop u-77)" --shared-devices --fleet shop --dry-run ` +
		`--reason "how much is it" --json --quiet`)
	if !strings.Contains(dry, `"raw_rows": 3`) || !strings.Contains(dry, `"dead_letters": 1`) {
		t.Errorf("an erasure would not look into the stores of events about people: %s", dry)
	}
	if dry := run("weir retention --dry-run --log user-events --json"); !strings.Contains(dry, "user-raw") ||
		!strings.Contains(dry, "user-dead-letter") || strings.Contains(dry, `"error"`) {
		t.Errorf("a dry run of their retention: %s", dry)
	}
	s.askedByLog()
	run(commands[3]) // exit code 0: the scan found nothing
	if out := run(commands[4]); strings.Count(out, `"kind":"event"`) != 1 || !strings.Contains(out, "order_placed") ||
		strings.Contains(out, "ann@example.com") {
		t.Errorf("%s", out)
	}
	if out := run(commands[5]); !strings.Contains(out, "1 would be sent through again") {
		t.Errorf("%s", out)
	}
	if out := run(commands[6]); !strings.Contains(out, "1 published") {
		t.Errorf("%s", out)
	}
}

// besideWeir moves the configs from the folder mine to the folder from which weir up reads them.
func (s *system) besideWeir() {
	s.t.Helper()
	for _, dir := range []string{"configs", "schemas", "bloblang"} {
		if err := os.Rename(filepath.Join(s.dir, "mine", dir), filepath.Join(s.dir, dir)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// behind waits until a group has committed everything that a topic holds.
func (s *system) behind(group, topic string) {
	s.t.Helper()
	client, err := kgo.NewClient(s.brokerOptions()...)
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	s.until(group+" has processed all", func() bool {
		ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
		defer cancel()
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err != nil || ends.Error() != nil {
			return false
		}
		committed, err := admin.FetchOffsets(ctx, group)
		left := int64(0)
		ends.Each(func(end kadm.ListedOffset) {
			at, _ := committed.Lookup(end.Topic, end.Partition)
			left += end.Offset - max(at.At, 0)
		})
		return err == nil && left == 0
	})
}

// listens waits until a gate is ready.
func (s *system) listens(gate string) {
	s.t.Helper()
	s.until("the gate at "+gate+" is ready", func() bool {
		resp, err := http.Get("http://" + gate + "/ready")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	})
}

// askedByLog queries the API for each log: each has its own events and dead letters and no others.
func (s *system) askedByLog() {
	s.t.Helper()
	out, err := s.weir("keys", "create", "--fleet", "shop", "--scope", "query", "--data", s.data)
	if err != nil {
		s.t.Fatal(err)
	}
	shop := strings.TrimSpace(out)
	for _, ask := range []struct {
		key, path, has string
		n              int
	}{
		{shop, "/v1/events?log=user-events", `"event_id"`, 3}, {shop, "/v1/events", `"event_id"`, 0},
		{s.key, "/v1/events?log=user-events", `"event_id"`, 0}, {s.key, "/v1/events?log=telemetry", "pump-1", 1},
		{shop, "/v1/dead-letters?log=user-events", `"stage":"ingest"`, 1}, {shop, "/v1/dead-letters", `"stage"`, 0},
	} {
		status, body := s.request("http://"+s.addresses[1]+ask.path, http.MethodGet, ask.key, "")
		if status != http.StatusOK || strings.Count(body, ask.has) != ask.n {
			s.t.Errorf("%s was answered %d with %d of %s, expected %d: %s", ask.path, status,
				strings.Count(body, ask.has), ask.has, ask.n, body)
		}
	}
	admin, err := s.weir("keys", "create", "--admin", "--data", s.data)
	if err != nil {
		s.t.Fatal(err)
	}
	s.until("the overview balances their log", func() bool {
		_, body := s.request("http://"+s.addresses[1]+"/v1/overview?log=user-events", http.MethodGet,
			strings.TrimSpace(admin), "")
		return strings.Contains(body, `"weir-user-raw"`) && strings.Contains(body, `"balanced":true`) &&
			!strings.Contains(body, `"raw-events"`)
	})
}
