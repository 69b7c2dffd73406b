package rollup

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/text"
)

func runProcessor(t *testing.T, msgs ...*service.Message) string {
	t.Helper()
	out, err := benchProcessor(t).ProcessBatch(context.Background(), msgs)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, b := range out {
		for _, m := range b {
			raw, err := m.AsBytes()
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, string(raw))
		}
	}
	return strings.Join(lines, "\n")
}

func TestRollup_OnlyWhatIsToBeCountedBecomesAWindow(t *testing.T) {
	with := func(key, value string) *service.Message {
		m := testMessage(testEvent(1, "a", noon, `{"x":1,"y":2}`), "acme")
		m.MetaSetMut(key, value)
		return m
	}
	errored := testMessage(testEvent(1, "a", noon, `{"x":1}`), "acme")
	errored.SetError(errors.New("failed before"))
	for name, m := range map[string]*service.Message{
		"duplicate":                          with(event.MetaDuplicateOf, "raw-events/0/7"),
		"replayed for others":                with(event.HeaderTarget, "raw,detect"),
		"errored":                            errored,
		"no event":                           testMessage(`{"event_id":"x"}`, "acme"),
		"no JSON":                            testMessage(`}`, "acme"),
		"without a fleet":                    testMessage(testEvent(1, "a", noon, `{"x":1}`), ""),
		"clock ahead, but when was it sent?": with(event.HeaderFlags, event.FlagClockAhead),
	} {
		if out := runProcessor(t, m); out != "" {
			t.Errorf("%s: %s", name, out)
		}
	}
	const id = `{"id":"5e41ab087439611e","at":"2026-11-21T12:00:00Z","metrics":`
	for name, c := range map[string]struct {
		m    *service.Message
		want string
	}{
		"plain":          {with("k", "v"), id + `{"x":1,"y":2}}`},
		"unknown metric": {with(event.HeaderUnknownMetrics, "z,y"), id + `{"x":1}}`},
		"all unknown":    {with(event.HeaderUnknownMetrics, "x,y"), id + `{}}`},
		"late":           {with(event.HeaderFlags, event.FlagLate), id + `{"x":1,"y":2}}`},
		"replayed for us too": {with(event.HeaderTarget, "raw,rollup"),
			`{"id":"5e41ab087439611e","at":"2026-11-21T12:00:00Z","replayed":true,"metrics":{"x":1,"y":2}}`},
	} {
		c.m.SetBytes([]byte(strings.Replace(testEvent(1, "a", noon, `{"x":1,"y":2}`), "00000000-0000-4000-8000-000000000001",
			"00000000-0000-0000-0000-000000000001", 1)))
		if out, want := runProcessor(t, c.m), `{"fleet":"acme","device_id":"a","bucket":"2026-11-21T12:00:00Z","events":[`+
			c.want+`]}`; out != want {
			t.Errorf("%s:\n%s, expected\n%s", name, out, want)
		}
	}
}

// An event with a clock that runs ahead counts at the time of its receipt.
func TestRollup_ClockAheadCountsAtItsReceivedTime(t *testing.T) {
	m := testMessage(testEvent(1, "a", noon.AddDate(1, 0, 0), `{"x":1}`), "acme")
	m.MetaSetMut(event.HeaderFlags, "late,"+event.FlagClockAhead)
	m.MetaSetMut(event.HeaderReceivedAt, noon.Format(event.TimeFormat))
	if out := runProcessor(t, m); !strings.Contains(out, `"bucket":"2026-11-21T12:00:00Z"`) {
		t.Error(out)
	}
}

func TestRollup_WindowsAreOfWholeMinutesAlsoBefore1970(t *testing.T) {
	for at, want := range map[string]int64{
		"2026-11-21T12:00:59.999999Z": noon.Unix(), "2026-11-21T13:30:00+01:30": noon.Unix(), "1969-12-31T23:59:59Z": -60,
	} {
		tm, _ := text.ParseTime(at)
		if got := minuteOf(tm); got != want {
			t.Errorf("%s is in %d, expected %d", at, got, want)
		}
	}
}
