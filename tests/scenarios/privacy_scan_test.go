package scenarios

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// scan runs `weir privacy scan` and returns its output and exit code.
func (s *system) scan(args ...string) (out string, code int) {
	s.t.Helper()
	out, err := s.weir(append([]string{"privacy", "scan", "--data", s.data, "--quiet"}, args...)...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return out, exit.ExitCode()
	} else if err != nil {
		s.t.Fatalf("the scan did not run: %v\n%s", err, out)
	}
	return out, 0
}

// A weir without the privacy processor stores personal data. The scan finds where, in the log and the stores, while
// weir runs and when it is stopped, and prints no value. Before any personal data is sent it finds nothing.
func TestPrivacy_AScanFindsWhatIsStored(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	const event = `{"event_id":%q,"device_id":"pump-1","device_firmware_version":%q,"timestamp":%q,` +
		`"metrics":{"cpu_temp":61.5,"battery_voltage":3.7,"vibration":0.2},"diagnostics":{"seen":[{"by":%q}]}}`
	send := func(firmware, by string, want int) {
		t.Helper()
		body := fmt.Sprintf(event, uuid.NewString(), firmware, time.Now().UTC().Format(time.RFC3339), by)
		if status, reply := s.answer(body); status != want {
			t.Fatalf("answered %d, want %d: %s", status, want, reply)
		}
	}
	send("2.0.0", "nobody", 202)
	send("99.0.0", "nobody", 400)
	s.drained()
	if out, code := s.scan(); code != 0 || !strings.Contains(out, "No personal data was found.") {
		t.Fatalf("a scan of what has nothing personal ends with %d:\n%s", code, out)
	}
	const address = "ann.scanned@example.com"
	send("2.0.0", address, 202)
	send("99.0.0", address, 400)
	s.drained()
	for _, when := range []string{"while weir runs", "when it is stopped"} {
		out, code := s.scan("--json")
		var report struct {
			Found    int64
			Findings []struct{ Store, Place, Pointer, Type string }
			Stores   []struct {
				Store string
				Rows  int64
			}
		}
		if err := json.Unmarshal([]byte(out), &report); err != nil || code != 1 || strings.Contains(out, address) {
			t.Fatalf("%s: the scan ends with %d (%v):\n%s", when, code, err, out)
		}
		found := map[string]bool{}
		for _, f := range report.Findings {
			if f.Type != "email" {
				t.Errorf("%s: found %+v", when, f)
			}
			found[f.Store+" "+f.Place+" "+f.Pointer] = true
		}
		for _, want := range []string{"log raw-events value /diagnostics/seen/*/by",
			"log dead-letter value /original/diagnostics/seen/*/by", "raw diagnostics /seen/*/by",
			"dead_letters original /diagnostics/seen/*/by"} {
			if !found[want] {
				t.Errorf("%s: nothing is found at %q: %s", when, want, out)
			}
		}
		if when == "while weir runs" {
			s.stop()
		}
	}
	if out, code := s.scan("--fleet", "another"); code != 0 {
		t.Errorf("of another fleet: %d\n%s", code, out)
	}
	if out, code := s.scan("--stores", "bogus"); code != 2 {
		t.Errorf("of a store that is none: %d\n%s", code, out)
	}
}
