package rule

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// noon is the time at which most tests begin.
func noon() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

// at returns an event of pump-1, stamped so long after noon.
func at(after time.Duration, v float64) string {
	return fmt.Sprintf(`{"event_id":"00000000-0000-4000-8000-%012x","device_id":"pump-1","device_firmware_version":"2.0.0",`+
		`"timestamp":%q,"metrics":{"v":%g}}`, uint64(after.Microseconds())&0xffffffffffff,
		noon().Add(after).Format("2006-01-02T15:04:05.000000Z"), v)
}

// say evaluates a rule, of which the window and what follows it are given. It returns a line for each
// result: status and revision, the window, and the values.
func say(t *testing.T, delay time.Duration, window string, events ...string) (lines []string, report *Report) {
	t.Helper()
	set := mustParse(t, "rules:\n  - name: r\n    key: [device_id]\n    select: { n: count(), total: "+
		"sum(this.metrics.v) }\n    window: "+
		window+"\n")
	report, err := set.Try(strings.NewReader(strings.Join(events, "\n")), Trial{Fleet: "f", Delay: delay},
		func(r Result) error {
			told := parseTold(t, r.JSON)
			line := fmt.Sprintf("%s/%d %s %s", told.Status, told.Revision, told.ID[:4], told.Into)
			if told.Status != statusRetracted {
				line = fmt.Sprintf("%s/%d %s-%s %v/%v", told.Status, told.Revision, told.Start.Sub(noon()), told.End.Sub(noon()),
					told.Values["n"], told.Values["total"])
			}
			lines = append(lines, line)
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	return lines, report
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

const s = time.Second

// The bounds of windows and of lateness are exact to the microsecond.
func TestWindow_BordersAreExact(t *testing.T) {
	us := time.Microsecond
	got, report := say(t, s, "{ type: tumbling, size: 10s, allowed_lateness: 5s }",
		at(0, 1), at(10*s-us, 2), at(11*s-us, 4), // the watermark is at 10 s - 1 us: the first window is open
		at(3*s, 8),  // out of order, and in time
		at(11*s, 1), // closes it
		at(4*s, 16), // corrects it
		at(16*s-us, 1),
		at(5*s, 32), // corrects it again
		at(16*s, 1), // closes it for good
		at(6*s, 64)) // late by 0
	expect(t, got, "final/0 0s-10s 3/11", "revised/1 0s-10s 4/27", "revised/2 0s-10s 5/59", "final/0 10s-20s 4/7")
	if tally := report.Rules[0].Outcomes; tally[Late] != 1 || tally[Counted] != 9 {
		t.Errorf("outcomes %v", tally)
	}
	if len(report.Misses) != 1 || report.Misses[0].By != 0 || report.Misses[0].Offset != 10 {
		t.Errorf("misses %+v", report.Misses)
	}
}

// An event can be late for one window of a sliding rule, and correct another.
func TestWindow_SlidingTakesALateEventWhereItIsAllowed(t *testing.T) {
	got, report := say(t, 0, "{ type: sliding, size: 20s, every: 10s, allowed_lateness: 5s }",
		at(1*s, 1), at(16*s, 2), at(5*s, 4))
	// The event of 5 s is in [-10, 10), which is closed for good at 15 s, and in [0, 20).
	expect(t, got, "final/0 -10s-10s 1/1", "final/0 0s-20s 3/7", "final/0 10s-30s 1/2")
	if report.Rules[0].Outcomes[Late] != 0 {
		t.Error("an event that one window counts has the outcome late")
	}
}

// The first result of a window is final, also if the window had no event when it closed. If having is no
// longer true, the result is retracted.
func TestWindow_HavingRetractsAResultThatFailsIt(t *testing.T) {
	got, _ := say(t, 0, "{ type: tumbling, size: 10s, allowed_lateness: 1h }\n    having: this.total < 10",
		at(21*s, 1), at(1*s, 5), at(2*s, 6), at(3*s, -8))
	if len(got) != 4 || got[0] != "final/0 0s-10s 1/5" || !strings.HasPrefix(got[1], "retracted/1 ") ||
		got[2] != "revised/2 0s-10s 3/3" || got[3] != "final/0 20s-30s 1/1" {
		t.Errorf("%q", got)
	}
}

func TestWindow_HasProvisionalResults(t *testing.T) {
	window := "{ type: tumbling, size: 60s, allowed_lateness: 0s }\n    emit: "
	got, _ := say(t, 0, window+"{ on: update }", at(1*s, 1), at(2*s, 2), at(61*s, 4))
	expect(t, got, "provisional/0 0s-1m0s 1/1", "provisional/1 0s-1m0s 2/3", "final/2 0s-1m0s 2/3",
		"provisional/0 1m0s-2m0s 1/4", "final/1 1m0s-2m0s 1/4")
	got, _ = say(t, 0, window+"{ every: 20s }", at(1*s, 1), at(2*s, 2), at(59*s, 3), at(61*s, 4))
	expect(t, got, "provisional/0 0s-1m0s 2/3", "final/1 0s-1m0s 3/6", "provisional/0 1m0s-2m0s 1/4",
		"final/1 1m0s-2m0s 1/4")
}

func TestSession_MergesAndRetracts(t *testing.T) {
	window := "{ type: session, gap: 10s, allowed_lateness: 1h }"
	got, _ := say(t, 0, window, at(0, 1), at(10*s, 2), at(20*s+time.Microsecond, 4))
	expect(t, got, "final/0 0s-20s 2/3", "final/0 20.000001s-30.000001s 1/4")

	// An event connects two closed sessions: the first is corrected, the second is retracted.
	got, _ = say(t, 0, window, at(0, 1), at(18*s, 2), at(60*s, 4), at(9*s, 8))
	if len(got) != 5 || got[0] != "final/0 0s-10s 1/1" || got[1] != "final/0 18s-28s 1/2" ||
		!strings.HasPrefix(got[2], "retracted/1 ") || got[3] != "revised/1 0s-28s 3/11" ||
		got[4] != "final/0 1m0s-1m10s 1/4" {
		t.Errorf("%q", got)
	}
	// An event before the start of a session gives the session another id.
	got, _ = say(t, 0, window, at(10*s, 1), at(60*s, 2), at(5*s, 4))
	if len(got) != 4 || !strings.HasPrefix(got[1], "retracted/1 ") || got[2] != "final/0 5s-20s 2/5" {
		t.Errorf("%q", got)
	}
	// An event opens a closed session again, which has a revised result when it ends.
	got, _ = say(t, 0, window, at(0, 1), at(11*s, 2), at(10*s, 4))
	expect(t, got[:2], "final/0 0s-10s 1/1", "revised/1 0s-21s 3/7")
	// Of two events, one is late; the other, a microsecond later, belongs to a session that is still open.
	_, report := say(t, 0, "{ type: session, gap: 10s, allowed_lateness: 0s }", at(0, 1), at(30*s, 2), at(20*s-1, 4),
		at(20*s, 8))
	if tally := report.Rules[0].Outcomes; tally[Late] != 1 || tally[Counted] != 3 {
		t.Errorf("outcomes %v", tally)
	}
}

func TestCount_ClosesWhenFullOrOld(t *testing.T) {
	got, _ := say(t, 0, "{ type: count, size: 2, max: 1m }", at(0, 1), at(1*s, 2), at(2*s, 4), at(62*s, 8), at(3*s, 16))
	expect(t, got, "final/0 0s-1s 2/3", "final/0 2s-2s 1/4", "final/0 3s-1m2s 2/24")
}

// A day begins by the clock of its zone, and may be longer or shorter than 24 hours.
func TestCalendar_DaysOfZones(t *testing.T) {
	for _, c := range []struct {
		zone, align, in string
		hours           float64
		start           string
	}{
		{"Europe/Berlin", "0s", "2026-03-29T12:00:00Z", 23, "2026-03-28T23:00:00Z"},
		{"Europe/Berlin", "0s", "2026-10-25T12:00:00Z", 25, "2026-10-24T22:00:00Z"},
		{"Europe/Berlin", "6h", "2026-10-25T12:00:00Z", 24, "2026-10-25T05:00:00Z"},
		{"Europe/Berlin", "6h", "2026-10-25T04:59:59Z", 25, "2026-10-24T04:00:00Z"},
		{"Asia/Kathmandu", "0s", "2026-10-25T18:14:59Z", 24, "2026-10-24T18:15:00Z"},
		{"Asia/Kathmandu", "0s", "2026-10-25T18:15:00Z", 24, "2026-10-25T18:15:00Z"},
		{"Australia/Lord_Howe", "0s", "2026-10-04T06:00:00Z", 23.5, "2026-10-03T13:30:00Z"},
	} {
		in, err := time.Parse(time.RFC3339, c.in)
		if err != nil {
			t.Fatal(err)
		}
		set := mustParse(t, fmt.Sprintf("rules: [{name: r, key: [device_id], select: {n: count()}, window: {type: "+
			"tumbling, size: day, "+
			"timezone: %s, align: %s, allowed_lateness: 0s}}]", c.zone, c.align))
		start, end := set.Rules[0].window.grid.calendar.span(in.UnixMicro())
		if got := time.UnixMicro(start).UTC().Format(time.RFC3339); got != c.start || float64(end-start)/3.6e9 != c.hours {
			t.Errorf("%s in %s: from %s, %v hours", c.in, c.zone, got, float64(end-start)/3.6e9)
		}
	}
}

// Each moment is in exactly one window of a calendar, in zones with unusual changes of the clock.
func TestCalendar_LeavesNothingOut(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for _, name := range []string{"Pacific/Apia", "America/Sao_Paulo", "Asia/Beirut", "America/Scoresbysund",
		"Africa/Cairo", "UTC"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, unit := range []string{"day", "week", "month"} {
			c := &calendar{unit: unit, zone: zone, align: time.Duration(r.IntN(3)) * time.Hour}
			at := time.Date(2008, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
			_, at = c.span(at)
			for range 800 {
				start, end := c.span(at)
				if start != at || end <= start {
					t.Fatalf("%s of %s: the window after %v is %v to %v", unit, name, at, start, end)
				}
				in := start + r.Int64N(end-start)
				if s, e := c.span(in); s != start || e != end {
					t.Fatalf("%s of %s: %v is in another window than the start before it", unit, name, in)
				}
				at = end
			}
		}
	}
}

// metamorphic has rules of all kinds whose results do not depend on the order in which events come, within
// the delay.
const metamorphic = `
rules:
  - { name: minute, key: [device_id], window: { type: tumbling, size: 1m, allowed_lateness: 0s },
      select: { n: count(), a: sum(this.metrics.v), b: stddev(this.metrics.v), c: p95(this.metrics.v), d: avg(this.metrics.v) } }
  - { name: slide, key: [device_id, this.metrics.w], where: this.metrics.w > 1,
      window: { type: sliding, size: 90s, every: 20s, allowed_lateness: 1m },
      select: { n: count(), f: first(this.metrics.v), l: last(this.metrics.v), t: "top(this.metrics.w, 3)" }, having: this.n > 1 }
  - { name: odd, key: [device_id], window: { type: sliding, size: 1600ms, every: 700ms, align: 100ms, allowed_lateness: 1m },
      select: { lo: min(this.metrics.v), hi: max(this.metrics.v), u: distinct(this.event_id) } }
  - { name: visits, key: [device_id], window: { type: session, gap: 10s, allowed_lateness: 2m },
      select: { n: count(), a: sum(this.metrics.v), k: distinct(this.device_firmware_version) } }
  - { name: days, key: [device_id], window: { type: tumbling, size: day, timezone: Europe/Berlin, allowed_lateness: 0s },
      select: { n: count(), u: distinct(this.event_id), p: p50(this.metrics.v) } }
  - name: rising
    key: [device_id]
    pattern:
      match: low up{2,}? -> (down | low !up)
      within: 3m
      skip: last(up)
      define:
        low: this.metrics.w < 6
        up: this.metrics.w >= max(up.metrics.w).or(0) && this.metrics.w != prev(metrics.w)
        down: this.metrics.w < first(low.metrics.w) || count(up) > 4
    select: { ups: count(up), top: max(up.metrics.w), n: count(), v: avg(this.metrics.v), from: low.device_firmware_version }
    having: this.top > 1
  - name: silence
    key: [device_id]
    where: this.metrics.w.or(0) > 0
    pattern: { match: one !two, within: 15s, skip: next, define: { one: this.metrics.w < 4, two: this.metrics.w >= 4 } }
    select: { n: count(one) }
  - name: answered
    key: [device_id]
    join: { left: this.metrics.w < 4, right: this.metrics.w > 2, within: { before: 2s, after: 20s }, type: outer, allowed_lateness: 0s }
    select: { asked: left.timestamp, answered: right.timestamp, v: right.metrics.v, w: left.metrics.w * 2 }
    having: this.w.or(0) < 6
`

// Events in any order within the delay have the same results, byte for byte.
func TestWindow_OrderWithinTheDelayDoesNotShow(t *testing.T) {
	set := mustParse(t, metamorphic)
	r := rand.New(rand.NewPCG(9, 16))
	for round := range 25 {
		events := strings.Join(history(r, 200, noon()), "\n")
		results := func(shuffle uint64) map[string]string {
			found := map[string]string{}
			report, err := set.Try(strings.NewReader(events), Trial{Fleet: "f", Delay: 30 * s, Shuffle: shuffle},
				func(r Result) error {
					id := fmt.Sprint(r.ID, r.Revision)
					if found[id] != "" {
						t.Fatalf("%s is emitted twice", r.JSON)
					}
					found[id] = string(r.JSON)
					return nil
				})
			if err != nil {
				t.Fatal(err)
			}
			for _, rule := range report.Rules {
				if rule.Outcomes[Late] > 0 || rule.Outcomes[Failed] > 0 || rule.Results == 0 {
					t.Fatalf("%+v", rule)
				}
			}
			return found
		}
		want := results(0)
		for n := range 4 {
			if got := results(uint64(round*10 + n + 1)); !maps.Equal(got, want) {
				for id := range want {
					if got[id] != want[id] {
						t.Fatalf("in another order\n%s\nis\n%s", want[id], got[id])
					}
				}
				t.Fatal("in another order there are more results")
			}
		}
	}
}
