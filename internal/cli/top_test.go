package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// What is not known is a question mark and a sentence, and no 0; what does not add
// up stands out; nothing that a server says moves the cursor.
func TestTop_WhatIsNotKnownIsNoZero(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 5, 0, time.UTC)
	for _, c := range []struct {
		answer        string
		line, screens []string
		not           string
	}{
		{`{"at":"2026-11-27T12:00:00Z","unknown":{"equation":"the log does not answer"},"groups":[{"group":"weir-raw"}]}`,
			[]string{"accepted ?", "proof ?", "in ?", "p99 ?", "behind ?"},
			[]string{"as of 2026-11-27T12:00:00Z, 5s ago", "? equation: the log does not answer", "? records"}, " 0"},
		{`{"at":"2026-11-27T12:00:00Z","equation":{"accepted":10,"stored":7,"unexplained":3,"balanced":false},
			"proof":{"verdict":"loss","age_seconds":61.5},"freshness":{"behind_seconds":1.25},
			"processes":[{"host":"a\u001b[2J","pid":7,"state":"gone","age_seconds":90}],"stores":[{"name":"raw","up":false}]}`,
			[]string{"accepted 10 = stored 7", "+ UNEXPLAINED 3 NOT BALANCED", "proof loss 1m1.5s ago", "behind 1.3s"},
			[]string{"GONE, last seen 1m30s ago", "DOWN"}, "\x1b[2J/"},
	} {
		var g glance
		if err := json.Unmarshal([]byte(c.answer), &g); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := show(&out, g.screen("it does not answer", now)); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.line {
			if !strings.Contains(g.line(), want) {
				t.Errorf("the line %q has no %q", g.line(), want)
			}
		}
		for _, want := range append(c.screens, "! it does not answer") {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the screen has no %q:\n%s", want, out.String())
			}
		}
		if strings.Contains(out.String(), c.not) || strings.Count(g.line(), "\n") > 0 {
			t.Errorf("the screen has %q:\n%q", c.not, out.String())
		}
	}
}
