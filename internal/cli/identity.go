package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	neturl "net/url"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"weir/internal/control/auditlog"
	"weir/internal/control/identity"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
)

// identityCommand is `weir identity`: which anonymous id belongs to which user.
func identityCommand() *cli.Command {
	asJSON := &cli.BoolFlag{Name: "json", Usage: "print it as JSON"}
	return &cli.Command{
		Name:  "identity",
		Usage: "Say which anonymous id belongs to which user, and show who is who",
		Subcommands: []*cli.Command{
			{
				Name: "link", Usage: "say that whoever has an anonymous id is a user; the first who claims it has it",
				Flags: ofStore(forceFlag(),
					&cli.StringFlag{Name: "anonymous", Required: true,
						Usage: "the anonymous `ID`, as events have it when they are stored"},
					&cli.StringFlag{Name: "user", Required: true, Usage: "the `ID` of the user, as events have it"},
					&cli.TimestampFlag{Name: "at", Layout: time.RFC3339, Usage: "when it happened: `TIME` in RFC 3339 (default: now)"},
					&cli.StringFlag{Name: "source", Usage: "`WHERE` it was said"}, asJSON),
				Action: overIdentities().with(sqldb.Open, func(ctx context.Context, c *cli.Context, s identities) error {
					if err := knownFleet(c, c.String("fleet"), s.keys); err != nil {
						return err
					}
					claim := identity.Claim{Anonymous: c.String("anonymous"), User: c.String("user"), Source: c.String("source")}
					if at := c.Timestamp("at"); at != nil {
						claim.At = *at
					}
					kept, err := s.put(ctx, c.String("fleet"), claim)
					if err != nil {
						return err
					}
					return printClaim(c, kept)
				}),
			},
			{
				Name: "show", Usage: "show who an id is, with all aliases and devices",
				Flags: ofStore(
					&cli.StringFlag{Name: "subject", Required: true, Usage: "an anonymous `ID`, or that of a user"},
					&cli.Int64Flag{Name: "as-of", Usage: "as it was known at this `VERSION` of the fleet's aliases"}, asJSON),
				Action: overIdentities().with(sqldb.OpenReading, func(ctx context.Context, c *cli.Context, s identities) error {
					if c.Int64("as-of") < 0 {
						return usagef("reading --as-of: expected a version, a whole number")
					}
					person, err := s.person(ctx, c.String("fleet"), c.String("subject"), c.Int64("as-of"))
					if err != nil {
						return err
					}
					if c.Bool("json") {
						return printJSON(c.App.Writer, person)
					}
					return printPerson(c.App.Writer, person)
				}),
			},
		},
	}
}

// identities administers aliases in a store or over the API.
type identities interface {
	put(ctx context.Context, fleet string, c identity.Claim) (identity.Answer, error)
	person(ctx context.Context, fleet, subject string, version int64) (*identity.Person, error)
	keys(ctx context.Context, fleet string) (int, error)
}

func overIdentities() administered[identities] {
	return administered[identities]{name: "identity",
		remote: func(api httpx.API) identities { return remoteIdentities{api} },
		local: func(ctx context.Context, db *sqldb.DB) (identities, error) {
			store, err := identity.Open(ctx, db)
			return localIdentities{store, db}, err
		}}
}

// localIdentities works on a store and records claims in its audit log.
type localIdentities struct {
	store *identity.Store
	db    *sqldb.DB
}

func (l localIdentities) put(ctx context.Context, fleet string, c identity.Claim) (identity.Answer, error) {
	c.RecordedBy = atCommandLine()
	kept, changes, err := l.store.Put(ctx, fleet, c)
	return identity.Answer{Claim: kept, Changes: changes}, recorded(ctx, l.db, "identity", map[string]any{"fleet": fleet,
		"anonymous_id": auditlog.Text(c.Anonymous), "user_id": auditlog.Text(c.User)}, err)
}

func (l localIdentities) person(ctx context.Context, fleet, subject string, version int64) (*identity.Person, error) {
	return l.store.Person(ctx, fleet, subject, version)
}

func (l localIdentities) keys(ctx context.Context, fleet string) (int, error) {
	return keysIn(l.db)(ctx, fleet)
}

// remoteIdentities works over the API, which writes the audit log itself.
type remoteIdentities struct{ httpx.API }

func (r remoteIdentities) put(ctx context.Context, fleet string, c identity.Claim) (kept identity.Answer, err error) {
	wish := map[string]any{"anonymous_id": c.Anonymous, "user_id": c.User}
	if !c.At.IsZero() {
		wish["at"] = c.At
	}
	if c.Source != "" {
		wish["source"] = c.Source
	}
	err = r.Call(ctx, http.MethodPut, "/v1/identity?"+neturl.Values{"fleet": {fleet}}.Encode(), wish, &kept)
	return kept, err
}

func (r remoteIdentities) person(ctx context.Context, fleet, subject string, version int64) (*identity.Person, error) {
	query := neturl.Values{"fleet": {fleet}, "subject": {subject}}
	if version > 0 {
		query.Set("as_of", strconv.FormatInt(version, 10))
	}
	var person identity.Person
	err := r.Call(ctx, http.MethodGet, "/v1/identity?"+query.Encode(), nil, &person)
	return &person, err
}

func (r remoteIdentities) keys(ctx context.Context, fleet string) (int, error) {
	return keysAt(r.API)(ctx, fleet)
}

func printClaim(c *cli.Context, kept identity.Answer) error {
	if c.Bool("json") {
		return printJSON(c.App.Writer, kept)
	}
	text := fmt.Sprintf("%s is %s since %s (version %d)\n", kept.Anonymous, kept.User, kept.At.Format(time.RFC3339),
		kept.Version)
	for _, change := range kept.Changes {
		if change.Before != "" {
			text += fmt.Sprintf("it was %s before: what was counted there is to be counted for %s\n", change.Before,
				change.After)
		}
	}
	if len(kept.Changes) == 0 {
		text += "no anonymous id came to another user by that\n"
	}
	_, err := io.WriteString(c.App.Writer, text)
	return err
}

func printPerson(w io.Writer, p *identity.Person) error {
	var b strings.Builder
	list := func(what string, names []string) {
		if len(names) == 0 {
			names = []string{"none"}
		}
		fmt.Fprintf(&b, "%s: %s\n", what, strings.Join(names, ", "))
	}
	fmt.Fprintf(&b, "person: %s\n", p.ID)
	list("aliases", p.Aliases)
	list("devices", p.Devices)
	list("devices that others used, too", p.Shared)
	for _, c := range p.Claims {
		fmt.Fprintf(&b, "claim: %s is %s since %s (version %d)\n", c.Anonymous, c.User, c.At.Format(time.RFC3339), c.Version)
	}
	fmt.Fprintf(&b, "version: %d\n", p.Version)
	_, err := io.WriteString(w, b.String())
	return err
}
