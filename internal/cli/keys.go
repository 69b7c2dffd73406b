package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"weir/internal/control/apikey"
	"weir/internal/control/auditlog"
	"weir/internal/platform/sqldb"
)

// keysCommand is `weir keys`: administration of API keys.
func keysCommand() *cli.Command {
	fleet := func(usage string) cli.Flag { return &cli.StringFlag{Name: "fleet", Usage: usage} }
	store := storeFlag()
	name := &cli.StringFlag{Name: "name", Usage: "a note for people"}
	expires := &cli.DurationFlag{Name: "expires", Usage: "the key ends after this `DURATION` (such as 2160h)"}
	return &cli.Command{
		Name:  "keys",
		Usage: "Make, list, rotate and revoke API keys",
		Subcommands: []*cli.Command{
			{
				Name: "create", Usage: "make a key and print it, once, alone on stdout",
				Flags: []cli.Flag{dataFlag(), store, name, expires, fleet("the `FLEET` that the key belongs to"),
					&cli.StringFlag{Name: "scope", Value: string(apikey.Ingest),
						Usage: "`SCOPE,…` of what the key may do: ingest (send events), query (read the fleet), operate (look after " +
							"its alerts)"},
					&cli.StringFlag{Name: "devices", Usage: "the key is for devices that begin with `PREFIX` only, to send and to " +
						"read"},
					&cli.BoolFlag{Name: "admin", Usage: "make a key that administers weir instead, for all fleets"}},
				Action: withKeys(sqldb.Open, keysCreate),
			},
			{
				Name: "list", Usage: "list keys, without their secrets",
				Flags:  []cli.Flag{dataFlag(), store, fleet("only the keys of this `FLEET`")},
				Action: withKeys(sqldb.OpenReading, keysList),
			},
			{
				Name: "revoke", Usage: "end a key", ArgsUsage: "ID",
				Flags:  []cli.Flag{dataFlag(), store},
				Action: withKeys(sqldb.Open, keysRevoke),
			},
			{
				Name: "rotate", Usage: "make a new key that may do what the old one could, and let that end after a grace period",
				ArgsUsage: "[ID]",
				Flags: []cli.Flag{dataFlag(), store, name, expires,
					fleet("the `FLEET` whose one key is to be replaced, instead of an ID"), forceFlag(),
					&cli.DurationFlag{Name: "grace", Value: 24 * time.Hour, Usage: "how long the old key stays valid"}},
				Action: withKeys(sqldb.Open, keysRotate),
			},
		},
	}
}

// keyStore is the store of keys with its control store.
type keyStore struct {
	*apikey.Store
	db *sqldb.DB
}

// did records a change of a key in the audit log and returns failure, like recorded.
func (s keyStore) did(ctx context.Context, command string, key apikey.Key, failure error) error {
	detail := map[string]any{}
	for name, v := range map[string]string{"id": key.ID, "fleet": key.Fleet, "name": auditlog.Text(key.Name),
		"scopes": scopes(key), "device_prefix": auditlog.Text(key.DevicePrefix)} {
		if v != "" {
			detail[name] = v
		}
	}
	if key.Admin {
		detail["admin"] = true
	}
	return recorded(ctx, s.db, command, detail, failure)
}

func withKeys(open func(context.Context, string) (*sqldb.DB, error), do func(context.Context, *cli.Context,
	keyStore) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		db, err := openControl(c, open)
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }() // every change is committed
		store, err := apikey.Open(c.Context, db)
		if err != nil {
			return err
		}
		return do(c.Context, c, keyStore{store, db})
	}
}

func keyOptions(c *cli.Context) apikey.Options {
	opts := apikey.Options{Name: c.String("name"), Admin: c.Bool("admin"), DevicePrefix: c.String("devices")}
	if d := c.Duration("expires"); d != 0 {
		opts.ExpiresAt = time.Now().Add(d)
	}
	return opts
}

func keysCreate(ctx context.Context, c *cli.Context, store keyStore) error {
	if c.String("fleet") == "" && !c.Bool("admin") {
		return usagef("name the fleet of the key with --fleet, or ask for --admin")
	}
	opts := keyOptions(c)
	var err error
	if !opts.Admin {
		if opts.Scopes, err = apikey.ParseScopes(c.String("scope")); err != nil {
			return usagef("reading --scope: %w", err)
		}
	} else if c.IsSet("scope") {
		return usagef("--admin has every scope: leave out --scope")
	}
	text, key, err := store.Create(ctx, c.String("fleet"), opts)
	if err != nil {
		return store.did(ctx, "keys create", apikey.Key{Fleet: c.String("fleet"), Name: c.String("name"),
			Admin: c.Bool("admin")}, err)
	}
	return errors.Join(printKey(c, text, key), store.did(ctx, "keys create", key, nil))
}

func keysRotate(ctx context.Context, c *cli.Context, store keyStore) error {
	id := ""
	if args := arguments(c); len(args) > 0 {
		id = args[0]
	} else if c.String("fleet") == "" {
		return usagef("name the key to rotate: weir keys rotate ID, or --fleet FLEET where the fleet has one")
	}
	if err := knownFleet(c, c.String("fleet"), keysIn(store.db)); err != nil {
		return err
	}
	text, key, err := store.Rotate(ctx, c.String("fleet"), id, c.Duration("grace"), keyOptions(c))
	if err != nil {
		return store.did(ctx, "keys rotate", apikey.Key{ID: id, Fleet: c.String("fleet"), Name: c.String("name")}, err)
	}
	return errors.Join(printKey(c, text, key), store.did(ctx, "keys rotate", key, nil))
}

func printKey(c *cli.Context, text string, key apikey.Key) error {
	_, _ = fmt.Fprintf(c.App.ErrWriter, "Key %s for %s. It is shown this once:\n", key.ID, purpose(key))
	_, err := fmt.Fprintln(c.App.Writer, text)
	return err
}

// purpose describes what a key is for.
func purpose(key apikey.Key) string {
	if key.Admin {
		return "administration"
	}
	text := "fleet " + key.Fleet + ", scopes " + scopes(key)
	if key.DevicePrefix != "" {
		text += ", devices " + key.DevicePrefix + "…"
	}
	return text
}

func scopes(key apikey.Key) string {
	names := make([]string, len(key.Scopes))
	for i, s := range key.Scopes {
		names[i] = string(s)
	}
	return strings.Join(names, ",")
}

func keysRevoke(ctx context.Context, c *cli.Context, store keyStore) error {
	id := arguments(c)[0]
	if err := store.did(ctx, "keys revoke", apikey.Key{ID: id}, store.Revoke(ctx, id)); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(c.App.ErrWriter, "Key %s is revoked. Running gates notice within their key_refresh.\n", id)
	return nil
}

func keysList(ctx context.Context, c *cli.Context, store keyStore) error {
	keys, err := store.List(ctx, c.String("fleet"))
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ID\tFLEET\tSCOPES\tDEVICES\tSTATE\tCREATED\tEXPIRES\tLAST USED\tNAME")
	at := func(t *time.Time) string {
		if t == nil {
			return "-"
		}
		return t.Format(time.RFC3339)
	}
	for _, k := range keys {
		fleet := k.Fleet
		if k.Admin {
			fleet = "(admin)"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, fleet, scopes(k), cmp.Or(k.DevicePrefix, "-"),
			k.State(time.Now()),
			at(&k.CreatedAt), at(k.ExpiresAt), at(k.LastUsedAt), k.Name)
	}
	return w.Flush()
}
