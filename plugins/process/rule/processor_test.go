package rule

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// A batch is evaluated on its own, as a file of its events is, each fleet separately. A message that is
// not an event fails the batch.
func TestRuleTry_ABatchIsEvaluatedAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules.yaml")
	text := "rules: [{ name: minute, key: [device_id], select: { n: count() }, window: { type: tumbling, size: 1m, " +
		"allowed_lateness: 0s } }]"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	conf, err := ruleTrySpec().ParseYAML("{ rules: "+file+", misses: true }", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newTry(conf)
	if err != nil {
		t.Fatal(err)
	}
	of := func(fleet, id, at string) *service.Message {
		m := service.NewMessage([]byte(`{"event_id":"00000000-0000-4000-8000-00000000000` + id +
			`","device_id":"pump-1","device_firmware_version":"2.1.0","timestamp":"` + at + `","metrics":{}}`))
		if fleet != "" {
			m.MetaSetMut("weir_fleet", fleet)
		}
		return m
	}
	batch := service.MessageBatch{of("a", "1", "2026-11-21T09:15:00Z"), of("b", "1", "2026-11-21T09:15:01Z"),
		of("a", "2", "2026-11-21T09:15:02Z"), of("a", "2", "2026-11-21T09:15:02Z"), of("", "3", "2026-11-21T09:15:59Z"),
		of("a", "4", "2026-11-21T09:18:00Z"), of("a", "5", "2026-11-21T09:15:03Z")}
	for range 2 { // no state is kept between batches
		out, err := p.ProcessBatch(t.Context(), batch)
		if err != nil || len(out) != 1 || len(out[0]) != 5 {
			t.Fatalf("%d batches, %v", len(out), err)
		}
		for i, want := range []string{`"fleet":"a",.*"n":2`, `"fleet":"b",.*"n":1`, `"fleet":"try",.*"n":1`,
			`"fleet":"a",.*"n":1`, `"outcome":"late","message":6,"late_by_seconds":`} {
			raw, err := out[0][i].AsBytes()
			for _, part := range strings.Split(want, ".*") {
				if err != nil || !strings.Contains(string(raw), part) {
					t.Errorf("message %d is %s (%v), want %s", i, raw, err, want)
				}
			}
		}
	}
	if _, err := p.ProcessBatch(context.Background(), service.MessageBatch{service.NewMessage([]byte("{}"))}); err == nil {
		t.Error("a message that is not an event was accepted")
	}
}

// Lines as weir query prints them, which are ordered by device, are sorted by time, so that none is late
// because of that. Other files are read in their order.
func TestTry_StoredEventsAreReadInTheOrderOfTime(t *testing.T) {
	set := mustParse(t, perMinute)
	first, second := at(0, 1)+"\n"+at(300*s, 1), at(1*s, 1)
	second = strings.Replace(second, "pump-1", "pump-2", 1)
	for wrap, late := range map[string]int64{`%s`: 1, `{"event":%s}`: 0} {
		var lines []string
		for _, line := range strings.Split(first+"\n"+second, "\n") {
			lines = append(lines, strings.Replace(wrap, "%s", line, 1))
		}
		report, err := set.Try(strings.NewReader(strings.Join(lines, "\n")), Trial{Fleet: "f"}, nil)
		if err != nil || report.Events != 3 || report.Rules[0].Outcomes[Late] != late {
			t.Errorf("%s: %+v, %v", wrap, report, err)
		}
	}
}
