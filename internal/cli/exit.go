package cli

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/urfave/cli/v2"

	"weir/internal/platform/httpx"
)

// Exit codes of all commands besides 0: see docs/commands.md. Scripts may rely on them, so that a loss is not
// mistaken for a wrong command line.
const (
	exitFinding = 1 // it ran, and found a problem or was refused
	exitUsage   = 2 // the command line is wrong or names a place without a weir; nothing was done
	exitFailed  = 3 // it failed, perhaps in the middle
)

// usageError is the error of an invalid command line.
type usageError struct{ error }

// Unwrap returns the underlying error.
func (e usageError) Unwrap() error { return e.error }

// usagef formats a usageError.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// findingError reports a finding. Unlike the cli package's exit errors it does not end the process, because commands
// call other commands.
type findingError struct{ error }

// Unwrap returns the underlying error.
func (e findingError) Unwrap() error { return e.error }

// ExitCode returns the program's exit code for err. Parse errors of the command line are recognised by their text,
// since the packages give them no type.
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
		return exitUsage // the API rejected the request as malformed
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
