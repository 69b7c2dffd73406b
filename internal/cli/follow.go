package cli

import (
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"weir/internal/platform/httpx"
	"weir/internal/platform/text"
)

// followed watches a job of the API, shows its progress, and returns it when it has ended.
func followed[S, J any](c *cli.Context, jobs httpx.Jobs[S, J], id string, line func(*J) string) (*J, error) {
	shown := progressShown(c)
	defer func() { shown("") }()
	return jobs.Watch(c.Context, id, func(j *J) { shown(line(j)) })
}

// progressShown returns a function that shows a line of progress: replacing the previous line on a terminal, else on
// a line of its own at most every five seconds. An empty line ends the display.
func progressShown(c *cli.Context) func(string) {
	if c.Bool("quiet") {
		return func(string) {}
	}
	info, err := os.Stderr.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	last, lastAt := "", time.Time{}
	return func(line string) {
		switch {
		case terminal && line == "":
			_, _ = fmt.Fprintln(os.Stderr)
		case terminal: // replace the line
			_, _ = fmt.Fprintf(os.Stderr, "\r\x1b[K%s", text.Printable(line))
		case line != "" && line != last && time.Since(lastAt) >= 5*time.Second:
			_, _ = fmt.Fprintln(c.App.ErrWriter, line)
			last, lastAt = line, time.Now()
		}
	}
}
