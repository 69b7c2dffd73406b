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
	"weir/internal/control/consent"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
)

// consentCommand is `weir consent`: consents of the subjects of events.
func consentCommand() *cli.Command {
	flags := func(more ...cli.Flag) []cli.Flag {
		return ofStore(append([]cli.Flag{&cli.StringFlag{Name: "subject", Required: true,
			Usage: "whose consent: a `DEVICE_ID`, or what the stream's config takes for the subject"}}, more...)...)
	}
	says := func(name, usage string, granted bool) *cli.Command {
		return &cli.Command{Name: name, Usage: usage,
			Flags: flags(forceFlag(), &cli.StringFlag{Name: "purpose", Required: true, Usage: "`PURPOSE`, such as analytics"},
				&cli.TimestampFlag{Name: "at", Layout: time.RFC3339,
					Usage: "from when it holds: `TIME` in RFC 3339 (default: now)"},
				&cli.StringFlag{Name: "source", Usage: "`WHERE` it was said"}),
			Action: overConsents().with(sqldb.Open, func(ctx context.Context, c *cli.Context, s consents) error {
				if err := knownFleet(c, c.String("fleet"), s.keys); err != nil {
					return err
				}
				change := consent.Change{Purpose: c.String("purpose"), Granted: granted, Source: c.String("source")}
				if at := c.Timestamp("at"); at != nil {
					change.At = *at
				}
				kept, err := s.put(ctx, c.String("fleet"), c.String("subject"), change)
				if err != nil {
					return err
				}
				return printConsents(c, []consent.Change{kept})
			})}
	}
	return &cli.Command{
		Name:  "consent",
		Usage: "Note what subjects of events agree to, and show what they have said",
		Subcommands: []*cli.Command{
			says("grant", "note that a subject agrees to a purpose", true),
			says("withdraw", "note that a subject does not, or not any more", false),
			{
				Name: "list", Usage: "list what a subject has said",
				Flags: flags(&cli.BoolFlag{Name: "json", Usage: "print it as JSON"}),
				Action: overConsents().with(sqldb.OpenReading, func(ctx context.Context, c *cli.Context, s consents) error {
					changes, err := s.list(ctx, c.String("fleet"), c.String("subject"))
					if err != nil {
						return err
					}
					return printConsents(c, changes)
				}),
			},
		},
	}
}

// consents administers consents in a store or over the API.
type consents interface {
	put(ctx context.Context, fleet, subject string, c consent.Change) (consent.Change, error)
	list(ctx context.Context, fleet, subject string) ([]consent.Change, error)
	keys(ctx context.Context, fleet string) (int, error)
}

func overConsents() administered[consents] {
	return administered[consents]{name: "consent", remote: func(api httpx.API) consents { return remoteConsents{api} },
		local: func(ctx context.Context, db *sqldb.DB) (consents, error) {
			store, err := consent.Open(ctx, db)
			return localConsents{store, db}, err
		}}
}

// localConsents works on a store and records changes in its audit log.
type localConsents struct {
	store *consent.Store
	db    *sqldb.DB
}

func (l localConsents) put(ctx context.Context, fleet, subject string, c consent.Change) (consent.Change, error) {
	c.RecordedBy = atCommandLine()
	kept, err := l.store.Put(ctx, fleet, subject, c)
	return kept, recorded(ctx, l.db, "consent", map[string]any{"fleet": fleet, "subject": auditlog.Text(subject),
		"purpose": auditlog.Text(c.Purpose), "granted": c.Granted}, err)
}

func (l localConsents) list(ctx context.Context, fleet, subject string) ([]consent.Change, error) {
	return l.store.Changes(ctx, fleet, subject)
}

func (l localConsents) keys(ctx context.Context, fleet string) (int, error) {
	return keysIn(l.db)(ctx, fleet)
}

// remoteConsents works over the API, which writes the audit log itself.
type remoteConsents struct{ httpx.API }

func (r remoteConsents) put(ctx context.Context, fleet, subject string, c consent.Change) (kept consent.Change,
	err error) {
	wish := map[string]any{"subject": subject, "purpose": c.Purpose, "granted": c.Granted}
	if !c.At.IsZero() {
		wish["at"] = c.At
	}
	if c.Source != "" {
		wish["source"] = c.Source
	}
	err = r.Call(ctx, http.MethodPut, "/v1/consent?"+neturl.Values{"fleet": {fleet}}.Encode(), wish, &kept)
	return kept, err
}

func (r remoteConsents) list(ctx context.Context, fleet, subject string) ([]consent.Change, error) {
	var answer struct{ Changes []consent.Change }
	query := neturl.Values{"fleet": {fleet}, "subject": {subject}}
	err := r.Call(ctx, http.MethodGet, "/v1/consent?"+query.Encode(), nil, &answer)
	return answer.Changes, err
}

func (r remoteConsents) keys(ctx context.Context, fleet string) (int, error) {
	return keysAt(r.API)(ctx, fleet)
}

func printConsents(c *cli.Context, changes []consent.Change) error {
	if c.Bool("json") {
		if changes == nil {
			changes = []consent.Change{}
		}
		return printJSON(c.App.Writer, map[string]any{"changes": changes})
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "PURPOSE\tSINCE\tSAYS\tBY\tSOURCE")
	for _, change := range changes {
		says := "withdrawn"
		if change.Granted {
			says = "granted"
		}
		source := change.Source
		if source == "" {
			source = "-"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", change.Purpose, change.At.Format(time.RFC3339), says,
			change.RecordedBy, source)
	}
	return w.Flush()
}
