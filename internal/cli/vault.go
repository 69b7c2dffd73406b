package cli

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"weir/internal/platform/secret"
)

// vaultCommand is `weir vault`: it writes to the Vault that the environment names.
func vaultCommand() *cli.Command {
	return &cli.Command{
		Name:  "vault",
		Usage: "Bring secrets of a .env file into the Vault that VAULT_ADDR names",
		Subcommands: []*cli.Command{{
			Name:      "load",
			Usage:     "Write each NAME=VALUE of a file as a field of one secret, in the place of those that are there",
			ArgsUsage: "FILE PATH",
			Description: `
For local work: what a .env file has, settings and pipelines read from a Vault as
they do elsewhere. Names are printed, values never.

  weir vault load .env secret/data/weir/local`[1:],
			Action: loadVault,
		}},
	}
}

func loadVault(c *cli.Context) error {
	args := arguments(c)
	raw, err := os.ReadFile(args[0])
	if err != nil {
		return usageError{fmt.Errorf("reading %s: %w", args[0], err)}
	}
	fields, err := secret.ParseEnv(string(raw))
	if err != nil {
		return findingError{fmt.Errorf("%s: %w", args[0], err)}
	}
	if len(fields) == 0 {
		return findingError{fmt.Errorf("%s: it has no NAME=VALUE", args[0])}
	}
	if err := secret.Load(c.Context, args[1], fields); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s: %s\n", args[1], strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
	return err
}
