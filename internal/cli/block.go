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
	"weir/internal/control/block"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
)

// blockCommand is `weir block`: blocks of devices and users.
func blockCommand() *cli.Command {
	subject := func(more ...cli.Flag) []cli.Flag {
		return ofStore(append([]cli.Flag{&cli.StringFlag{Name: "device", Usage: "a `DEVICE_ID`"},
			&cli.StringFlag{Name: "user", Usage: "the `ID` of a user, as events have it when they are stored"}}, more...)...)
	}
	asJSON := func() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print it as JSON"} }
	return &cli.Command{
		Name:  "block",
		Usage: "Refuse the events of a device or a user for a time, and take them again",
		Subcommands: []*cli.Command{
			{
				Name: "put", Usage: "refuse events of a device or a user from now on",
				Flags: subject(forceFlag(), &cli.DurationFlag{Name: "for", Value: 15 * time.Minute, Usage: "for how long: `TIME`"},
					&cli.StringFlag{Name: "reason", Required: true, Usage: "`WHY`, for those who read it later"}, asJSON()),
				Action: overBlocks().with(sqldb.Open, func(ctx context.Context, c *cli.Context, s blocker) error {
					kind, name, err := blocked(c)
					if err != nil {
						return err
					}
					if err := knownFleet(c, c.String("fleet"), s.keys); err != nil {
						return err
					}
					kept, err := s.put(ctx, c.String("fleet"), block.Block{Kind: kind, Subject: name, Reason: c.String("reason"),
						Until: time.Now().Add(c.Duration("for"))})
					if err != nil {
						return err
					}
					return printBlocks(c, block.Page{Blocks: []block.Block{kept}, Total: 1})
				}),
			},
			{
				Name: "list", Usage: "list whose events are refused, the latest first",
				Flags: subject(&cli.BoolFlag{Name: "past", Usage: "also what ended or was lifted"}, asJSON()),
				Action: overBlocks().with(sqldb.OpenReading, func(ctx context.Context, c *cli.Context, s blocker) error {
					q := block.Query{Past: c.Bool("past"), Limit: 1000}
					if c.String("device") != "" || c.String("user") != "" {
						var err error
						if q.Kind, q.Subject, err = blocked(c); err != nil {
							return err
						}
					}
					page, err := s.list(ctx, c.String("fleet"), q)
					if err != nil {
						return err
					}
					return printBlocks(c, page)
				}),
			},
			{
				Name: "lift", Usage: "take the events of a device or a user again; what rules tell later blocks it again",
				Flags: subject(),
				Action: overBlocks().with(sqldb.Open, func(ctx context.Context, c *cli.Context, s blocker) error {
					kind, name, err := blocked(c)
					if err != nil {
						return err
					}
					n, err := s.lift(ctx, c.String("fleet"), kind, name)
					if err != nil {
						return err
					}
					_, err = fmt.Fprintf(c.App.Writer, "lifted %d\n", n)
					return err
				}),
			},
		},
	}
}

// blocked returns the subject that the flags name.
func blocked(c *cli.Context) (block.Kind, string, error) {
	device, user := c.String("device"), c.String("user")
	switch {
	case (device == "") == (user == ""):
		return "", "", usagef("naming whom to block: give --device or --user, one of them")
	case user != "":
		return block.User, user, nil
	}
	return block.Device, device, nil
}

// blocker administers blocks in a store or over the API.
type blocker interface {
	put(ctx context.Context, fleet string, b block.Block) (block.Block, error)
	lift(ctx context.Context, fleet string, kind block.Kind, subject string) (int64, error)
	list(ctx context.Context, fleet string, q block.Query) (block.Page, error)
	keys(ctx context.Context, fleet string) (int, error)
}

func overBlocks() administered[blocker] {
	return administered[blocker]{name: "block", remote: func(api httpx.API) blocker { return remoteBlocks{api} },
		local: func(ctx context.Context, db *sqldb.DB) (blocker, error) {
			store, err := block.Open(ctx, db)
			return localBlocks{store, db}, err
		}}
}

// localBlocks works on a store and records changes in its audit log.
type localBlocks struct {
	store *block.Store
	db    *sqldb.DB
}

func (l localBlocks) put(ctx context.Context, fleet string, b block.Block) (block.Block, error) {
	b.By = atCommandLine()
	kept, err := l.store.Put(ctx, fleet, b)
	return kept, recorded(ctx, l.db, "block put", map[string]any{"fleet": fleet, "kind": string(b.Kind),
		"subject": auditlog.Text(b.Subject), "until": b.Until.UTC().Format(time.RFC3339),
		"reason": auditlog.Text(b.Reason)}, err)
}

func (l localBlocks) lift(ctx context.Context, fleet string, kind block.Kind, subject string) (int64, error) {
	n, err := l.store.Lift(ctx, fleet, kind, subject, atCommandLine())
	return n, recorded(ctx, l.db, "block lift", map[string]any{"fleet": fleet, "kind": string(kind),
		"subject": auditlog.Text(subject)}, err)
}

func (l localBlocks) list(ctx context.Context, fleet string, q block.Query) (page block.Page, err error) {
	page.Blocks, page.Total, err = l.store.List(ctx, fleet, q)
	return page, err
}

func (l localBlocks) keys(ctx context.Context, fleet string) (int, error) {
	return keysIn(l.db)(ctx, fleet)
}

// remoteBlocks works over the API, which writes the audit log itself.
type remoteBlocks struct{ httpx.API }

func (r remoteBlocks) put(ctx context.Context, fleet string, b block.Block) (kept block.Block, err error) {
	err = r.Call(ctx, http.MethodPut, "/v1/blocks?"+neturl.Values{"fleet": {fleet}}.Encode(), map[string]any{
		"kind": b.Kind, "subject": b.Subject, "until": b.Until, "reason": b.Reason}, &kept)
	return kept, err
}

func (r remoteBlocks) lift(ctx context.Context, fleet string, kind block.Kind, subject string) (int64, error) {
	var answer block.Lifted
	query := neturl.Values{"fleet": {fleet}, "kind": {string(kind)}, "subject": {subject}}
	err := r.Call(ctx, http.MethodDelete, "/v1/blocks?"+query.Encode(), nil, &answer)
	return answer.Lifted, err
}

func (r remoteBlocks) list(ctx context.Context, fleet string, q block.Query) (page block.Page, err error) {
	query := neturl.Values{"fleet": {fleet}, "limit": {fmt.Sprint(q.Limit)}, "past": {fmt.Sprint(q.Past)}}
	if q.Subject != "" {
		query.Set("kind", string(q.Kind))
		query.Set("subject", q.Subject)
	}
	err = r.Call(ctx, http.MethodGet, "/v1/blocks?"+query.Encode(), nil, &page)
	return page, err
}

func (r remoteBlocks) keys(ctx context.Context, fleet string) (int, error) {
	return keysAt(r.API)(ctx, fleet)
}

func printBlocks(c *cli.Context, page block.Page) error {
	if c.Bool("json") {
		return printJSON(c.App.Writer, page)
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "KIND\tSUBJECT\tUNTIL\tBY\tREASON\tLIFTED")
	for _, b := range page.Blocks {
		lifted := "-"
		if b.LiftedAt != nil {
			lifted = b.LiftedAt.Format(time.RFC3339) + " by " + b.LiftedBy
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", b.Kind, b.Subject, b.Until.Format(time.RFC3339), b.By, b.Reason,
			lifted)
	}
	if left := page.Total - int64(len(page.Blocks)); left > 0 {
		_, _ = fmt.Fprintf(w, "and %d more\n", left)
	}
	return w.Flush()
}
