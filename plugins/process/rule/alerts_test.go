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

// Each result of a rule with an alert has the alert, also a retraction. The alert does not change
// the epoch: with it the rule does not begin anew.
func TestAlert_IsInEveryResult(t *testing.T) {
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
		t.Errorf("the statuses are %v, want final and retracted", got)
	}
	text, _, _ := strings.Cut(alerting, "    alert")
	if with, without := mustParse(t, alerting).Rules[0].Epoch, mustParse(t, text).Rules[0].Epoch; with != without {
		t.Errorf("the alert changes the epoch: %s, %s", with, without)
	}
}

func TestAlert_SaysAllThatIsWrong(t *testing.T) {
	for change, want := range map[string]string{
		"|":                                "",
		"warning|loud":                     `alert.severity: "loud" is not one of info, warning, critical`,
		"severity: warning, |":             `alert.severity: "" is not one`,
		"' Only \"one\" came '|' '":        "alert.summary: must be one line for people",
		"Only|" + strings.Repeat("x", 300): "alert.summary: must be one line for people",
		"summary|text":                     "field text is not a field of an alert",
		"    having|    emit: { every: 10s }\n    having": "alert: needs results that are final",
	} {
		was, is, _ := strings.Cut(change, "|")
		_, err := Parse([]byte(strings.Replace(alerting, was, is, 1)))
		if got := fmt.Sprint(err); (want == "") != (err == nil) || !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", change, got, want)
		}
	}
}

// Each result of a rule with a block has the block, with an alert or without one. The block does not
// change the epoch.
func TestBlock_IsInEveryResult(t *testing.T) {
	for says, want := range map[string]string{
		"block: 15m":                      `,"alert":{"severity":"warning","summary":"Only \"one\" came"},"block":{"seconds":900}}`,
		"block: 15m\n    block_user: who": `,"block":{"seconds":900,"user":"who"}}`,
		"block: 1s":                       `,"block":{"seconds":1}}`, "block: 1500ms": `,"block":{"seconds":2}}`,
	} {
		text := alerting + "    " + says + "\n"
		if says != "block: 15m" {
			text, _, _ = strings.Cut(alerting, "    alert")
			text += "    " + says + "\n"
		}
		if strings.Contains(says, "who") {
			text = strings.Replace(text, "select: {", "select: { who: last(this.user.id),", 1)
		}
		b := newBench(t, text)
		b.apply(b.operator(), message(0, 0, at(0, 1)), message(0, 1, at(70*s, 1)), message(0, 2, at(30*s, 1)))
		told := b.results()
		if len(told) == 0 {
			t.Errorf("%s: there is no result", says)
		}
		for _, raw := range told {
			if !strings.HasSuffix(raw, want) {
				t.Errorf("%s: %s", says, raw)
			}
		}
		if with, without := mustParse(t, text).Rules[0].Epoch, mustParse(t, alerting).Rules[0].Epoch; with != without &&
			!strings.Contains(says, "who") {
			t.Errorf("%s: the block changes the epoch", says)
		}
	}
}

func TestBlock_SaysAllThatIsWrong(t *testing.T) {
	for says, want := range map[string]string{
		"block: soon": `block: "soon" is not a duration`, "block: 0s": "write at least 1s",
		"block: 9000h":                      "block: 9000h is more than 366 days",
		"block: 1m\n    emit: {on: update}": "block: needs results that are final",
		"block: {for: 1m}":                  "cannot unmarshal",
		"block_user: device_id":             "block_user: says whom to block, but block",
		"block: 1m\n    block_user: nobody": `block_user: "nobody" is neither`,
		"block: 1m\n    block_user: n":      `block_user: "n" is neither`,
	} {
		text, _, _ := strings.Cut(alerting, "    alert")
		if _, err := Parse([]byte(text + "    " + says + "\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", says, err, want)
		}
	}
	across := strings.Replace(alerting, "key: [device_id]", "key: [metrics.x]\n    across_devices: true", 1)
	across, _, _ = strings.Cut(across, "    having")
	_, err := Parse([]byte(across + "    block: 1m\n"))
	if err == nil || !strings.Contains(err.Error(), "block: blocks one device") {
		t.Errorf("across devices: %v", err)
	}
}
