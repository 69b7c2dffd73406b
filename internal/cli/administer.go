package cli

import (
	"context"

	"github.com/urfave/cli/v2"

	"weir/internal/control/auditlog"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
)

// administered describes a command that works either on a control store or over the API of a running weir, which
// writes the audit log itself.
type administered[T any] struct {
	name   string // name of the command
	local  func(context.Context, *sqldb.DB) (T, error)
	remote func(httpx.API) T
}

// with returns the command's action, which runs do on the store or the API.
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
		defer func() { _ = db.Close() }() // every change is committed
		store, err := a.local(c.Context, db)
		if err != nil {
			return err
		}
		return do(c.Context, c, store)
	}
}

// ofStore returns the flags of a command on a store and one fleet.
func ofStore(more ...cli.Flag) []cli.Flag {
	return append(append([]cli.Flag{dataFlag(), storeFlag()}, apiFlags("store")...),
		append([]cli.Flag{&cli.StringFlag{Name: "fleet", Required: true, Usage: "the `FLEET`"}}, more...)...)
}

// atCommandLine names the user of this process for stored records.
func atCommandLine() string {
	return auditlog.Local("", nil, nil).User + " at the command line"
}
