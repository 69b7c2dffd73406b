package rule

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// pairs evaluates a join of events whose metric v is 1 (left), 2 (right) or 3 (both). It returns a
// line for each result: the times of the left and the right event, or - for none, the count, and the
// window.
func pairs(t *testing.T, delay time.Duration, join string, events ...string) (lines []string, report *Report) {
	t.Helper()
	set := mustParse(t, "rules:\n  - name: r\n    key: [device_id]\n"+
		"    select: { l: left.timestamp, r: right.timestamp }\n"+
		"    join: { left: \"[1, 3].contains(this.metrics.v)\", right: \"[2, 3].contains(this.metrics.v)\", "+join+" }\n")
	ids := map[string]bool{}
	report, err := set.Try(strings.NewReader(strings.Join(events, "\n")), Trial{Fleet: "f", Delay: delay},
		func(r Result) error {
			told := parseTold(t, r.JSON)
			if ids[told.ID] || told.Status != statusFinal || told.Revision != 0 {
				t.Errorf("a result is emitted twice, or is not final: %s", r.JSON)
			}
			ids[told.ID] = true
			short := func(side string) string {
				text, there := told.Values[side].(string)
				if !there {
					return "-"
				}
				at, err := time.Parse(time.RFC3339Nano, text)
				if err != nil {
					t.Fatal(err)
				}
				return at.Sub(noon()).String()
			}
			lines = append(lines, fmt.Sprintf("%s %s %d %s..%s", short("l"), short("r"), told.Count, told.Start.Sub(noon()),
				told.End.Sub(noon())))
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	return lines, report
}

// The bounds of a join are exact to the microsecond, and its results come in the expected order.
func TestJoin_BordersAreExact(t *testing.T) {
	us := time.Microsecond
	const within = "within: { before: 1s, after: 10s }, allowed_lateness: 0s, type: "
	// Pairs are emitted at once, events without a partner when time has passed.
	log := []string{at(0, 2), at(1*s, 1), at(11*s, 2), at(11*s+us, 2), at(12*s, 3), at(12*s+us, 1), at(60*s, 9)}
	inner := []string{"1s 0s 2 0s..1s", "1s 11s 2 1s..11s", "12s 11s 2 11s..12s", "12s 11.000001s 2 11.000001s..12s",
		"12.000001s 11.000001s 2 11.000001s..12.000001s", "12.000001s 12s 2 12s..12.000001s"}
	got, report := pairs(t, 0, within+"inner", log...)
	expect(t, got, inner...)
	if tally := report.Rules[0].Outcomes; tally[Counted] != 6 || tally[Filtered] != 1 {
		t.Errorf("outcomes %v", tally)
	}
	got, _ = pairs(t, 0, within+"outer", log...)
	expect(t, got, inner...) // each has a partner
	alone := []string{at(0, 1), at(10*s+us, 2), at(12*s, 3)}
	got, _ = pairs(t, 0, within+"outer", alone...)
	expect(t, got, "0s - 1 0s..10s", "- 10.000001s 1 10.000001s..11.000001s", "- 12s 1 12s..13s", "12s - 1 12s..22s")
	got, _ = pairs(t, 0, within+"left", alone...)
	expect(t, got, "0s - 1 0s..10s", "12s - 1 12s..22s")
	got, _ = pairs(t, 0, within+"inner", alone...)
	expect(t, got)
}

// An event within the allowed lateness finds its partner. Until that has passed, an event without a
// partner is not emitted.
func TestJoin_LatenessIsWaitedFor(t *testing.T) {
	const join = "within: { after: 10s }, type: outer, allowed_lateness: 5s"
	us := time.Microsecond
	got, report := pairs(t, s, join, at(0, 1), at(16*s, 9), at(10*s, 2)) // the watermark is at 15 s
	expect(t, got, "0s 10s 2 0s..10s")
	if report.Rules[0].Outcomes[Late] != 0 {
		t.Errorf("%+v", report.Rules)
	}
	got, report = pairs(t, s, join, at(0, 1), at(16*s+us, 9), at(10*s, 2), at(10*s+us, 2))
	expect(t, got, "0s - 1 0s..10s", "- 10.000001s 1 10.000001s..10.000001s")
	if len(report.Misses) != 1 || report.Misses[0].By != 1 || report.Rules[0].Outcomes[Late] != 1 {
		t.Errorf("%+v %+v", report.Misses, report.Rules)
	}
}

// joinedNaively computes a join by its definition: it compares all events that are not late, each
// with each. It has its own watermark.
func joinedNaively(events []joinEvent, delay, lateness, before, after time.Duration, kind string) (want []string,
	late int64) {
	var newest time.Time
	var kept []joinEvent
	for _, e := range events {
		if e.at.After(newest) {
			newest = e.at
		}
		switch {
		case e.side == 0:
		case e.at.Before(newest.Add(-delay - lateness)):
			late++
		default:
			kept = append(kept, e)
		}
	}
	paired := map[string]bool{}
	for _, l := range kept {
		for _, r := range kept {
			if l.id != r.id && l.device == r.device && l.side&1 != 0 && r.side&2 != 0 && !r.at.Before(l.at.Add(-before)) &&
				!r.at.After(l.at.Add(after)) {
				want = append(want, l.id+" "+r.id)
				paired["l"+l.id], paired["r"+r.id] = true, true
			}
		}
	}
	for _, e := range kept {
		if e.side&1 != 0 && !paired["l"+e.id] && kind != "inner" {
			want = append(want, e.id+" -")
		}
		if e.side&2 != 0 && !paired["r"+e.id] && kind == "outer" {
			want = append(want, "- "+e.id)
		}
	}
	slices.Sort(want)
	return want, late
}

type joinEvent struct {
	id, device string
	at         time.Time
	side       int
}

// Joins have the results of their definition, in whatever order events come, however late they are,
// and with equal times.
func TestJoin_IsWhatItsDefinitionSays(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 23))
		var events []joinEvent
		var lines []string
		clock := noon()
		for i := range 120 {
			clock = clock.Add(time.Duration(r.IntN(4)) * s * time.Duration(r.IntN(3)))
			e := joinEvent{id: fmt.Sprintf("00000000-0000-4000-8000-%012x", i), device: fmt.Sprintf("pump-%d", r.IntN(3)),
				at: clock.Add(time.Duration(r.IntN(3)-1) * time.Microsecond), side: r.IntN(4)}
			if r.IntN(5) == 0 { // out of order, perhaps by too much
				e.at = e.at.Add(-time.Duration(r.IntN(30)) * s)
			}
			events = append(events, e)
			lines = append(lines, fmt.Sprintf(`{"event_id":%q,"device_id":%q,"device_firmware_version":"2.0.0","timestamp":%q,`+
				`"metrics":{"side":%d}}`, e.id, e.device, e.at.Format("2006-01-02T15:04:05.000000Z"), e.side))
		}
		delay, lateness := time.Duration(r.IntN(8))*s, time.Duration(r.IntN(10))*s
		before, after := time.Duration(r.IntN(6))*s, time.Duration(r.IntN(20))*s
		kind := []string{"inner", "left", "outer"}[r.IntN(3)]
		set := mustParse(t, fmt.Sprintf("rules:\n  - name: r\n    key: [device_id]\n    select: { l: left.event_id, "+
			"r: right.event_id }\n    join: { left: \"[1,3].contains(this.metrics.side)\", right: this.metrics.side >= 2, "+
			"within: { before: %s, after: %s }, type: %s, allowed_lateness: %s }\n", before, after, kind, lateness))
		want, late := joinedNaively(events, delay, lateness, before, after, kind)
		var got []string
		ids := map[string]bool{}
		report, err := set.Try(strings.NewReader(strings.Join(lines, "\n")), Trial{Fleet: "f", Delay: delay},
			func(r Result) error {
				told := parseTold(t, r.JSON)
				text := func(side string) string {
					if id, there := told.Values[side].(string); there {
						return id
					}
					return "-"
				}
				got, ids[told.ID] = append(got, text("l")+" "+text("r")), true
				return nil
			})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) || len(ids) != len(got) || report.Rules[0].Outcomes[Late] != late {
			t.Fatalf("seed %d, %s join, delay %s, lateness %s, -%s to %s: got\n%s\nwant\n%s\n%d ids, %d late, want %d",
				seed, kind, delay, lateness, before, after, strings.Join(got, "\n"), strings.Join(want, "\n"), len(ids),
				report.Rules[0].Outcomes[Late], late)
		}
	}
}

// A key with as many waiting events as are allowed refuses further ones, with the reason, and accepts
// events again when some do not wait any more.
func TestJoin_BoundsAreSaid(t *testing.T) {
	events := make([]string, 0, maxJoined+4)
	for i := range maxJoined + 2 {
		events = append(events, at(time.Duration(i)*time.Millisecond, 1))
	}
	events = append(events, at(60*s, 1), at(61*s, 2))
	got, report := pairs(t, 0, "within: { after: 10s }, allowed_lateness: 0s", events...)
	expect(t, got, "1m0s 1m1s 2 1m0s..1m1s")
	if tally := report.Rules[0].Outcomes; tally[OverLimit] != 2 || tally[Counted] != maxJoined+2 ||
		!strings.Contains(report.Misses[0].Why, "wait") {
		t.Errorf("outcomes %v, %+v", tally, report.Misses)
	}
}

func TestJoin_SaysAllThatIsWrong(t *testing.T) {
	const whole = "join: { left: true, right: true, within: { after: 1s }, allowed_lateness: 0s }\n    " +
		"select: { l: left.timestamp }"
	for change, want := range map[string]string{
		"|":                                     "",
		"left: true|left: this.":                "join.left: ",
		"left: true, |":                         "join.left: is missing",
		"within: { after: 1s }, |":              "join.within: is missing",
		"after: 1s|after: soon":                 `join.within.after: "soon" is not a duration`,
		"after: 1s|later: 1s":                   "field later is not a field of within",
		"{ left: true|{ type: full, left: true": `join.type: "full" is not one of inner, left, outer`,
		", allowed_lateness: 0s|":               "join.allowed_lateness: is missing",
		"left.timestamp|count()":                "is not a value of one side",
		"left.timestamp|left":                   "is not a value of one side",
		"left.timestamp|left.metrics.a + right.metrics.b":      "a value may name only one",
		"l: left.timestamp|l l: left.timestamp":                "is not a valid name",
		"\n    select|\n    emit: { on: update }\n    select":  "is emitted once",
		"\n    select|\n    having: this.n > 1\n    select":    "n is not a value of select",
		"\n    select|\n    window: { type: x }\n    select":   "one of window, pattern and join",
		"\n    select|\n    pattern: { match: x }\n    select": "one of window, pattern and join",
	} {
		was, is, _ := strings.Cut(change, "|")
		text := "rules:\n  - name: r\n    key: [device_id]\n    " + strings.Replace(whole, was, is, 1) + "\n"
		_, err := Parse([]byte(text))
		if got := fmt.Sprint(err); (want == "") != (err == nil) || !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", change, got, want)
		}
	}
}

// The rule that docs/rules.md shows has the results that it describes.
func TestJoin_ShownExampleWorks(t *testing.T) {
	guide, err := os.ReadFile("../../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(guide), "\n## Joins\n\n```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	event := func(minute int, kind string, id int) string {
		return strings.Replace(at(time.Duration(minute)*time.Minute, 1), `"metrics":`,
			fmt.Sprintf(`"diagnostics":{"kind":%q,"command_id":%d,"outcome":"done"},"metrics":`, kind, id), 1)
	}
	var told []string
	report, err := mustParse(t, text).Try(strings.NewReader(strings.Join([]string{event(0, "command", 1),
		event(1, "command", 2), at(90*s, 1), event(2, "answer", 1), event(17, "answer", 2)}, "\n")), Trial{Fleet: "f"},
		func(r Result) error {
			of := parseTold(t, r.JSON)
			told = append(told, fmt.Sprint(of.Key["diagnostics.command_id"], " ", of.Count, " ", of.Values["outcome"]))
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, told, "1 2 done", "2 1 <nil>")
	if tally := report.Rules[0].Outcomes; tally[Counted] != 4 || tally[Filtered] != 1 {
		t.Errorf("outcomes %v", tally)
	}
}
