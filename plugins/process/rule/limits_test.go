package rule

import (
	"strings"
	"testing"
	"time"
)

func limited(t *testing.T, rest, limits string) *Set {
	t.Helper()
	return mustParse(t, "rules:\n  - name: r\n    key: [device_id]\n    select: { n: count(a) }\n    "+rest+limits)
}

const (
	limitedPattern = "pattern: { match: 'a+ b', within: 1h, define: { a: this.metrics.v == 1, b: this.metrics.v == 2 } }"
	limitedWindow  = "window: { type: tumbling, size: 1m, allowed_lateness: 0s }"
)

// The limits of a rule apply if they are lower than those of the stream, and refuse what is beyond.
// When they change, the rule does not begin anew.
func TestLimits_OfARuleApplyAndKeepItsState(t *testing.T) {
	const window = "rules: [{ name: r, key: [device_id], select: { n: count() }, " + limitedWindow + "LIMITS }]"
	free := mustParse(t, strings.Replace(window, "LIMITS", "", 1))
	tight := mustParse(t, strings.Replace(window, "LIMITS", ", limits: { keys_per_fleet: 2 }", 1))
	if free.Rules[0].Epoch != tight.Rules[0].Epoch {
		t.Error("limits change the epoch of a rule")
	}
	for _, c := range []struct {
		set     *Set
		stream  int64
		refused int64
	}{{free, 0, 0}, {free, 3, 1}, {tight, 0, 2}, {tight, 3, 2}, {tight, 1, 3}} {
		p := newPartition(c.set, "t", 0, 0, c.stream)
		for i, device := range []string{"a", "b", "c", "d"} {
			for _, fleet := range []string{"one", "two"} {
				e := record{Fleet: fleet, At: 1, Offset: int64(i)}
				if err := p.apply([]byte(`{"device_id":"`+device+`"}`), e); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := p.ops[0].tally[OverLimit]; got != 2*c.refused {
			t.Errorf("limit %d, of the stream %d: %d refused, want %d of each of two fleets",
				c.set.Rules[0].limits.keys, c.stream, got, c.refused)
		}
	}
	events := []string{at(0, 1), at(time.Millisecond, 1), at(2*time.Millisecond, 1), at(time.Second, 2)}
	for limits, want := range map[string]struct{ over, givenUp int64 }{
		"":                                     {0, 0},
		"\n    limits: { waiting_per_key: 2 }": {2, 0},
		"\n    limits: { ways_per_key: 1 }":    {0, 2},
	} {
		set := limited(t, limitedPattern, limits)
		p := newPartition(set, "t", 0, time.Hour.Microseconds(), 0)
		for i, e := range events {
			stamp := []int64{0, 1000, 2000, 1_000_000}[i]
			if err := p.apply([]byte(e), record{Fleet: "f", At: stamp, Offset: int64(i)}); err != nil {
				t.Fatal(err)
			}
		}
		p.advance(never - 1)
		if got := p.ops[0]; got.tally[OverLimit] != want.over || (got.givenUp > 0) != (want.givenUp > 0) {
			t.Errorf("%q: %d over the limit, %d given up; want %+v", limits, got.tally[OverLimit], got.givenUp, want)
		}
	}
}

func TestLimits_SayWhatIsWrong(t *testing.T) {
	for limits, says := range map[string]string{
		"keys_per_fleet: 0":         "keys_per_fleet: 0 is not allowed: write a number from 1 to 100000000",
		"keys_per_fleet: 100000001": "100000001 is not allowed",
		"ways_per_key: 257":         "257 is not allowed: write a number from 1 to 256",
		"waiting_per_key: 10001":    "write a number from 1 to 10000",
		"memory: 1":                 "field memory is not a field of limits",
	} {
		_, err := Parse([]byte("rules:\n  - name: r\n    key: [device_id]\n    select: { n: count(a) }\n    " +
			limitedPattern + "\n    limits: { " + limits + " }"))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %s", limits, err, says)
		}
	}
	_, err := Parse([]byte("rules: [{ name: r, key: [device_id], select: { n: count() }, " + limitedWindow +
		", limits: { ways_per_key: 2 } }]"))
	if err == nil || !strings.Contains(err.Error(), "does not apply to this kind of rule") {
		t.Errorf("ways_per_key of a window: %v", err)
	}
}
