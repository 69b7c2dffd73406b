package scenarios

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Streams are taken up as their files change, under load: a right change, one
// that is wrong, one that cannot be started, a right one of the gate itself. No
// event is lost or stored twice.
func TestWatch_ChangedStreamsAreTakenUpWithoutLoss(t *testing.T) {
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	_, wait := s.fleet("--devices", "50", "--rate", "300", "--duration", "30s")
	raw := filepath.Join(s.data, "home", "configs", "streams", "raw.yaml")
	seen := 0
	change := func(path, from, to, says string) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), from) {
			t.Fatalf("%s has no %q (%v)", path, from, err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
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
				t.Fatalf("after %q became %q nothing said %q", from, to, says)
			}
		}
	}
	change(raw, "period: ${WEIR_RAW_PERIOD:5s}", "period: 1s", "Updated stream raw config from file")
	change(raw, "period: 1s", "period: soon", "is wrong, and changes nothing")
	change(raw, "period: soon", "period: 2s", "Updated stream raw config from file")
	change(raw, "timeout: ${WEIR_CLAIMS_TIMEOUT:1s}", "timeout: 0s", "is wrong, and changes nothing")
	change(raw, "timeout: 0s", "timeout: 5s", "Updated stream raw config from file")
	// Which resources there are is known when a stream is made.
	missing := "- cache: { resource: missing, operator: get, key: a }\n    - label: dedupe"
	change(raw, "- label: dedupe", missing, "the one before runs on")
	change(raw, missing, "- label: dedupe_again", "Updated stream raw config from file")
	change(filepath.Join(filepath.Dir(raw), "ingest.yaml"), "max_in_flight: 256", "max_in_flight: 128",
		"Updated stream ingest config from file")
	rules := filepath.Join(s.data, "home", "configs", "anomaly.yaml")
	text, err := os.ReadFile(rules)
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

	// What was changed is kept, and told.
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
