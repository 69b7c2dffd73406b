package cli

import (
	"io"
	"os"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"weir/internal/platform/text"
)

// printable passes all further output of a command through text.Printable, because ids, reasons, bytes of devices and
// answers of servers may contain terminal control sequences.
func printable(c *cli.Context) {
	for _, w := range []*io.Writer{&c.App.Writer, &c.App.ErrWriter} {
		if _, is := (*w).(*text.Printer); !is {
			*w = text.NewPrinter(*w)
		}
	}
}

// dataWriter returns the writer for exported data: it writes the bytes unchanged unless standard output is a
// terminal.
func dataWriter(c *cli.Context) io.Writer {
	if p, is := c.App.Writer.(*text.Printer); is && !term.IsTerminal(int(os.Stdout.Fd())) {
		return p.Under()
	}
	return c.App.Writer
}

// printableError is an error whose text is safe to print on a terminal.
type printableError struct{ error }

// Error implements error.
func (e printableError) Error() string { return text.Printable(e.error.Error()) }

// Unwrap returns the original error.
func (e printableError) Unwrap() error { return e.error }
