package cli

import (
	"context"
	"fmt"
	"net/http"
	neturl "net/url"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"weir/internal/control/auditlog"
	"weir/internal/control/hold"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
)

// holdCommand is `weir hold`: legal holds on fleets.
func holdCommand() *cli.Command {
	flags := func(more ...cli.Flag) []cli.Flag {
		return append(append([]cli.Flag{dataFlag(), storeFlag()}, apiFlags("store")...), more...)
	}
	fleet := func() cli.Flag { return &cli.StringFlag{Name: "fleet", Required: true, Usage: "the `FLEET`"} }
	return &cli.Command{
		Name:  "hold",
		Usage: "Hold fleets back from deletion: nothing of them goes, by retention or erasure",
		Subcommands: []*cli.Command{
			{
				Name: "add", Usage: "hold a fleet; one that is held stays so as it was",
				Flags: flags(fleet(), forceFlag(), &cli.StringFlag{Name: "reason", Required: true,
					Usage: "`WHY`, for those who read it later"}),
				Action: overHolds().with(sqldb.Open, func(ctx context.Context, c *cli.Context, h holder) error {
					if err := knownFleet(c, c.String("fleet"), h.keys); err != nil {
						return err
					}
					held, err := h.place(ctx, c.String("fleet"), c.String("reason"))
					if err != nil {
						return err
					}
					return printHolds(c, []hold.Hold{held})
				}),
			},
			{
				Name: "list", Usage: "list the fleets that are held",
				Flags: flags(&cli.BoolFlag{Name: "past", Usage: "also those that were released"},
					&cli.BoolFlag{Name: "json", Usage: "print them as JSON"}),
				Action: overHolds().with(sqldb.OpenReading, func(ctx context.Context, c *cli.Context, h holder) error {
					holds, err := h.list(ctx, c.Bool("past"))
					if err != nil {
						return err
					}
					return printHolds(c, holds)
				}),
			},
			{
				Name: "release", Usage: "let retention and erasure delete of a fleet again",
				Flags: flags(fleet()),
				Action: overHolds().with(sqldb.Open, func(ctx context.Context, c *cli.Context, h holder) error {
					released, err := h.release(ctx, c.String("fleet"))
					if err != nil {
						return err
					}
					return printHolds(c, []hold.Hold{released})
				}),
			},
		},
	}
}

// holder administers holds in a store or over the API.
type holder interface {
	place(ctx context.Context, fleet, reason string) (hold.Hold, error)
	release(ctx context.Context, fleet string) (hold.Hold, error)
	list(ctx context.Context, past bool) ([]hold.Hold, error)
	keys(ctx context.Context, fleet string) (int, error)
}

func overHolds() administered[holder] {
	return administered[holder]{name: "hold", remote: func(api httpx.API) holder { return remoteHolds{api} },
		local: func(ctx context.Context, db *sqldb.DB) (holder, error) {
			store, err := hold.Open(ctx, db)
			return localHolds{store, db}, err
		}}
}

// localHolds works on a store and records changes in its audit log.
type localHolds struct {
	store *hold.Store
	db    *sqldb.DB
}

func (l localHolds) place(ctx context.Context, fleet, reason string) (hold.Hold, error) {
	h, err := l.store.Place(ctx, fleet, reason, atCommandLine())
	return h, recorded(ctx, l.db, "hold add", map[string]any{"fleet": fleet, "reason": auditlog.Text(reason)}, err)
}

func (l localHolds) release(ctx context.Context, fleet string) (hold.Hold, error) {
	h, err := l.store.Release(ctx, fleet, atCommandLine())
	return h, recorded(ctx, l.db, "hold release", map[string]any{"fleet": fleet}, err)
}

func (l localHolds) list(ctx context.Context, past bool) ([]hold.Hold, error) {
	return l.store.List(ctx, past)
}

func (l localHolds) keys(ctx context.Context, fleet string) (int, error) {
	return keysIn(l.db)(ctx, fleet)
}

// remoteHolds works over the API, which writes the audit log itself.
type remoteHolds struct{ httpx.API }

func (r remoteHolds) place(ctx context.Context, fleet, reason string) (h hold.Hold, err error) {
	err = r.Call(ctx, http.MethodPut, "/v1/holds/"+neturl.PathEscape(fleet), map[string]string{"reason": reason}, &h)
	return h, err
}

func (r remoteHolds) release(ctx context.Context, fleet string) (h hold.Hold, err error) {
	err = r.Call(ctx, http.MethodDelete, "/v1/holds/"+neturl.PathEscape(fleet), nil, &h)
	return h, err
}

func (r remoteHolds) list(ctx context.Context, past bool) ([]hold.Hold, error) {
	var answer struct{ Holds []hold.Hold }
	err := r.Call(ctx, http.MethodGet, fmt.Sprintf("/v1/holds?past=%t", past), nil, &answer)
	return answer.Holds, err
}

func (r remoteHolds) keys(ctx context.Context, fleet string) (int, error) {
	return keysAt(r.API)(ctx, fleet)
}

func printHolds(c *cli.Context, holds []hold.Hold) error {
	if c.Bool("json") {
		if holds == nil {
			holds = []hold.Hold{}
		}
		return printJSON(c.App.Writer, map[string]any{"holds": holds})
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "FLEET\tSINCE\tBY\tRELEASED\tREASON")
	for _, h := range holds {
		released := "-"
		if h.ReleasedAt != nil {
			released = h.ReleasedAt.Format(time.RFC3339) + " by " + h.ReleasedBy
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", h.Fleet, h.Since.Format(time.RFC3339), h.PlacedBy, released, h.Reason)
	}
	return w.Flush()
}
