package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// health is `weir health`, for container images without other tools.
func health() *cli.Command {
	return &cli.Command{
		Name: "health", Usage: "Ask a running weir whether it lives, or is ready; exit 1 when it is not",
		Description: `
It asks the address of health and metrics: --ops, else that of the weir which
runs on the data directory, else WEIR_OPS_ADDRESS.

  weir health --ready
  weir health --ops 127.0.0.1:4195`[1:],
		Flags: []cli.Flag{
			dataFlag(),
			&cli.StringFlag{Name: "ops", Usage: "`ADDR` of health and metrics"},
			&cli.BoolFlag{Name: "ready", Usage: "ask whether it takes part, too: every stream is connected"},
			&cli.DurationFlag{Name: "timeout", Value: 3 * time.Second, Usage: "give up after `TIME`"},
		},
		Action: func(c *cli.Context) error {
			path := "/ping"
			if c.Bool("ready") {
				path = "/ready"
			}
			at, err := askedOps(c)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
			defer cancel()
			said, ok, err := ask(ctx, at, path)
			if err != nil {
				return findingError{fmt.Errorf("asking %s: %w; is weir running, and is that its --ops address?", at, err)}
			}
			if !ok {
				return findingError{fmt.Errorf("weir at %s says %s", at, said)}
			}
			fmt.Fprintln(c.App.Writer, "OK")
			return nil
		},
	}
}

// askedOps returns the address of health and metrics to ask.
func askedOps(c *cli.Context) (string, error) {
	if at := c.String("ops"); at != "" {
		return reachable(at), nil
	}
	dir, err := dataDir(c)
	if err != nil {
		return "", err
	}
	r, runs, err := dir.running()
	at := os.Getenv("WEIR_OPS_ADDRESS")
	switch {
	case err != nil:
		return "", err
	case runs:
		at = r.Ops
	case at == "" && c.IsSet(flagData):
		return "", findingError{fmt.Errorf("no weir runs on %s", dir)}
	case at == "":
		at = opsAddress
	}
	return reachable(at), nil
}

// ask gets a path of the engine's HTTP server and tells whether it answered 200.
func ask(ctx context.Context, at, path string) (said string, ok bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+path, nil)
	if err != nil {
		return "", false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", false, err
	}
	defer func() { _ = resp.Body.Close() }() // the body was read; nothing to do about an error
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return "", false, err
	}
	return fmt.Sprintf("%q", strings.TrimSpace(string(text))), resp.StatusCode == http.StatusOK, nil
}
