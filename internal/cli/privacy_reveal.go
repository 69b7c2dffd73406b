package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"weir/internal/platform/secret"
	"weir/internal/platform/sqldb"
	"weir/plugins/ingest/privacy"
)

const envPrivacyKeys = "WEIR_PRIVACY_KEYS"

// privacyReveal is `weir privacy reveal`: it reverses tokens and records who asked.
func privacyReveal() *cli.Command {
	return &cli.Command{
		Name:      "reveal",
		Usage:     "Turn tokens back into what they stand for, and enter that in the audit log",
		ArgsUsage: "TOKEN…",
		Description: `
Tokens that begin with tok- hold their value under the key of their fleet; those
that begin with pii- cannot be turned back. Before a value is printed, the audit
log has who asked, of which fleet, why, and the beginnings of the tokens. Of
several tokens all are turned back, or none is printed.

  weir privacy reveal --fleet shop --reason "request 4711" tok-email-k2-…
  weir privacy reveal --fleet shop --reason "request 4711" --keys file:///run/secrets/weir-privacy tok-email-k2-…`[1:],
		Flags: []cli.Flag{
			dataFlag(), storeFlag(),
			&cli.StringFlag{Name: "fleet", Required: true, Usage: "the `FLEET` whose tokens they are"},
			&cli.StringFlag{Name: "reason", Required: true, Usage: "`WHY`, for those who read the audit log later"},
			&cli.StringFlag{Name: "keys", Usage: "where the keys are kept: `file:///PATH` or vault://PATH#FIELD; without it, " +
				"what " + envPrivacyKeys + " says"},
			&cli.BoolFlag{Name: flagJSON, Usage: "print tokens and values as JSON"},
		},
		Action: func(c *cli.Context) error {
			if err := reveal(c); err != nil {
				return fmt.Errorf("revealing: %w", err)
			}
			return nil
		},
	}
}

// privacyToken is `weir privacy token`: it returns the tokens that replace a value in events.
func privacyToken() *cli.Command {
	return &cli.Command{
		Name:      "token",
		Usage:     "Say which token stands in the events of a fleet for a value",
		ArgsUsage: "VALUE…",
		Description: `
Events that went through privacy have tokens in the place of ids: by these are
people known who are erased, or whose data is exported. It prints one line for
each key and value, that of the newest key first. It reads no store.

  weir privacy token --fleet shop u-77
  weir privacy token --fleet shop --type email ann@example.com`[1:],
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "fleet", Required: true, Usage: "the `FLEET` whose events they are"},
			&cli.StringFlag{Name: "type", Value: "field", Usage: "the `TYPE` of the value: field for what schemas say to hash"},
			&cli.StringFlag{Name: "keys", Usage: "where the keys are kept: `file:///PATH` or vault://PATH#FIELD; without it, " +
				"what " + envPrivacyKeys + " says"},
		},
		Action: func(c *cli.Context) error {
			keys, err := privacyKeys(c)
			if err != nil {
				return fmt.Errorf("making tokens: %w", err)
			}
			for _, value := range arguments(c) {
				tokens, err := privacy.Tokens(keys, c.String("fleet"), c.String("type"), value)
				if err != nil {
					return usagef("making tokens: %w", err)
				}
				for _, token := range tokens {
					if _, err := fmt.Fprintln(c.App.Writer, token); err != nil {
						return fmt.Errorf("writing tokens: %w", err)
					}
				}
			}
			return nil
		},
	}
}

// privacyKeys returns the keys from the flag or the environment.
func privacyKeys(c *cli.Context) (string, error) {
	setting := c.String("keys")
	switch {
	case setting == "":
		setting = os.Getenv(envPrivacyKeys)
	case !secret.Kept(setting):
		return "", usagef("reading --keys: expected where they are kept; keys themselves belong into %s, which others on "+
			"this machine cannot see", envPrivacyKeys)
	}
	if setting == "" {
		return "", usagef("no keys: say where they are kept with --keys, or set %s", envPrivacyKeys)
	}
	return secret.Value(c.Context, setting)
}

func reveal(c *cli.Context) error {
	keys, err := privacyKeys(c)
	if err != nil {
		return err
	}
	db, err := openControl(c, sqldb.Open)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // the entry is committed
	return revealAt(c, db, keys)
}

// revealAt reveals tokens. It prints nothing before the entry in the audit log is committed.
func revealAt(c *cli.Context, db *sqldb.DB, keys string) error {
	type revealed struct {
		Token string `json:"token"`
		Type  string `json:"type"`
		Value string `json:"value"`
	}
	var all []revealed
	var names []string
	var failed error
	for _, token := range arguments(c) {
		r, err := privacy.Reveal(keys, c.String("fleet"), token)
		if errors.Is(err, privacy.ErrNoToken) {
			return usagef("reading token %d: %w", len(names)+1, err)
		}
		failed = errors.Join(failed, err)
		all, names = append(all, revealed{token, r.Type, r.Value}), append(names, r.Short)
	}
	if failed != nil {
		failed = findingError{failed}
	}
	err := recorded(context.WithoutCancel(c.Context), db, "privacy reveal", map[string]any{
		"fleet": c.String("fleet"), "reason": c.String("reason"), "tokens": names}, failed)
	if err != nil {
		return err
	}
	if c.Bool(flagJSON) {
		return printJSON(c.App.Writer, map[string]any{"revealed": all})
	}
	for _, r := range all {
		if _, err := fmt.Fprintln(c.App.Writer, r.Value); err != nil {
			return err
		}
	}
	return nil
}
