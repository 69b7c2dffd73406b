package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"weir/internal/platform/httpx"
	"weir/internal/platform/text"
)

// topCommand is `weir top`: the overview in a terminal.
func topCommand() *cli.Command {
	return &cli.Command{
		Name:  "top",
		Usage: "Show at a glance whether all is well, again and again",
		Description: `
It shows what GET /v1/overview says, once a second: what became of every record,
the last proof, what comes in, how far everybody is, and who runs. What is not
known is shown as ?, never as 0. Where there is no terminal it prints a line each
time. A fleet's key, with --api, sees its fleet.

  weir top
  weir top --once --json`[1:],
		Flags: append(apiFlags("data directory"),
			dataFlag(),
			&cli.StringFlag{Name: "fleet", Usage: "only what is of this `FLEET`"},
			&cli.DurationFlag{Name: "interval", Value: time.Second, Usage: "look again after this `TIME`"},
			&cli.BoolFlag{Name: "once", Usage: "look once, and end"},
			&cli.BoolFlag{Name: "json", Usage: "print what the api answers, an object each time"},
		),
		Action: func(c *cli.Context) error {
			if c.Duration("interval") < 100*time.Millisecond {
				return usagef("reading --interval: expected 100ms or more")
			}
			ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
			defer stop()
			api, leave, err := adminAPI(c, "top")
			if err != nil {
				return fmt.Errorf("looking at a weir: %w", err)
			}
			defer leave()
			if err := top(ctx, c, api); err != nil {
				return fmt.Errorf("looking at a weir: %w", err)
			}
			return nil
		},
	}
}

// top shows overviews until ctx ends, and then returns nil.
func top(ctx context.Context, c *cli.Context, api httpx.API) error {
	path := "/v1/overview"
	if fleet := c.String("fleet"); fleet != "" {
		path += "?fleet=" + url.QueryEscape(fleet)
	}
	screen := !c.Bool("json") && !c.Bool("once") && term.IsTerminal(int(os.Stdout.Fd()))
	var last glance
	for {
		var raw json.RawMessage
		err := api.Call(ctx, http.MethodGet, path, nil, &raw)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil && !c.Bool("json") {
			last = glance{}
			if err := json.Unmarshal(raw, &last); err != nil {
				return fmt.Errorf("reading the api's answer: %w", err)
			}
		}
		switch {
		case err != nil && (c.Bool("once") || !errors.Is(err, httpx.ErrAway)):
			return err
		case err != nil && screen:
			err = show(os.Stdout, last.screen(fmt.Sprintf("%v; what follows is old", err), time.Now()))
		case err != nil:
			_, err = fmt.Fprintln(c.App.ErrWriter, err)
		case c.Bool("json"):
			err = printJSON(c.App.Writer, raw)
		case screen:
			err = show(os.Stdout, last.screen("", time.Now()))
		default:
			_, err = fmt.Fprintln(c.App.Writer, last.line())
		}
		if err != nil || c.Bool("once") {
			return err
		}
		select {
		case <-time.After(c.Duration("interval")):
		case <-ctx.Done():
			return nil
		}
	}
}

// show replaces the terminal's content by lines, escaping control sequences in them.
func show(to io.Writer, lines []string) error {
	out := "\x1b[H\x1b[2J"
	for _, line := range lines {
		out += text.Printable(line) + "\r\n"
	}
	_, err := io.WriteString(to, out)
	return err
}
