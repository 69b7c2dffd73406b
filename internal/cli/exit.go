package cli

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/urfave/cli/v2"

	"weir/internal/platform/httpx"
)

// How every command ends, beside 0: docs/commands.md. Scripts may rely on it,
// so that a loss is never taken for a typing error.
const (
	exitFinding = 1 // it did what was asked, and found what it looks for, or a refusal
	exitUsage   = 2 // the command line is wrong, or names a place where no weir lives; nothing was done
	exitFailed  = 3 // it could not do it, or not to its end
)

// usageError is a command line that cannot be carried out as it is written.
type usageError struct{ error }

// Unwrap gives what is wrong.
func (e usageError) Unwrap() error { return e.error }

// usagef is a usageError with a text.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// findingError says what was found, without ending the process there and then as
// the cli package's exit errors do: commands run within others.
type findingError struct{ error }

// Unwrap gives what was found.
func (e findingError) Unwrap() error { return e.error }

// ExitCode is how the program ends after err. Errors of parsing a command line
// are known by their words: the packages that make them give them no type.
func ExitCode(err error) int {
	var coded cli.ExitCoder
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		return coded.ExitCode()
	case errors.As(err, new(usageError)):
		return exitUsage
	case errors.As(err, new(findingError)):
		return exitFinding
	}
	if no := (*httpx.Refusal)(nil); errors.As(err, &no) && no.Status == http.StatusBadRequest {
		return exitUsage // what was asked for is no request at all
	}
	for _, words := range []string{"flag provided but not defined", "flag needs an argument", "invalid value ",
		"invalid boolean ", "bad flag syntax", "Required flag", "Cannot use two forms of the same flag",
		"failed to read dotenv file"} {
		if strings.HasPrefix(err.Error(), words) {
			return exitUsage
		}
	}
	return exitFailed
}
