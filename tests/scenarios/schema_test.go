package scenarios

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"weir/tests/integration/playback"
)

// verdicts counts the verdicts of a journal, by verdict and code.
func verdicts(t *testing.T, journal string) map[string]int {
	t.Helper()
	raw, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for line := range bytes.Lines(raw) {
		var v struct{ Type, Verdict, Code string }
		if json.Unmarshal(line, &v) == nil && v.Type == "verdict" {
			count[strings.TrimSpace(v.Verdict+" "+v.Code)]++
		}
	}
	return count
}

// probe sends single events of a firmware, in a fleet of its own, until one is accepted. Until then, each must be
// refused as of an unknown firmware.
func (s *system) probe(key, firmware string) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		event := fmt.Sprintf(`{"event_id":%q,"device_id":"probe","device_firmware_version":%q,"timestamp":%q,"metrics":{"cpu_temp":50,"battery_voltage":3.7,"vibration":1}}`,
			uuid.NewString(), firmware, time.Now().UTC().Format(time.RFC3339Nano))
		switch status, answer := s.send(key, event); {
		case status == http.StatusAccepted:
			return
		case status != http.StatusBadRequest || !strings.Contains(answer, `"unknown_firmware"`):
			s.t.Fatalf("a device of firmware %s is answered %d %s", firmware, status, answer)
		case time.Now().After(deadline):
			s.t.Fatalf("firmware %s is not in force half a minute after its schema was registered", firmware)
		}
	}
}

// registry starts a weir whose schema registry others use. It has only version 1 of the events' schema.
func registry(t *testing.T) (r *system, admin string) {
	t.Helper()
	r = newSystem(t)
	r.start()
	r.ready()
	r.createKey()
	out, err := r.weir("keys", "create", "--admin", "--data", r.data)
	if err != nil {
		t.Fatal(err)
	}
	admin = strings.TrimSpace(out)
	for _, path := range []string{"2", "3", "2?permanent=true", "3?permanent=true"} {
		req, err := http.NewRequest(http.MethodDelete, "http://"+r.addresses[1]+"/registry/subjects/telemetry/versions/"+path,
			nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-API-Key", admin)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("deleting version %s: %d %s", path, res.StatusCode, raw)
		}
	}
	return r, admin
}

// TestSchema_SchemasComeIntoForceUnderLoad runs devices of three firmwares in one fleet, each from the moment its
// schema is registered. Meanwhile the registry is killed, weir is killed and restarted without it, the registry comes
// back and is then replaced by the recorded answers of another implementation. Every event is accepted, stored and
// counted once.
func TestSchema_SchemasComeIntoForceUnderLoad(t *testing.T) {
	t.Parallel()
	r, admin := registry(t)
	s := newSystem(t)
	s.env = []string{"WEIR_SCHEMAS_URL=http://weir:" + r.key + "@" + r.addresses[1] + "/registry"}
	s.start()
	s.ready()
	s.createKey()
	out, err := s.weir("keys", "create", "--fleet", "probes", "--data", s.data)
	if err != nil {
		t.Fatal(err)
	}
	probes := strings.TrimSpace(out)
	register := func(version int) {
		t.Helper()
		out, err := s.weir("schema", "register", repo(fmt.Sprintf("schemas/telemetry/v%d.json", version)), "--registry",
			"http://"+r.addresses[1]+"/registry", "--api-key", admin)
		if err != nil || strings.TrimSpace(out) != fmt.Sprint(version) {
			t.Fatalf("registering version %d: %q %v", version, out, err)
		}
	}
	var waits []func() string
	var journals []string
	load := func(firmware string, seconds int) {
		t.Helper()
		_, wait := s.fleet("--devices", "40", "--rate", "300", "--duration", fmt.Sprintf("%ds", seconds), "--firmware",
			firmware+"=1", "--prefix", "fw"+firmware, "--retry")
		waits, journals = append(waits, wait), append(journals, s.journals[len(s.journals)-1])
	}

	load("1.4.0", 40)
	time.Sleep(2 * time.Second)
	register(2)
	s.probe(probes, "2.1.0")
	load("2.1.0", 32)

	r.kill() // the schemas known last stay in force
	time.Sleep(3 * time.Second)
	s.kill() // also across a restart
	s.start()
	s.ready()
	s.probe(probes, "2.1.0")

	r.start()
	r.ready()
	register(3)
	s.probe(probes, "3.0.2")
	load("3.0.2", 15)

	r.kill()
	other := replaced(t, r.addresses[1])
	s.probe(probes, "4.2.0") // only the other registry has this version, as a schema with a reference to another subject
	for _, wait := range waits {
		t.Logf("weir fleet:\n%s", wait())
	}
	if asked := other.Unknown(); len(asked) > 0 {
		t.Errorf("the other registry was asked what was not recorded: %v", asked)
	}
	for i, journal := range journals {
		got := verdicts(t, journal)
		for verdict, n := range got {
			// these were sent again
			if verdict != "accepted" && !strings.HasPrefix(verdict, "unknown") && !strings.HasPrefix(verdict, "refused") {
				t.Errorf("firmware %d: %d events are %s", i+1, n, verdict)
			}
		}
		if got["accepted"] < 4000 {
			t.Errorf("firmware %d: %v", i+1, got)
		}
	}
	s.drained()
	s.verify(90 * time.Second)
	s.reconcile()
}

// replaced serves, at an address, the recorded answers of another registry in their final state, with its subject
// renamed to that of the events.
func replaced(t *testing.T, address string) *playback.Server {
	t.Helper()
	recording, err := playback.Read(repo("plugins/ingest/registry/testdata/registry_apicurio.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range recording.Exchanges {
		e := &recording.Exchanges[i]
		e.Path = strings.Replace(e.Path, "/subjects/field", "/subjects/telemetry", 1)
		e.Answer = strings.Replace(e.Answer, `"subject":"field"`, `"subject":"telemetry"`, 1)
	}
	other := playback.NewServer(recording)
	other.End()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.StripPrefix("/registry", other)}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return other
}

// send posts events as one array and returns status and body.
func (s *system) send(key string, events ...string) (status int, answer string) {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+s.addresses[0]+"/v1/events",
		strings.NewReader("["+strings.Join(events, ",")+"]"))
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

// post sends events and expects all to be accepted.
func (s *system) post(events ...string) {
	s.t.Helper()
	if status, answer := s.send(s.key, events...); status != http.StatusAccepted {
		s.t.Fatalf("events were answered %d: %s", status, answer)
	}
}

// counted returns how often a metric is counted in the one-minute rollups of a device, or of all for "".
func (s *system) counted(metric, device string) (n int) {
	s.t.Helper()
	s.sql(func(db *sql.DB) error {
		return db.QueryRow(`SELECT coalesce(sum(count), 0) FROM rollup_1m WHERE metric = ? AND (? = '' OR device_id = ?)`,
			metric, device, device).Scan(&n)
	})
	return n
}

// TestSchema_ARebuildCountsWhatSchemasHaveLearned sends a metric that no schema declares: it is stored, and left out
// of the rollups. Once a schema version declares it, new readings are counted; a rebuild adds the earlier ones.
func TestSchema_ARebuildCountsWhatSchemasHaveLearned(t *testing.T) {
	t.Parallel()
	const devices, each = 5, 20
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	reading := func(device string, at time.Time) string {
		return fmt.Sprintf(`{"event_id":%q,"device_id":%q,"device_firmware_version":"2.1.0","timestamp":%q,"metrics":{"cpu_temp":50,"battery_voltage":3.7,"vibration":1,"oil_temp":80.5,"fan":1}}`,
			uuid.NewString(), device, at.UTC().Format(time.RFC3339Nano))
	}
	now := time.Now()
	for d := range devices {
		var list []string
		for i := range each {
			list = append(list, reading(fmt.Sprintf("early-%d", d), now.Add(-time.Duration(i)*7*time.Second)))
		}
		s.post(list...)
	}
	s.drained()
	if known, unknown := s.counted("cpu_temp", ""), s.counted("oil_temp", ""); known != devices*each || unknown != 0 {
		t.Fatalf("before: %d of the known metric are counted, and %d of the unknown", known, unknown)
	}

	v3, err := os.ReadFile(repo("schemas/telemetry/v3.json"))
	if err != nil {
		t.Fatal(err)
	}
	v4 := strings.NewReplacer(`"humidity": {`, `"oil_temp": {"type": "number", "x-unit": "°C"}, "humidity": {`,
		">=3.0.0 <4.0.0", ">=2.0.0 <4.0.0").Replace(string(v3))
	path := filepath.Join(s.dir, "v4.json")
	if err := os.WriteFile(path, []byte(v4), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := s.weir("schema", "check", path, "--data", s.data); err != nil {
		t.Fatalf("checking: %v\n%s", err, out)
	}
	if _, err := s.weir("schema", "register", path, "--data", s.data); err != nil {
		t.Fatal(err)
	}
	later := 0
	for deadline := time.Now().Add(time.Minute); s.counted("oil_temp", "later") == 0; later++ {
		if time.Now().After(deadline) {
			t.Fatal("the metric is not counted a minute after a schema declares it")
		}
		s.post(reading("later", time.Now()))
		s.drained()
	}
	if n := s.counted("oil_temp", ""); n > later {
		t.Fatalf("what came before is counted without a rebuild: %d", n)
	}

	from, to := now.Add(-time.Hour).UTC().Format(time.RFC3339), time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
	if j := s.replay("--mode", "rebuild", "--from", from, "--to", to)(); j.Progress.Left != 0 || j.Progress.Windows == 0 {
		t.Fatalf("the rebuild: %+v", j)
	}
	want := devices*each + later
	if oil, cpu, fan := s.counted("oil_temp", ""), s.counted("cpu_temp", ""), s.counted("fan", ""); oil != want ||
		cpu != want || fan != 0 {
		t.Errorf("after the rebuild: %d of the metric that is known by now, %d of the one that was known, %d of the one "+
			"that never was; want %d, %d, 0", oil, cpu, fan, want, want)
	}
	s.reconcile()
}
