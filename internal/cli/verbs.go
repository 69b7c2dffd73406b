package cli

import (
	"context"
	"io/fs"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/urfave/cli/v2"

	"weir/internal/lifecycle"
)

// Engine runs one of the engine's own command lines and returns its exit code.
type Engine func(ctx context.Context, args []string, extra ...service.CLIOptFunc) (int, error)

// Verbs returns the commands that weir adds. assets are the built-in configs, schemas and mappings; stores are all
// stores that keep rows of a fleet.
func Verbs(assets fs.FS, engine Engine, stores lifecycle.List) []*cli.Command {
	verbs := []*cli.Command{
		up(assets, engine),
		fleet(),
		keysCommand(),
		topicsCommand(),
		detectCommand(),
		rulesCommand(),
		schemaCommand(),
		etlCommand(),
		vaultCommand(),
		reconcileCommand(),
		formerly("audit", reconcileCommand()),
		replayCommand(),
		deadLettersCommand(),
		topCommand(),
		patchWorker(),
		eraseCommand(),
		privacyCommand(stores),
		queryCommand(),
		holdCommand(),
		blockCommand(),
		consentCommand(),
		identityCommand(),
		exportSubjectCommand(),
		Retention(assets, engine),
		costCommand(assets),
		roleVerb(assets, engine),
		configsVerb(assets),
		configCommand(assets, engine),
		health(),
		completion(),
	}
	for _, v := range verbs {
		strict(v)
	}
	return verbs
}
