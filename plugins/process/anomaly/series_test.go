package anomaly

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"weir/internal/event"
)

func testRules(t testing.TB, rules ...string) []*Rule {
	t.Helper()
	list, err := ParseRules([]byte("rules:\n  - " + strings.Join(rules, "\n  - ") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

var testTiming = timing{width: (5 * time.Minute).Microseconds(), span: time.Hour.Microseconds()}

// testSeries is one metric of one device under some rules.
type testSeries struct {
	d     *device
	names names
	n     int64
	out   []transition
}

func newTestSeries(t testing.TB, rules ...string) *testSeries {
	return &testSeries{
		d:     &device{key: deviceKey{fleet: "f", device: "d"}, rules: newRuleSet(testRules(t, rules...)), learningFrom: 1},
		names: names{list: map[string]string{}},
	}
}

// feed gives the series a reading at some seconds, and returns what it opened
// or resolved.
func (s *testSeries) feed(seconds, v float64) []transition {
	s.n++
	e := &event.Event{ID: "e", Device: "d", Firmware: "1.0.0", Metrics: []event.Metric{{Name: "m", Value: v}}}
	r := reading{at: int64(seconds * 1e6), event: e, fleet: "f", where: event.Coordinates{Topic: "t", Offset: s.n}}
	before := len(s.out)
	s.out, _, _ = s.d.observe(&r, "", testTiming, &s.names, s.out)
	return s.out[before:]
}

func TestAnomaly_ThresholdOpensAndResolvesOnce(t *testing.T) {
	type step struct {
		at, v float64
		want  string
	}
	for name, c := range map[string]struct {
		rule  string
		steps []step
	}{
		"at once": {`{name: r, detector: threshold, metrics: [m], max: 10}`, []step{
			{0, 10, ""}, {1, 10.1, didOpen}, {2, 11, ""}, {3, 10, didResolve}, {4, 9, ""}, {5, 12, didOpen}}},
		"hysteresis keeps it open between": {`{name: r, detector: threshold, metrics: [m], max: 10, hysteresis: 2}`, []step{
			{0, 9, ""}, {1, 11, didOpen}, {2, 9, ""}, {3, 11, ""}, {4, 8.1, ""}, {5, 8, didResolve}, {6, 9, ""}}},
		"minimum": {`{name: r, detector: threshold, metrics: [m], min: 3, max: 5, hysteresis: 0.5}`, []step{
			{0, 2.9, didOpen}, {1, 5.1, ""}, {2, 4.7, ""}, {3, 3.4, ""}, {4, 4, didResolve}}},
		"for a minimum time": {`{name: r, detector: threshold, metrics: [m], max: 10, for: 30s}`, []step{
			{0, 11, ""}, {10, 11, ""}, {29, 11, ""}, {30, 11, didOpen}, {31, 1, didResolve},
			{40, 11, ""}, {50, 1, ""}, {69, 11, ""}, {80, 11, ""}, {99, 11, didOpen}}},
		"confirmed by readings": {`{name: r, detector: threshold, metrics: [m], max: 10, confirm: 3}`, []step{
			{0, 11, ""}, {1, 11, ""}, {2, 1, ""}, {3, 11, ""}, {4, 11, ""}, {5, 11, didOpen}}},
		"well for a time": {`{name: r, detector: threshold, metrics: [m], max: 10, clear_for: 10s}`, []step{
			{0, 11, didOpen}, {1, 1, ""}, {9, 1, ""}, {10, 11, ""}, {11, 1, ""}, {20, 1, ""}, {21, 1, didResolve}}},
		"late readings count as just arrived": {`{name: r, detector: threshold, metrics: [m], max: 10}`, []step{
			{1000, 1, ""}, {800, 11, didOpen}, {1001, 1, didResolve}, {600, 11, ""}}},
	} {
		s := newTestSeries(t, c.rule)
		for i, st := range c.steps {
			got := ""
			for _, o := range s.feed(st.at, st.v) {
				got += o.Transition
			}
			if got != st.want {
				t.Errorf("%s, step %d: %q, want %q", name, i, got, st.want)
			}
		}
		for i := 1; i < len(s.out); i++ {
			if open := s.out[i].Transition == didOpen; open == (s.out[i].AlertID == s.out[i-1].AlertID) {
				t.Errorf("%s: ids %s and %s", name, s.out[i-1].AlertID, s.out[i].AlertID)
			}
		}
	}
}

func TestAnomaly_ZScoreFindsAJumpAndForgivesNoise(t *testing.T) {
	s := newTestSeries(t, `{name: z, detector: zscore, metrics: [m]}`)
	r := rand.New(rand.NewPCG(3, 4))
	at := 0.0
	noise := func(n int, level float64) {
		for range n {
			s.feed(at, level+r.NormFloat64())
			at += 10
		}
	}
	noise(8640*7, 50) // a week of noise
	if len(s.out) > 0 {
		t.Fatalf("noise opened %d alerts", len(s.out))
	}
	if out := s.feed(at, 70); len(out) != 1 || *out[0].Score < 15 {
		t.Fatalf("a jump opened %v", out)
	}
	at += 10
	noise(30, 70) // it stays: five minutes on, it is still off
	if len(s.out) != 1 {
		t.Fatalf("after five minutes: %v", s.out[1:])
	}
	noise(720, 70) // and two hours on, it is how the series is
	if len(s.out) != 2 || s.out[1].Transition != didResolve || s.out[1].AlertID != s.out[0].AlertID {
		t.Fatalf("after two hours: %v", s.out[1:])
	}
	noise(8640, 70)
	if len(s.out) != 2 {
		t.Errorf("the new level opened %v", s.out[2:])
	}
}

func TestAnomaly_DoesNotEnterItsOwnBaselineAtOnce(t *testing.T) {
	s := newTestSeries(t, `{name: z, detector: zscore, metrics: [m]}`)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range 360 {
		s.feed(float64(i*10), 50+r.NormFloat64())
	}
	before := s.d.series[0].recent.stats()
	for i := range 60 { // ten minutes a thousand standard deviations off
		s.feed(float64(3600+i*10), 1050)
	}
	after := s.d.series[0].recent.stats()
	if after.mean > before.mean+1 || after.stddev() > 2*before.stddev() {
		t.Errorf("the window went from %.2f ± %.2f to %.2f ± %.2f", before.mean, before.stddev(), after.mean, after.stddev())
	}
	if len(s.out) != 1 {
		t.Errorf("transitions: %v", s.out)
	}
}

func TestAnomaly_DirectionLooksOneWay(t *testing.T) {
	s := newTestSeries(t, `{name: up, detector: zscore, metrics: [m], direction: up}`,
		`{name: down, detector: zscore, metrics: [m], direction: down}`)
	for i := range 100 {
		s.feed(float64(i*10), 50+math.Sin(float64(i)))
	}
	if out := s.feed(1000, 90); len(out) != 1 || out[0].Rule != "up" {
		t.Errorf("a rise opened %v", out)
	}
}

func TestAnomaly_BaselineIsNotAlertedOnWhileItLearns(t *testing.T) {
	s := newTestSeries(t, `{name: b, detector: baseline, metrics: [m], confirm: 1}`)
	s.feed(0, 5)
	sr := &s.d.series[0]
	sr.usual = stats{n: 1000, mean: 5, m2: 1} // m2 stands for the standard deviation
	r := reading{at: 1e6, value: 9, learning: true, event: &event.Event{Device: "d"}}
	if out, _ := sr.observe(&r, testTiming, nil); len(out) != 0 {
		t.Errorf("while learning: %v", out)
	}
	r.learning = false
	out, _ := sr.observe(&r, testTiming, nil)
	if len(out) != 1 || *out[0].Score != 4 {
		t.Fatalf("learned: %v", out)
	}
	r.learning = true // a firmware change: what it was compared with is void
	if out, _ = sr.observe(&r, testTiming, nil); len(out) != 1 || out[0].Transition != didResolve {
		t.Errorf("learning again: %v", out)
	}
}

func TestAnomaly_RulesSayWhatIsWrongWithThem(t *testing.T) {
	for rule, want := range map[string]string{
		`{name: A, detector: threshold, metrics: [m], max: 1}`:                                     "name",
		`{name: a, detector: guess, metrics: [m]}`:                                                 "threshold, zscore, baseline",
		`{name: a, detector: threshold, metrics: [m]}`:                                             "min, max",
		`{name: a, detector: threshold, max: 1}`:                                                   "metrics is missing",
		`{name: a, detector: threshold, metrics: ["["], max: 1}`:                                   "no glob",
		`{name: a, detector: threshold, metrics: [m], max: 1, min: 0, hysteresis: 1}`:              "no room",
		`{name: a, detector: threshold, metrics: [m], max: 1, score: 3}`:                           "not of a threshold",
		`{name: a, detector: zscore, metrics: [m], max: 1}`:                                        "of a threshold only",
		`{name: a, detector: zscore, metrics: [m], clear: 4}`:                                      "clear <= score",
		`{name: a, detector: zscore, metrics: [m], severity: bad}`:                                 "severity",
		`{name: a, detector: zscore, metrics: [m], firmware: ">=x"}`:                               "not a version",
		`{name: a, detector: zscore, metrics: [m], for: soon}`:                                     "no duration",
		`{name: a, detector: zscore, metrics: [m], frequency: 1}`:                                  "frequency not found",
		"{name: a, detector: zscore, metrics: [m]}\n  - {name: a, detector: zscore, metrics: [m]}": "two rules",
	} {
		_, err := ParseRules([]byte("rules:\n  - " + rule + "\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", rule, err, want)
		}
	}
}

func TestAnomaly_RulesTakeTheSeriesTheyName(t *testing.T) {
	set := newRuleSet(testRules(t,
		`{name: all, detector: zscore, metrics: ["*"]}`,
		`{name: pumps, detector: threshold, metrics: ["*_temp"], devices: ["pump-*"], max: 1}`,
		`{name: new, detector: threshold, metrics: [cpu_temp], firmware: ">=2.0.0 <3 || 4.0.0", fleets: [acme], max: 1}`,
		`{name: blank, detector: threshold, metrics: [flow], firmware: " ", max: 1}`))
	for in, want := range map[[4]string]string{
		{"acme", "pump-1", "2.1.0", "cpu_temp"}:     "all pumps new ",
		{"acme", "pump-1", "3.0.0", "cpu_temp"}:     "all pumps ",
		{"other", "pump-1", "2.0", "cpu_temp"}:      "all pumps ",
		{"acme", "fan-1", "2.9.9", "cpu_temp"}:      "all new ",
		{"acme", "pump-1", "beta", "flow"}:          "all blank ",
		{"acme", "fan-1", "4.0.0-rc.1", "cpu_temp"}: "all new ",
		{"acme", "fan-1", "nonsense", "cpu_temp"}:   "all ",
	} {
		got := ""
		for _, r := range set.find(in[0], in[1], in[2], in[3]).rules {
			got += r.Name + " "
		}
		if got != want {
			t.Errorf("%v: %q, want %q", in, got, want)
		}
	}
	if len(set.selections) > 5 {
		t.Errorf("%d selections for 5 different ones", len(set.selections))
	}
}
