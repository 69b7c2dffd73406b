package enrich

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// What sources say of a failure has keys and answers in it; the log has neither.
func TestTold_IsTheKindAndNoMore(t *testing.T) {
	const key = "ann@example.com"
	asking := func(err error) error { return &url.Error{Op: "Get", URL: "http://profiles/v1/" + key, Err: err} }
	for want, err := range map[string]error{
		"it does not answer in time": asking(context.DeadlineExceeded),
		"it cannot be reached":       asking(&net.OpError{Op: "dial", Err: errors.New(key)}),
		"it answers 503": fmt.Errorf("HTTP request returned unexpected response code (503): 503 %s",
			key),
		"it refuses the question (SQLSTATE 22P02)": fmt.Errorf("asking the store: %w", &pgconn.PgError{Code: "22P02",
			Message: "invalid input syntax: " + key}),
		"it fails with a *errors.errorString": fmt.Errorf("asking: %w", errors.New(key)),
		"the answer is no JSON":               ownError{errors.New("the answer is no JSON")},
	} {
		if got := told(err); got != want || strings.Contains(got, key) {
			t.Errorf("%v is told as %q, want %q", err, got, want)
		}
	}
}
