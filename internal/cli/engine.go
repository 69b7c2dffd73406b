package cli

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/urfave/cli/v2"
)

// opsAddress is where the engine's health and metrics listen when no config
// says otherwise. Upstream's default is every address of the machine.
const opsAddress = "127.0.0.1:4195"

// allowVariable names, separated by commas, the components of outside that a
// deployment wants back.
const allowVariable = "WEIR_ALLOW_COMPONENTS"

// outside are upstream's components that run other programs or whole configs
// which arrive as data. No config of weir needs them, and whoever may write a
// config could do anything with them, so they are there only where they are
// asked for by name.
func outside() []string { return []string{"command", "subprocess", "dynamic"} }

// Distribution is the environment without the components of outside, but for
// those that WEIR_ALLOW_COMPONENTS names.
func Distribution(env *service.Environment) *service.Environment {
	allowed := strings.FieldsFunc(os.Getenv(allowVariable), func(r rune) bool { return r == ',' || r == ' ' })
	without := slices.DeleteFunc(outside(), func(name string) bool { return slices.Contains(allowed, name) })
	return env.Without(without...)
}

// NewEngine returns the engine's own command line with weir's components and
// defaults. Its stream API is always off: a config is a program, so an address
// that takes configs runs programs of whoever reaches it.
func NewEngine(env *service.Environment, version string) Engine {
	schema := func() *service.ConfigSchema {
		s := env.FullConfigSchema(version, "")
		s.SetFieldDefault(opsAddress, "http", "address")
		return s
	}
	return func(ctx context.Context, args []string, extra ...service.CLIOptFunc) (int, error) {
		return service.RunCLIToCode(ctx, append([]service.CLIOptFunc{
			service.CLIOptSetArgs(args...),
			service.CLIOptSetBinaryName("weir"),
			service.CLIOptSetProductName("weir"),
			service.CLIOptSetVersion(version, ""),
			service.CLIOptSetDocumentationURL("https://docs.redpanda.com/redpanda-connect"),
			service.CLIOptSetDefaultConfigPaths("weir.yaml", "/etc/weir/weir.yaml"),
			service.CLIOptSetEnvironment(env),
			service.CLIOptSetMainSchemaFrom(schema),
			service.CLIOptCustomRunFlags(nil, prepare),
		}, extra...)...)
	}
}

// prepare is called once the engine has read its -e files, and no config. Tests of
// configs keep their claims in memory, where they need no log and leave nothing.
func prepare(c *cli.Context) error {
	if c.Command.Name == "test" {
		return os.Setenv("WEIR_CLAIMS_URL", "memory://")
	}
	runs := c.Command.Name == "run" || c.Command.Name == "streams"
	if runs {
		keepPrivate()
	}
	if err := givePassword(runs); err != nil {
		return err
	}
	return withoutStreamAPI(c)
}

// withoutStreamAPI turns the stream API off, wherever on the command line
// `streams` stands, before the engine looks whether it is wanted.
func withoutStreamAPI(c *cli.Context) error {
	if c.Command.Name != "streams" {
		return nil
	}
	return c.Set("no-api", "true")
}
