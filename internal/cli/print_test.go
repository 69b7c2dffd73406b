package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

const hostile = "pump\x1b[2J\x1b]0;title\a\rroot# \u202eevil\u009b0m\xff"

// Whatever a command prints or returns, a terminal only shows it.
func TestPrint_NothingThatATerminalObeys(t *testing.T) {
	var out, errs bytes.Buffer
	var bare error
	cmd := strict(&cli.Command{Name: "group", Subcommands: []*cli.Command{{Name: "show",
		Action: func(c *cli.Context) error {
			_, err := fmt.Fprintf(c.App.Writer, "id %s\n", hostile)
			_, err2 := fmt.Fprintf(c.App.ErrWriter, "reading %s\n", hostile)
			return errors.Join(err, err2, fmt.Errorf("refused: %s", hostile))
		}}}})
	app := &cli.App{Writer: &out, ErrWriter: &errs, Commands: []*cli.Command{cmd}, ExitErrHandler: func(_ *cli.Context,
		err error) {
		bare = err
	}}
	if err := app.Run([]string{"weir", "group", "show"}); err == nil || ExitCode(err) != exitFailed {
		t.Fatalf("ended with %v", err)
	}
	for what, got := range map[string]string{"stdout": out.String(), "stderr": errs.String(), "the error": bare.Error()} {
		if !strings.Contains(got, `pump\u001b[2J`) || !strings.Contains(got, `\u202eevil\u009b0m\xff`) {
			t.Errorf("%s lacks what was printed: %q", what, got)
		}
		if strings.ContainsAny(strings.TrimSuffix(got, "\n"), "\x1b\a\r\u202e\u009b") {
			t.Errorf("%s has what a terminal obeys: %q", what, got)
		}
	}
}

// Programs get the bytes of an export as they are.
func TestPrint_ExportsAreExact(t *testing.T) {
	var out bytes.Buffer
	cmd := strict(&cli.Command{Name: "export", Action: func(c *cli.Context) error {
		_, err := io.WriteString(dataWriter(c), hostile)
		return err
	}})
	app := &cli.App{Writer: &out, ErrWriter: &out, Commands: []*cli.Command{cmd}}
	if err := app.Run([]string{"weir", "export"}); err != nil || out.String() != hostile {
		t.Errorf("exported %q (%v)", out.String(), err)
	}
}
