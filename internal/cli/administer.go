package cli

import (
	"context"

	"github.com/urfave/cli/v2"

	"weir/internal/control/auditlog"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
)

// administered is what commands do over a store of administration: one at hand, or
// over the api of a running weir, which keeps the audit log itself.
type administered[T any] struct {
	name   string // of the command
	local  func(context.Context, *sqldb.DB) (T, error)
	remote func(httpx.API) T
}

// with runs a command on the store.
func (a administered[T]) with(open func(context.Context, string) (*sqldb.DB, error),
	do func(context.Context, *cli.Context, T) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.String("api") != "" {
			api, leave, err := adminAPI(c, a.name)
			if err != nil {
				return err
			}
			defer leave()
			return do(c.Context, c, a.remote(api))
		}
		db, err := openControl(c, open)
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }() // every change is committed before
		store, err := a.local(c.Context, db)
		if err != nil {
			return err
		}
		return do(c.Context, c, store)
	}
}

// ofStore are the flags of a command over a store, and which fleet it is about.
func ofStore(more ...cli.Flag) []cli.Flag {
	return append(append([]cli.Flag{dataFlag(), storeFlag()}, apiFlags("store")...),
		append([]cli.Flag{&cli.StringFlag{Name: "fleet", Required: true, Usage: "the `FLEET`"}}, more...)...)
}

// atCommandLine is who runs this process, for what is kept.
func atCommandLine() string {
	return auditlog.Local("", nil, nil).User + " at the command line"
}
