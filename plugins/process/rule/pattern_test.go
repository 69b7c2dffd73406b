package rule

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// walk returns steps a second apart with the given values; letters, with the given letters.
func walk(values ...int) (steps []step) {
	for i, v := range values {
		steps = append(steps, step{'x', i, v})
	}
	return steps
}

func letters(kinds string) (steps []step) {
	for i := range kinds {
		steps = append(steps, step{kinds[i], i, 0})
	}
	return steps
}

// The expected answers are those of public tests of row patterns: of the engines of Trino and YDB, of
// the guides of Flink and Oracle, and of the documentation of the standard.
func TestPattern_PublicRowPatternCases(t *testing.T) {
	down, up, even, any := "this.metrics.v < prev(metrics.v)", "this.metrics.v > prev(metrics.v)",
		"this.metrics.v == prev(metrics.v)", "true"
	falls := "this.metrics.v <= prev(metrics.v)"
	is := func(letters string) string {
		return fmt.Sprintf("%q.contains(this.device_firmware_version)", letters)
	}
	fall, vee := walk(90, 80, 70, 70), walk(90, 80, 70, 80, 90, 50, 40, 60)
	ticker := walk(12, 17, 19, 21, 25, 12, 15, 20, 24, 25, 19, 15, 25, 25, 14, 12, 14, 24, 23, 22)
	average := "(sum(A.metrics.v).or(0) + this.metrics.v) / (count(A) + 1) < 15" // with the current event
	zigzag := walk(90, 80, 70, 80, 70, 80)
	abcd := map[string]string{"A": any, "B": down, "C": up, "D": down}
	for _, c := range []struct {
		pattern, skip string
		define        map[string]string
		steps         []step
		want          []string
	}{
		{"A B+ C+", "past_last", map[string]string{"A": any, "B": down, "C": up}, vee, []string{"0 A B B C C", "5 A B C"}},
		{"A B C", "past_last", map[string]string{"A": any, "B": down, "C": even}, fall, []string{"1 A B C"}},
		{"((A) (B (C)))", "past_last", map[string]string{"A": any, "B": down, "C": even}, fall, []string{"1 A B C"}},
		{"B | C | A", "past_last", map[string]string{"A": any, "B": down, "C": falls}, fall,
			[]string{"0 A", "1 B", "2 B", "3 C"}},
		{"B+", "past_last", map[string]string{"B": falls}, fall, []string{"1 B B B"}},
		{"B+?", "past_last", map[string]string{"B": falls}, fall, []string{"1 B", "2 B", "3 B"}},
		{"B{1,}", "past_last", map[string]string{"B": falls}, fall, []string{"1 B B B"}},
		{"B{1,}?", "past_last", map[string]string{"B": falls}, fall, []string{"1 B", "2 B", "3 B"}},
		{"B{2,}", "past_last", map[string]string{"B": falls}, fall, []string{"1 B B B"}},
		{"B{2,}?", "past_last", map[string]string{"B": falls}, fall, []string{"1 B B"}},
		{"B{5,}", "past_last", map[string]string{"B": falls}, fall, []string{}},
		{"B{1,1}", "past_last", map[string]string{"B": falls}, fall, []string{"1 B", "2 B", "3 B"}},
		{"A C{2,3} B{2,3}", "past_last", map[string]string{"A": any, "B": down, "C": up}, vee, []string{"2 A C C B B"}},
		{"(A | B)* X", "past_last", map[string]string{"A": any, "B": any, "X": "this.metrics.v == A.metrics.v"}, walk(1, 1),
			[]string{"0 A X"}},
		{"(A | B)* X", "past_last", map[string]string{"A": any, "B": any, "X": "this.metrics.v == B.metrics.v"}, walk(1, 1),
			[]string{"0 B X"}},
		{"A B+ C+ D+", "past_last", abcd, zigzag, []string{"0 A B B C D"}},
		{"A B+ C+ D+", "next", abcd, zigzag, []string{"0 A B B C D", "1 A B C D"}},
		{"A B+ C+ D+", "first(C)", abcd, zigzag, []string{"0 A B B C D"}},
		{"A B+ C+ D+", "first(B)", abcd, zigzag, []string{"0 A B B C D", "1 A B C D"}},
		{"A B+ C+ D+", "last(B)", abcd, zigzag, []string{"0 A B B C D"}},
		{"A D* C", "past_last", map[string]string{"A": is("A"), "D": is("BC"), "C": is("C")}, letters("ABCBCW"),
			[]string{"0 A D D D C"}},
		{"A B+ C+", "last(C)", map[string]string{"A": any, "B": down, "C": up}, ticker,
			[]string{"4 A B C C C C", "9 A B B C", "13 A B B C C"}},
		{"A B+ C", "last(C)", map[string]string{"A": any, "B": down, "C": up},
			walk(12, 17, 19, 21, 25, 18, 15, 14, 24, 25, 19), []string{"4 A B B B C"}},
		{"A+ B", "past_last", map[string]string{"A": average, "B": any}, walk(12, 17, 13, 16, 25, 2, 4, 10, 15, 25, 25, 30),
			[]string{"0 A A A A B", "5 A A A A A A B"}},
		{"A+? B", "past_last", map[string]string{"A": average, "B": any}, walk(12, 17, 13, 16),
			[]string{"0 A B", "2 A B"}},
		// elements that only weir has
		{"A -> C", "past_last", map[string]string{"A": is("A"), "C": is("C")}, letters("AXBCXCAC"),
			[]string{"0 A - - C", "6 A C"}},
		{"A -> B C", "past_last", map[string]string{"A": is("A"), "B": is("B"), "C": is("C")}, letters("ABXBC"),
			[]string{"0 A - - B C"}},
		{"(A ->){2} C", "past_last", map[string]string{"A": is("A"), "C": is("C")}, letters("AXAXC"), nil},
		{"A (-> A){2} C", "past_last", map[string]string{"A": is("A"), "C": is("C")}, letters("AXAXAC"),
			[]string{"0 A - A - A C"}},
		{"A !B C", "past_last", map[string]string{"A": is("A"), "B": is("B"), "C": is("C")}, letters("AXCABCAC"),
			[]string{"0 A - C", "6 A C"}},
		{"A !B !X C", "past_last", map[string]string{"A": is("A"), "B": is("B"), "X": is("X"), "C": is("C")},
			letters("AXCAYC"), []string{"3 A - C"}},
	} {
		define := c.define
		if c.want == nil {
			if _, _, err := readPattern(c.pattern); err == nil {
				t.Errorf("%s is accepted", c.pattern)
			}
			continue
		}
		for _, order := range []string{"time", "arrival"} {
			got := engineMatches(t, c.pattern, c.skip, order, define, c.steps, 3600, 0)
			if !slices.Equal(got, c.want) {
				t.Errorf("%s, skip %s, order %s: %q, want %q", c.pattern, c.skip, order, got, c.want)
			}
		}
	}
}

// seek evaluates a rule with a pattern. It returns a line for each result: the window, the count, and
// the last value.
func seek(t *testing.T, delay time.Duration, pattern string, events ...string) (lines []string, report *Report) {
	t.Helper()
	set := mustParse(t, "rules:\n  - name: r\n    key: [device_id]\n    select: { n: count(), last: "+
		"last(this.metrics.v) }\n    pattern: "+pattern+"\n")
	from := strings.NewReader(strings.Join(events, "\n"))
	report, err := set.Try(from, Trial{Fleet: "f", Delay: delay}, func(r Result) error {
		told := parseTold(t, r.JSON)
		if r.End != told.End.UnixMicro() || told.Status != statusFinal || told.Revision != 0 {
			t.Errorf("%s", r.JSON)
		}
		lines = append(lines, fmt.Sprintf("%s-%s %v/%v", told.Start.Sub(noon()), told.End.Sub(noon()), told.Values["n"],
			told.Values["last"]))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines, report
}

// The bounds of within, and of lateness, are exact to the microsecond.
func TestPattern_BordersAreExact(t *testing.T) {
	us := time.Microsecond
	const pair = "{ match: a -> b, within: 10s, define: { a: this.metrics.v == 1, b: this.metrics.v == 2 } }"
	got, _ := seek(t, 0, pair, at(0, 1), at(10*s, 2), at(20*s, 1), at(30*s+us, 2))
	expect(t, got, "0s-10s 2/2")
	got, report := seek(t, s, pair, at(0, 1), at(5*s, 3), at(4*s, 2), at(4*s-us, 2))
	expect(t, got, "0s-4s 2/2")
	if of := report.Rules[0].Outcomes; of[Late] != 1 || of[Counted] != 3 || report.Misses[0].By != 1 {
		t.Errorf("%v %+v", of, report.Misses)
	}
	// In the order of the log no event waits, and events out of order are matched as they come.
	arrival := strings.Replace(pair, "within", "order: arrival, within", 1)
	got, report = seek(t, 0, arrival, at(5*s, 1), at(0, 2), at(20*s, 3), at(10*s, 1), at(10*s-us, 2))
	expect(t, got, "0s-5s 2/2")
	if of := report.Rules[0].Outcomes; of[Late] != 1 || of[Counted] != 4 || report.Misses[0].By != 1 {
		t.Errorf("%v %+v", of, report.Misses)
	}
}

// The absence of an event is a match when the time is over, unless the event came.
func TestPattern_AbsenceMatchesWhenTimeIsOver(t *testing.T) {
	us := time.Microsecond
	const alone = "{ match: a !b, within: 10s, define: { a: this.metrics.v == 1, b: this.metrics.v == 2 } }"
	got, _ := seek(t, 0, alone, at(0, 1), at(10*s, 2), at(20*s, 1), at(30*s+us, 2), at(40*s, 1), at(41*s, 1), at(90*s, 3))
	expect(t, got, "20s-30s 1/1", "40s-50s 1/1", "41s-51s 1/1")
	// The search goes on after the last event of the first match, which has two of a.
	got, _ = seek(t, 0, "{ match: 'a{1,2} !b', within: 10s, define: { a: this.metrics.v == 1, b: this.metrics.v == 2 } }",
		at(0, 1), at(1*s, 1), at(2*s, 1))
	expect(t, got, "0s-10s 2/1", "2s-12s 1/1")
	// A less preferred alternative matches when the excluded event comes.
	got, _ = seek(t, 0, "{ match: a !b | a, within: 10s, define: { a: this.metrics.v == 1, b: this.metrics.v == 2 } }",
		at(0, 1), at(1*s, 2), at(5*s, 1))
	expect(t, got, "0s-0s 1/1", "5s-15s 1/1")
}

// A key with nothing open has no state.
func TestPattern_AKeyCostsNothingWhenNothingIsOpen(t *testing.T) {
	for _, order := range []string{"time", "arrival"} {
		set := mustParse(t, "rules: [{name: r, key: [device_id], select: {n: count()}, pattern: {match: a b, "+
			"within: 10s, order: "+order+", define: {a: this.metrics.v == 1, b: this.metrics.v > prev(metrics.v)}}}]")
		p := newPartition(set, "t", 0, 0, 0)
		apply := func(after time.Duration, v float64) {
			t.Helper()
			err := p.apply([]byte(at(after, v)), record{Fleet: "f", At: noon().Add(after).UnixMicro(),
				Offset: after.Microseconds()})
			if err != nil {
				t.Fatal(err)
			}
		}
		apply(0, 1)
		apply(1*s, 1)
		apply(2*s, 0)
		p.advance(noon().Add(12 * s).UnixMicro())
		if len(p.ops[0].keys) != 1 {
			t.Fatalf("%s: the last event, which prev() can still see, is not kept", order)
		}
		p.advance(noon().Add(12*s).UnixMicro() + 1)
		if op := p.ops[0]; len(op.keys) != 0 || len(op.fleets) != 0 || op.due.next() != never {
			t.Errorf("%s: %d keys are kept", order, len(op.keys))
		}
	}
}

// The events of a gap are not kept, however many there are.
func TestPattern_GapsCostNothing(t *testing.T) {
	for _, order := range []string{"time", "arrival"} {
		set := mustParse(t, "rules: [{name: r, key: [device_id], select: {n: count(), f: first(a.metrics.v), "+
			"l: last(b.metrics.v)}, pattern: {match: a -> b, within: 1h, order: "+order+", define: {a: this.metrics.v < 3, "+
			"b: this.metrics.v > "+
			"a.metrics.v && this.metrics.v > prev(metrics.v) + 5}}}]")
		p := newPartition(set, "t", 0, 0, 0)
		apply := func(i int, v float64) {
			t.Helper()
			raw := at(time.Duration(i)*time.Second/10, v)
			err := p.apply([]byte(raw), record{Fleet: "f", At: noon().Add(time.Duration(i) * time.Second / 10).UnixMicro(),
				Offset: int64(i)})
			if err != nil {
				t.Fatal(err)
			}
		}
		apply(0, 2)
		for i := range 5000 {
			apply(1+i, 4)
			if i%1000 == 0 {
				for _, k := range p.ops[0].keys {
					if raw := k.append(nil); len(raw) > 1000 {
						t.Fatalf("%s: after %d events of the gap, %d bytes are kept", order, i, len(raw))
					}
				}
			}
		}
		apply(5001, 10)
		p.advance(never - 1)
		const want = `"values":{"n":2,"f":2,"l":10}`
		if len(p.out) != 1 || !strings.Contains(string(p.out[0].JSON), want) || p.ops[0].givenUp != 0 {
			t.Errorf("%s: %d results, %d given up", order, len(p.out), p.ops[0].givenUp)
		}
	}
}

// With too many threads the oldest partial match is given up, and with too many waiting events a new
// one is refused. Both are counted. A value that is too long fails.
func TestPattern_BoundsAreSaid(t *testing.T) {
	var events []string
	for i := range maxThreads + 10 {
		events = append(events, at(time.Duration(i)*time.Millisecond, 1))
	}
	events = append(events, at(time.Second, 2))
	const define = "within: 1h, define: { a: this.metrics.v == 1, b: this.metrics.v == 2 } }"
	got, report := seek(t, 0, "{ match: 'a{2,} b', "+define, events...)
	if of := report.Rules[0]; len(got) != 1 || of.GivenUp == 0 || of.Outcomes[Counted] != int64(len(events)) {
		t.Errorf("%q %+v", got, of)
	}
	events = events[:0]
	for i := range maxEarly + 3 {
		events = append(events, at(time.Duration(i)*time.Microsecond, 3))
	}
	_, report = seek(t, time.Hour, "{ match: a b, "+define, events...)
	if of := report.Rules[0].Outcomes; of[Counted] != maxEarly || of[OverLimit] != 3 {
		t.Errorf("%v", of)
	}
	p := newPartition(mustParse(t, "rules: [{name: r, key: [device_id], select: {n: last(a.note)}, pattern: {match: a, "+
		"within: 1h, define: {a: true}}}]"), "t", 0, 0, 0)
	for i, note := range []int{maxKept - 2, maxKept - 1} {
		err := p.apply([]byte(`{"device_id":"d","note":"`+strings.Repeat("x", note)+`"}`), record{Fleet: "f", Offset: int64(i)})
		if err != nil {
			t.Fatal(err)
		}
	}
	if of := p.ops[0].tally; of[Counted] != 1 || of[Failed] != 1 {
		t.Errorf("%v", of)
	}
}

// All problems of a pattern are reported, each with its line.
func TestPattern_SaysAllThatIsWrong(t *testing.T) {
	_, err := Parse([]byte("rules: [{name: r, key: [device_id], select: {n: count()}, pattern: {match: a, " +
		"defines: {a: true}}}]"))
	if !strings.Contains(fmt.Sprint(err), "field defines is not a field of a pattern") {
		t.Error(err)
	}
	_, err = Parse([]byte(`rules:
  - name: one
    key: [device_id]
    pattern:
      match: |
        a
        b &
      within: 10
    select: { n: count() }
  - name: two
    key: [device_id]
    window: { type: tumbling, size: 1m, allowed_lateness: 0s }
    pattern: { match: a, within: 1s, define: { a: true } }
    select: { n: count() }
  - name: three
    key: [device_id]
    pattern:
      match: a b c this
      within: 1s
      skip: last(d)
      order: random
      define:
        a: this.x > sum(b)
        b: this.x.re_match("x") && count(a) > 1
        d: true
        this: a == 1
    select: { n: count(a), x: max(a.x + b.x), y: max(a), z: e.x }
    emit: { on: update }
`))
	var wrong *ProblemsError
	if !errors.As(err, &wrong) {
		t.Fatal(err)
	}
	for _, want := range []string{
		`line 7: rule one: pattern.match: at "&": a variable is expected`,
		`line 8: rule one: pattern.within: "10" is not a duration`,
		`line 13: rule two: pattern: a rule has either a window or a pattern`,
		`line 20: rule three: pattern.skip: "d" is not a variable`, `line 21: rule three: pattern.order: "random" is not`,
		`line 23: rule three: pattern.define.a: sum(b) needs a value`,
		`line 24: rule three: pattern.define.b: a condition that looks back must be compiled`,
		`line 25: rule three: pattern.define.d: match has no variable d`,
		`line 26: rule three: pattern.define.this: a stands for several events`,
		`line 26: rule three: pattern.define.this: this has another meaning`,
		`line 23: rule three: pattern.define: c is missing`,
		`line 27: rule three: select.x: "a.x + b.x" names both a and b`,
		`line 27: rule three: select.y: max(a) needs a value`,
		`line 27: rule three: select.z: "e.x" names no variable`, `line 28: rule three: emit: a match is emitted once`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no problem %s in\n%v", want, err)
		}
	}
}

// windowEpoch is the epoch of perMinute before there were patterns.
const windowEpoch = "46cf35e21252"

// The epochs of rules with windows are the same as before there were patterns, so that an upgrade
// keeps their open windows. The epoch of a pattern depends on all that its state depends on.
func TestPattern_Epochs(t *testing.T) {
	if got := mustParse(t, perMinute).Rules[0].Epoch; got != windowEpoch {
		t.Errorf("the epoch of a rule with a window is %s, want %s", got, windowEpoch)
	}
	text := "rules: [{name: r, key: [device_id], select: {n: count()}, pattern: {match: a b, within: 1m, " +
		"define: {a: true, b: true}}}]"
	one := mustParse(t, text)
	for change, same := range map[string]bool{"a b": true, "a+ b": false, "a b, skip: next": false,
		"a b, order: arrival": false} {
		other := mustParse(t, strings.Replace(text, "a b", change, 1))
		if got := other.Rules[0].Epoch == one.Rules[0].Epoch; got != same {
			t.Errorf("%q: the epoch is the same: %v", change, got)
		}
	}
}

// The state of a key is read as it was written. Damaged state is refused or read as another state, and
// never causes a panic.
func TestPattern_DamagedStateIsRefused(t *testing.T) {
	set := mustParse(t, strings.Replace(everything, "within: 40s", "within: 10m", 1))
	r := rand.New(rand.NewPCG(4, 4))
	for range 20 {
		p := newPartition(set, "t", 0, 5_000_000, 0)
		for i, line := range history(r, 60, noon()) {
			var e record
			e.Fleet, e.Offset, e.At = "f", int64(i), noon().Add(time.Duration(i)*s).UnixMicro()
			if err := p.apply([]byte(line), e); err != nil {
				t.Fatal(err)
			}
		}
		for _, op := range p.ops {
			if !op.keepsRows() {
				continue
			}
			for _, k := range op.keys {
				raw := k.append(nil)
				back, err := decodeKey(k.name, raw, op.Rule)
				if err != nil || string(back.append(nil)) != string(raw) {
					t.Fatalf("the state that was read is not the one that was written: %v", err)
				}
				for range 200 {
					bad := slices.Clone(raw)
					bad[r.IntN(len(bad))] ^= byte(1 << r.IntN(8))
					if r.IntN(3) == 0 {
						bad = bad[:r.IntN(len(bad))]
					}
					if k, err := decodeKey(k.name, bad, op.Rule); err == nil {
						q := newPartition(set, "t", 0, 5_000_000, 0)
						for _, other := range q.ops {
							if other.Rule == op.Rule {
								k.form = &other.usual
								q.admit(other, k)
								other.fleets["f"] = 1
								q.schedule(other, k)
							}
						}
						q.advance(never - 1)
					}
				}
			}
		}
	}
}

// An erased device is in no partial match any more.
func TestPattern_ErasureReachesPartialMatches(t *testing.T) {
	b := newBench(t, "rules: [{name: pair, key: [device_id], select: {n: count(), v: first(a.metrics.v)}, pattern: "+
		"{match: a -> b, within: 1h, order: arrival, define: {a: this.metrics.v == 7, b: this.metrics.v == 8}}}]")
	o := b.operator()
	other := strings.Replace(strings.Replace(at(0, 7), "pump-1", "pump-2", 1), "00000000-0000", "10000000-0000", 1)
	b.apply(o, message(0, 0, at(0, 7)), message(0, 1, other))
	ctx, until := t.Context(), time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	db, err := sqldb.Open(ctx, b.url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if n, err := count(ctx, db, "plant-1", "pump-1"); err != nil || n[countState]+n[countJournal] != 1 {
		t.Fatal(n, err)
	}
	if err := tombstone.Bury(ctx, db, tombstone.Of("plant-1", "pump-1", until)); err != nil {
		t.Fatal(err)
	}
	if err := erase(ctx, db, tombstone.Target{Fleet: "plant-1", Device: "pump-1", Job: "j",
		Until: until.UnixMicro()}); err != nil {
		t.Fatal(err)
	}
	second := strings.Replace(strings.Replace(at(1*s, 8), "pump-1", "pump-2", 1), "00000000-0000", "10000000-0000", 1)
	b.apply(o, message(0, 2, at(1*s, 8)), message(0, 3, second))
	if n, err := count(ctx, db, "plant-1", "pump-1"); err != nil || n[countState] != 0 || n[countResults] != 0 {
		t.Errorf("%v %v", n, err)
	}
	if got := b.results(); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

// The rules that docs/rules.md and configs/rules.yaml show are valid, and have the results that they
// describe.
func TestPattern_ShownExamplesWork(t *testing.T) {
	shown, err := os.ReadFile("../../../configs/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(shown), "#\n# rules:\n")
	text = strings.ReplaceAll("\n# rules:\n"+text, "\n# ", "\n")
	fromConfig := mustParse(t, strings.TrimSuffix(text, "rules: []\n"))
	if len(fromConfig.Rules) != 4 {
		t.Errorf("the config shows %d rules", len(fromConfig.Rules))
	}
	guide, err := os.ReadFile("../../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ = strings.Cut(string(guide), "\n## Patterns\n\n```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	set := mustParse(t, text)
	event := func(minute, temp, uptime int) string {
		return strings.Replace(at(time.Duration(minute)*time.Minute, 1), `"metrics":{"v":1}`,
			fmt.Sprintf(`"metrics":{"cpu_temp":%d},"diagnostics":{"uptime":%d}`, temp, uptime), 1)
	}
	for _, s := range []*Set{set, fromConfig} {
		told := map[string]string{}
		from := strings.NewReader(strings.Join([]string{event(0, 70, 1), event(1, 81, 2), event(2, 83, 3),
			event(3, 82, 4), event(4, 70, 5), event(5, 60, 0), event(9, 61, 4), event(30, 60, 25)}, "\n"))
		_, err = s.Try(from, Trial{Fleet: "f"}, func(r Result) error {
			of := parseTold(t, r.JSON)
			told[of.Rule] += fmt.Sprint(of.Start.Sub(noon()), "-", of.End.Sub(noon()), of.Values, " ")
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if s == set && told["restart_after_heat"] != "1m0s-11m0s map[after:60 hottest:83 times:3] " ||
			s == fromConfig && told["restart_after_heat"] != "1m0s-11m0s map[hottest:83 times:3] " ||
			told["went_silent"] != "9m0s-24m0s map[firmware:2.0.0] 30m0s-45m0s map[firmware:2.0.0] " {
			t.Errorf("%q", told)
		}
	}
}

// The engine alone, with a pattern that seldom matches.
func BenchmarkPattern(b *testing.B) {
	p := newPartition(mustParse(b, `
rules:
  - { name: hot, key: [device_id], select: { n: count(), m: max(a.metrics.cpu_temp) },
      pattern: { match: "a{3,} -> b !c", within: 1m, order: arrival, define: { a: this.metrics.cpu_temp > 90,
        b: this.metrics.cpu_temp < 20 && this.metrics.vibration > last(a.metrics.vibration), c: this.metrics.pressure > 200 } } }
`), "raw-events", 0, 5_000_000, 0)
	raw := []byte(sample)
	i := strings.Index(sample, "0001")
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		copy(raw[i:], fmt.Appendf(nil, "%04d", n%500))
		if err := p.apply(raw, record{Fleet: "plant-1", At: noon().UnixMicro() + int64(n)*1000,
			Offset: int64(n)}); err != nil {
			b.Fatal(err)
		}
		n++
		p.out, p.misses = p.out[:0], p.misses[:0]
	}
}
