package scenarios

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Changed stream files are applied under load: a valid change, an invalid one, one that cannot start, and a change of
// the gate itself. No event is lost or stored twice.
func TestWatch_ChangedStreamsAreTakenUpWithoutLoss(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	_, wait := s.fleet("--devices", "50", "--rate", "300", "--duration", "40s")
	raw := filepath.Join(s.data, "home", "configs", "streams", "raw.yaml")
	seen := 0
	await := func(says string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
			log, err := os.ReadFile(filepath.Join(s.dir, "up.log"))
			if err != nil {
				t.Fatal(err)
			}
			if at := strings.Index(string(log[seen:]), says); at >= 0 {
				seen += at + len(says)
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("nothing said %q", says)
			}
		}
	}
	change := func(path, from, to, says string) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), from) {
			t.Fatalf("%s has no %q (%v)", path, from, err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		await(says)
	}
	change(raw, "period: ${WEIR_RAW_PERIOD:5s}", "period: 1s", "Updated stream raw config from file")
	change(raw, "period: 1s", "period: soon", "is wrong, and changes nothing")
	change(raw, "period: soon", "period: 2s", "Updated stream raw config from file")
	change(raw, "timeout: ${WEIR_CLAIMS_TIMEOUT:1s}", "timeout: 0s", "is wrong, and changes nothing")
	change(raw, "timeout: 0s", "timeout: 5s", "Updated stream raw config from file")
	// Whether a resource exists is known only when the stream is created.
	missing := "- cache: { resource: missing, operator: get, key: a }\n    - label: dedupe"
	change(raw, "- label: dedupe", missing, "the one before runs on")
	change(raw, missing, "- label: dedupe_again", "Updated stream raw config from file")
	change(filepath.Join(filepath.Dir(raw), "ingest.yaml"), "max_in_flight: 256", "max_in_flight: 128",
		"Updated stream ingest config from file")
	// The same with `weir config`: an invalid version is not kept, one that cannot start changes nothing, and a valid
	// one is applied and rolled back.
	config := func(says string, args ...string) {
		t.Helper()
		if out, err := s.weir(append([]string{"config", args[0], "--data", s.data}, args[1:]...)...); err != nil {
			t.Fatalf("weir config %q: %v\n%s", args, err, out)
		}
		await(says)
	}
	text, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	version := func(from, to string) string {
		return s.file("version.yaml", strings.Replace(string(text), from, to, 1))
	}
	put := []string{"put", "--stream", "raw", "--activate"}
	if out, err := s.weir("config", "put", "--data", s.data, "--stream", "raw",
		version("period: 2s", "period: soon")); err == nil {
		t.Errorf("a wrong version is kept:\n%s", out)
	}
	const updated = "Updated stream raw config from file"
	config("raw.yaml version=1\n", append(put, version("period: 2s", "period: 300ms"))...)
	await(updated) // wait for this version: the next is applied once the engine has answered
	config("raw.yaml version=2\n", append(put, version("- label: dedupe_again", missing))...)
	await("the one before runs on")
	await(updated)
	s.until("the process says that it runs by what was before", func() bool {
		out, err := s.weir("config", "list", "--data", s.data, "--json")
		return err == nil && strings.Contains(out, `"wanted": 2`) && strings.Contains(out, `"running": 1`) &&
			strings.Contains(out, "cannot start it")
	})
	config("", "rollback", "raw")
	config("raw.yaml version=0\n", "rollback", "raw")
	await(updated)
	rules := filepath.Join(s.data, "home", "configs", "anomaly.yaml")
	text, err = os.ReadFile(rules)
	if err != nil || !strings.Contains(string(text), "max: 90") {
		t.Fatalf("%s has no limit of 90 (%v)", rules, err)
	}
	if err := os.WriteFile(rules, []byte(strings.Replace(string(text), "max: 90", "max: 42", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Log(wait())
	s.verify(60 * time.Second)
	s.reconcile()
	s.stop()

	// Changed files are kept, and the log says so.
	s.start()
	s.ready()
	if text, err := os.ReadFile(raw); err != nil || !strings.Contains(string(text), "period: 2s") {
		t.Errorf("the changed stream was replaced: %v", err)
	}
	if text, err := os.ReadFile(rules); err != nil || !strings.Contains(string(text), "max: 42") {
		t.Errorf("the changed rules were replaced: %v", err)
	}
	log, _ := os.ReadFile(filepath.Join(s.dir, "up.log"))
	for _, file := range []string{"configs/streams/raw.yaml", "configs/anomaly.yaml"} {
		if !strings.Contains(string(log[seen:]), file+" was changed, and is kept") {
			t.Errorf("nothing says that the changed %s is kept", file)
		}
	}
	s.stop()
}
