package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"weir/internal/platform/httpx"
)

// deadLettersCommand is `weir dead-letters`: it shows what failed.
func deadLettersCommand() *cli.Command {
	return &cli.Command{
		Name:  "dead-letters",
		Usage: "Show what could not be processed, with its reason",
		Description: `
The newest come first; without --from, those of the last day. --id shows one
whole, with its bytes. --dry-run tries on them what processing them again would
come to, with a patch or without, and changes nothing: it ends with 0 when none
would fail again, else with 1. To process them again: weir replay --mode redrive.

  weir dead-letters --stage ingest --code schema_violation
  weir dead-letters --from 2026-11-20T10:00:00Z --limit 1000 --json
  weir dead-letters --id 0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f
  weir dead-letters --code schema_violation --dry-run --patch @repair.blobl`[1:],
		Flags: append(apiFlags("data directory"),
			dataFlag(), logFlag(),
			&cli.StringFlag{Name: "stage", Usage: "only of these `STAGES`, separated by commas: ingest, raw, rollup, …"},
			&cli.StringFlag{Name: "code", Usage: "only with these reason `CODES`, separated by commas"},
			&cli.StringFlag{Name: "fleet", Usage: "only of this `FLEET`"},
			&cli.StringFlag{Name: "device", Usage: "only of this `DEVICE`"},
			&cli.StringFlag{Name: "from", Usage: "failed at or after this `TIME`, RFC 3339"},
			&cli.StringFlag{Name: "to", Usage: "failed before this `TIME`"},
			&cli.IntFlag{Name: "limit", Value: 50, Usage: "show `N` at most"},
			&cli.StringFlag{Name: "id", Usage: "show the one with this `ID`, whole"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say how many of them would pass, and why others would fail again"},
			&cli.StringFlag{Name: "patch", Usage: "with --dry-run: a Bloblang `MAPPING` that repairs each event, or @FILE"},
			&cli.BoolFlag{Name: "json", Usage: "print what the api answers"},
		),
		Action: func(c *cli.Context) error {
			if c.Int("limit") < 1 {
				return usagef("reading --limit: expected 1 or more")
			}
			if _, err := logOf(c); err != nil {
				return err
			}
			if c.Bool("dry-run") {
				return triedLetters(c)
			}
			if c.String("patch") != "" {
				return usagef("reading --patch: it goes with --dry-run")
			}
			api, leave, err := adminAPI(c, "dead-letters")
			if err != nil {
				return fmt.Errorf("looking at dead letters: %w", err)
			}
			defer leave()
			if id := c.String("id"); id != "" {
				err = oneLetter(c, api, id)
			} else {
				err = listLetters(c, api)
			}
			if err != nil {
				return fmt.Errorf("looking at dead letters: %w", err)
			}
			return nil
		},
	}
}

// letter is a line of the list.
type letter struct {
	ID       string  `json:"id"`
	Fleet    string  `json:"fleet"`
	Stage    string  `json:"stage"`
	Code     string  `json:"code"`
	Message  string  `json:"message"`
	Device   *string `json:"device_id"`
	FailedAt string  `json:"failed_at"`
}

// pageMost is the API's maximum page size.
const pageMost = 500

func listLetters(c *cli.Context, api httpx.API) error {
	q := url.Values{}
	for _, name := range []string{flagLog, "stage", "code", "fleet", "device", "from", "to"} {
		if v := c.String(name); v != "" {
			q.Set(name, v)
		}
	}
	all := []json.RawMessage{}
	for left := c.Int("limit"); left > 0; {
		q.Set("limit", strconv.Itoa(min(left, pageMost)))
		var page struct {
			Letters []json.RawMessage `json:"dead_letters"`
			Next    *string           `json:"next"`
		}
		if err := api.Call(c.Context, http.MethodGet, "/v1/dead-letters?"+q.Encode(), nil, &page); err != nil {
			return err
		}
		all, left = append(all, page.Letters...), left-len(page.Letters)
		if page.Next == nil {
			break
		}
		q.Set("cursor", *page.Next)
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, map[string]any{"dead_letters": all})
	}
	t := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "FAILED AT\tFLEET\tSTAGE\tCODE\tDEVICE\tID\tMESSAGE")
	for _, raw := range all {
		var l letter
		if err := json.Unmarshal(raw, &l); err != nil {
			return fmt.Errorf("reading the api's answer: %w", err)
		}
		device := "-"
		if l.Device != nil {
			device = fmt.Sprintf("%q", *l.Device)
		}
		_, _ = fmt.Fprintf(t, "%s\t%q\t%s\t%s\t%s\t%s\t%q\n", l.FailedAt, l.Fleet, l.Stage, l.Code, device, l.ID, l.Message)
	}
	return t.Flush() // also returns earlier write errors
}

func oneLetter(c *cli.Context, api httpx.API, id string) error {
	var raw json.RawMessage
	path := "/v1/dead-letters/" + url.PathEscape(id)
	if log := c.String(flagLog); log != "" {
		path += "?log=" + url.QueryEscape(log)
	}
	if err := api.Call(c.Context, http.MethodGet, path, nil, &raw); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, raw)
	}
	var l struct {
		letter
		Errors   []struct{ Pointer, Message string }
		Original string
		Encoding string `json:"original_encoding"`
		Size     int64  `json:"original_size"`
		Cut      bool   `json:"original_cut"`
	}
	if err := json.Unmarshal(raw, &l); err != nil {
		return fmt.Errorf("reading the api's answer: %w", err)
	}
	out := fmt.Sprintf("%s  fleet %q, stage %s, %s: %q\n", l.FailedAt, l.Fleet, l.Stage, l.Code, l.Message)
	for _, e := range l.Errors {
		out += fmt.Sprintf("  %q: %q\n", e.Pointer, e.Message)
	}
	what := l.Encoding
	if l.Cut {
		what += ", only the beginning"
	}
	out += fmt.Sprintf("%d bytes (%s):\n%s\n", l.Size, what, l.Original)
	_, err := io.WriteString(c.App.Writer, out)
	return err
}
