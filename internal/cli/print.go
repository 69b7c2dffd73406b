package cli

import (
	"io"
	"os"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"weir/internal/platform/text"
)

// printable makes whatever a command prints from here on text.Printable: ids,
// reasons and bytes of devices, answers of servers and rows of stores are in it,
// and a terminal would obey them.
func printable(c *cli.Context) {
	for _, w := range []*io.Writer{&c.App.Writer, &c.App.ErrWriter} {
		if _, is := (*w).(*text.Printer); !is {
			*w = text.NewPrinter(*w)
		}
	}
}

// dataWriter is where a command exports data for programs: byte for byte, unless
// a person looks at it on a terminal.
func dataWriter(c *cli.Context) io.Writer {
	if p, is := c.App.Writer.(*text.Printer); is && !term.IsTerminal(int(os.Stdout.Fd())) {
		return p.Under()
	}
	return c.App.Writer
}

// printableError is an error whose text can be shown on a terminal.
type printableError struct{ error }

// Error implements error.
func (e printableError) Error() string { return text.Printable(e.error.Error()) }

// Unwrap gives the error itself.
func (e printableError) Unwrap() error { return e.error }
