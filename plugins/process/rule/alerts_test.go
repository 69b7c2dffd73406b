package rule

import (
	"fmt"
	"strings"
	"testing"
)

const alerting = `rules:
  - name: minute
    key: [device_id]
    window: { type: tumbling, size: 1m, allowed_lateness: 1h }
    select: { n: count() }
    having: this.n < 2
    alert: { severity: warning, summary: ' Only "one" came ' }
`

// Each result of a rule that has an alert says so, also one that takes back what was
// told; and it is no other rule for it.
func TestAlert_IsInWhatTheRuleTells(t *testing.T) {
	b := newBench(t, alerting)
	b.apply(b.operator(), message(0, 0, at(0, 1)), message(0, 1, at(70*s, 1)), message(0, 2, at(30*s, 1)))
	got := map[string]bool{}
	for _, raw := range b.results() {
		if !strings.HasSuffix(raw, `,"alert":{"severity":"warning","summary":"Only \"one\" came"}}`) {
			t.Errorf("no alert in %s", raw)
		}
		got[string(parseTold(t, []byte(raw)).Status)] = true
	}
	if !got["final"] || !got["retracted"] {
		t.Errorf("told: %v", got)
	}
	text, _, _ := strings.Cut(alerting, "    alert")
	if with, without := mustParse(t, alerting).Rules[0].Epoch, mustParse(t, text).Rules[0].Epoch; with != without {
		t.Errorf("with an alert a rule begins anew: %s, %s", with, without)
	}
}

func TestAlert_SaysAllThatIsWrong(t *testing.T) {
	for change, want := range map[string]string{
		"|":                                "",
		"warning|loud":                     `alert.severity: "loud" is not one of info, warning, critical`,
		"severity: warning, |":             `alert.severity: "" is not one`,
		"' Only \"one\" came '|' '":        "alert.summary: is one line for people",
		"Only|" + strings.Repeat("x", 300): "alert.summary: is one line for people",
		"summary|text":                     "field text is none of an alert",
		"    having|    emit: { every: 10s }\n    having": "alert: is of what is final",
	} {
		was, is, _ := strings.Cut(change, "|")
		_, err := Parse([]byte(strings.Replace(alerting, was, is, 1)))
		if got := fmt.Sprint(err); (want == "") != (err == nil) || !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", change, got, want)
		}
	}
}
