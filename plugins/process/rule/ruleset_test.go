package rule

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// All problems of a rule set are reported at once, each with its line and what to do.
func TestRuleSet_SaysAllThatIsWrong(t *testing.T) {
	_, err := Parse([]byte(`rules:
  - name: Bad
    window: { type: sliding, size: 1m, every: 7ms }
    where: this.a > now()
    key: [ region ]
    select: { n: counts(), s: sum(), p: p101(this.x) }
    having: this.m > 3
  - name: ok
    window: { type: tumbling, size: day, allowed_lateness: 0s, gap: 3s }
    key: [device_id]
    where: this.metrics.x.re_match("a")
    fast: required
    select: { n: count() }
    emit: { on: never }
  - name: ok
    window: { type: session, gap: 1m, allowed_lateness: -1s }
    key: [device_id, this.device_id]
    select: {}
    emit: { every: 1m }
`))
	var wrong *ProblemsError
	if !errors.As(err, &wrong) {
		t.Fatal(err)
	}
	for _, want := range []string{
		`2: rule Bad: name: "Bad" is not a valid name`, `3: rule Bad: window.allowed_lateness: is missing`,
		`3: rule Bad: window.every: a window of`,
		`4: rule Bad: where: reading`, `5: rule Bad: key: lacks device_id`,
		`6: rule Bad: select.n: "counts" is not an aggregate`,
		`6: rule Bad: select.s: sum needs a value`, `6: rule Bad: select.p: "p101" is not an aggregate`,
		`7: rule Bad: having: m is not a value of select`,
		`9: rule ok: window.timezone: "" is not a time zone`, `9: rule ok: window.gap: does not apply to a tumbling window`,
		`12: rule ok: fast: is required, but`, `14: rule ok: emit.on: "never" is not`,
		`15: rule ok: name: another rule has this name`,
		`16: rule ok: window.allowed_lateness: -1s is not allowed`, `17: rule ok: key: "device_id" occurs twice`,
		`18: rule ok: select: is missing or empty`, `19: rule ok: emit: only tumbling and sliding`,
	} {
		found := false
		for _, p := range wrong.Problems {
			found = found || strings.HasPrefix(fmt.Sprintf("%d: %s", p.Line, p.Named()), want)
		}
		if !found {
			t.Errorf("no problem %s in\n%v", want, err)
		}
	}
	for text, want := range map[string]string{
		"":                                "the file has no rules",
		"rules: [{name: x, windows: {}}]": "line 1: field windows is not a field of a rule",
		"rules: [":                        "line 1:",
		"rules: [null]":                   "line 1: the rule is empty",
		"rule: []":                        "field rule is not a field of a rule set",
		"rules: []\n---\nrules: []\n":     "line 3: a second YAML document",
		"rules: []\n---\n[":               "what follows the first YAML document cannot be read",
		"rules: [{name: x, select: {n: count(), n: sum(this.a)}}]":             "rule x: select.n: occurs twice",
		"rules: [{name: x, pattern: {match: A, define: {A: true, A: false}}}]": "rule x: pattern.define.A: occurs twice",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// The version is a hash of the text. The epoch of a rule is a hash of only what its state depends on.
func TestRuleSet_VersionsAndEpochs(t *testing.T) {
	text := "rules: [{name: r, key: [device_id], select: {n: count()}, window: {type: tumbling, size: 1m, " +
		"allowed_lateness: 0s}}]"
	one := mustParse(t, text)
	for change, same := range map[string]bool{
		"having: this.n > 3, ": true, "emit: {on: update}, ": true, "where: this.a == 1, ": false, "": true,
	} {
		other := mustParse(t, strings.Replace(text, "name: r, ", "name: r, "+change, 1))
		if got := other.Rules[0].Epoch == one.Rules[0].Epoch; got != same {
			t.Errorf("%q: the epoch is the same: %v", change, got)
		}
		if got := other.Version == one.Version; got != (change == "") {
			t.Errorf("%q: the version is the same: %v", change, got)
		}
	}
}

// An event on which a condition or a value cannot be evaluated is counted as failed, with the reason, and
// in no window.
func TestRule_AnEventThatFailsIsCountedAsSuch(t *testing.T) {
	_, report := say(t, 0, "{ type: tumbling, size: 10s, allowed_lateness: 0s }\n    where: this.metrics.v > this.x",
		at(0, 1))
	if report.Rules[0].Outcomes[Failed] != 1 || len(report.Misses) != 1 || !strings.Contains(report.Misses[0].Why,
		"where: > needs") {
		t.Errorf("%+v", report)
	}
	got, report := say(t, 0, "{ type: tumbling, size: 10s, allowed_lateness: 0s }", at(0, 1),
		strings.Replace(at(1*s, 1), `{"v":1}`, `{"w":1}`, 1), strings.Replace(at(2*s, 1), `{"v":1}`, `{"v":"x"}`, 1),
		"no event", `{"event":`+at(0, 1)+`}`)
	expect(t, got, "final/0 0s-10s 2/1")
	if len(report.Invalid) != 2 || report.Duplicates != 1 {
		t.Errorf("%+v", report)
	}
}

// Up to exactDistinct values are counted exactly, more within 5 %, which is three standard errors. Merged
// parts count as the whole.
func TestDistinct_IsWithinThreeStandardErrors(t *testing.T) {
	for _, n := range []int{0, 1, 256, 257, 1000, 10_000, 200_000} {
		var whole, left, right distinct
		for i := range n {
			value := fmt.Appendf(nil, `"device-%d"`, i)
			whole.add(value)
			whole.add(value)
			if i%3 == 0 {
				left.add(value)
			} else {
				right.add(value)
			}
		}
		left.merge(&right)
		got := whole.count()
		if n <= exactDistinct && got != int64(n) || float64(got) > 1.05*float64(n) || float64(got) < 0.95*float64(n) {
			t.Errorf("%d values are counted as %d", n, got)
		}
		if left.count() != got {
			t.Errorf("counted as %d, and in merged parts as %d", got, left.count())
		}
	}
}

// benchRules has usual rules.
const benchRules = `
rules:
  - { name: minute, key: [device_id], window: { type: tumbling, size: 1m, allowed_lateness: 0s },
      select: { n: count(), hottest: max(this.metrics.cpu_temp), mean: avg(this.metrics.cpu_temp) } }
  - { name: slide, key: [device_id], where: this.metrics.cpu_temp > 60, window: { type: sliding, size: 5m, every: 30s, allowed_lateness: 0s },
      select: { n: count(), hottest: max(this.metrics.cpu_temp) }, having: this.n > 100 }
  - { name: visits, key: [device_id], window: { type: session, gap: 10m, allowed_lateness: 5m }, select: { n: count() } }
`

const sample = `{"event_id":"0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f","device_id":"pump-0001","device_firmware_version":"2.1.0",` +
	`"timestamp":"2026-11-21T09:15:00.123Z","metrics":{"cpu_temp":61.5,"battery_voltage":3.7,"vibration":0.25,` +
	`"pressure":101.3},"diagnostics":{"uptime":12345,"errors":[],"network":{"rssi":-67,"ssid":"plant"}}}`

// The engine alone, with 500 devices and 1,000 events in a second of event time.
func BenchmarkRule(b *testing.B) {
	p := newPartition(mustParse(b, benchRules), "raw-events", 0, 5_000_000, 0)
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
