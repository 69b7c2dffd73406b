package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// Claims outlive their log: the log's folder is emptied, and an event of the old log is sent again. In the new log,
// another event has the coordinates that the old claim names. If that claim still counted, the event sent again would
// be taken for a duplicate and lost.
func TestClaims_OutliveTheLog(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	x, y := oneEvent("pump-1"), oneEvent("pump-2")
	s.post(x)
	s.verified(x)
	s.stop()
	s.forgetLog()
	s.start()
	s.ready()
	s.post(y)
	s.post(x)
	s.post(x) // now a duplicate
	s.verified(y, x, x)
}

// forgetLog deletes the log of a stopped weir, and its raw store and rollups. Claims and dead letters stay.
func (s *system) forgetLog() {
	s.t.Helper()
	left, err := filepath.Glob(filepath.Join(s.data, "rollups.*"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, path := range append(left, filepath.Join(s.data, "broker"), filepath.Join(s.data, "raw")) {
		if err := os.RemoveAll(path); err != nil {
			s.t.Fatal(err)
		}
	}
}

func oneEvent(device string) string {
	return fmt.Sprintf(`{"event_id":%q,"device_id":%q,"device_firmware_version":"2.1.0","timestamp":%q,"metrics":{"cpu_temp":61.5,"battery_voltage":3.7,"vibration":0.2}}`,
		uuid.NewString(), device, time.Now().UTC().Format(time.RFC3339))
}

// verified writes a journal in which every given event was accepted, and runs both proofs: weir reconcile, and
// verify.py with that journal.
func (s *system) verified(sent ...string) {
	s.t.Helper()
	journal, now := filepath.Join(s.dir, "sent.jsonl"), time.Now().UTC().Format(time.RFC3339Nano)
	var b strings.Builder
	for i, raw := range sent {
		fmt.Fprintf(&b, `{"type":"sent","seq":%d,"attempt":1,"kind":"normal","at":%q,"event":%s}`+"\n", i, now, raw)
		fmt.Fprintf(&b, `{"type":"verdict","seq":%d,"attempt":1,"verdict":"accepted","code":"","at":%q}`+"\n", i, now)
	}
	b.WriteString(`{"type":"end"}` + "\n")
	if err := os.WriteFile(journal, []byte(b.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.journals = []string{journal}
	s.reconcile()
	s.verify(60 * time.Second)
}
