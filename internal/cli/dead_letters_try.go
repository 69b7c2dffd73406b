package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"weir/internal/event"
	"weir/internal/platform/text"
	"weir/plugins/operate/replay"
)

// triedLetters dry-runs a redrive of the dead letters that the list would show, or of a single one.
func triedLetters(c *cli.Context) error {
	wish, err := trialWish(c, time.Now())
	if err != nil {
		return err
	}
	api, leave, err := adminAPI(c, "dead-letters")
	if err != nil {
		return fmt.Errorf("trying dead letters: %w", err)
	}
	defer leave()
	t, err := replay.Try(c.Context, api, c.String(flagLog), wish)
	if err != nil {
		return fmt.Errorf("trying dead letters: %w", err)
	}
	if c.Bool("json") {
		err = printJSON(c.App.Writer, t)
	} else {
		_, err = io.WriteString(c.App.Writer, trialText(t))
	}
	if err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	if t.Failing > 0 {
		return cli.Exit("", exitFinding)
	}
	return nil
}

func trialWish(c *cli.Context, now time.Time) (w replay.TrialWish, err error) {
	limit := c.Int("limit")
	w = replay.TrialWish{Fleet: c.String("fleet"), Stages: commaed(c.String("stage")), Limit: &limit}
	for _, code := range commaed(c.String("code")) {
		w.Codes = append(w.Codes, event.Code(code))
	}
	if device := c.String("device"); device != "" {
		w.Devices = []string{device}
	}
	for name, to := range map[string]**time.Time{"from": &w.From, "to": &w.To} {
		if given := c.String(name); given != "" {
			t, ok := text.ParseTime(given)
			if !ok {
				return w, usagef("reading --%s: %q is no RFC 3339 time with a zone", name, given)
			}
			*to = &t
		}
	}
	switch id := c.String("id"); {
	case id != "":
		w.IDs = []string{id}
	case w.From == nil: // like the list
		end := now
		if w.To != nil {
			end = *w.To
		}
		from := end.Add(-24 * time.Hour).UTC()
		w.From = &from
	}
	w.Patch, err = patchOf(c.String("patch"))
	return w, err
}

// commaed splits a list at commas and trims its parts.
func commaed(given string) (parts []string) {
	for _, part := range strings.Split(given, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

func trialText(t *replay.Trial) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d dead letters tried: %d would be sent through again", t.Tried, t.Accepted)
	for _, part := range []struct {
		n    int64
		what string
	}{{int64(t.Failing), "would fail again"}, {int64(t.Deleted), "the patch leaves out"},
		{int64(t.Unjudged), "of those sent are judged by their consumer alone"}} {
		if part.n > 0 {
			fmt.Fprintf(&b, ", %d %s", part.n, part.what)
		}
	}
	b.WriteByte('\n')
	for _, r := range t.Because {
		fmt.Fprintf(&b, "  %6d would fail again: %q\n", r.Count, r.Reason)
	}
	for _, e := range t.Examples {
		fmt.Fprintf(&b, "  %s %q, stage %s, %s: %q\n    %q\n", e.ID, e.Device, e.Stage, e.Code, e.Message, e.Original)
		if e.Patched != nil && *e.Patched != e.Original {
			fmt.Fprintf(&b, "    patched: %q\n", *e.Patched)
		}
	}
	if t.Resolved > 0 {
		fmt.Fprintf(&b, "%d were sent through before, and are passed over\n", t.Resolved)
	}
	if t.Foreign > 0 {
		fmt.Fprintf(&b, "%d are of stages that nothing goes back into\n", t.Foreign)
	}
	if t.Cut != nil {
		fmt.Fprintf(&b, "the trial was ended: %s\n", *t.Cut)
	}
	if t.More {
		b.WriteString("there are more, which were not tried\n")
	}
	b.WriteString("nothing was sent, and nothing changed\n")
	return b.String()
}
