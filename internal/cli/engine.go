package cli

import (
	"context"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/urfave/cli/v2"
)

// opsAddress is the default address of health and metrics. The engine's default listens on all addresses.
const opsAddress = "127.0.0.1:4195"

// allowVariable lists, separated by commas, components of outside that a deployment allows.
const allowVariable = "WEIR_ALLOW_COMPONENTS"

// outside lists components of the engine that run other programs or whole configs received as data. No config of weir
// needs them, and they let whoever can write a config run anything, so they must be allowed by name.
func outside() []string { return []string{"command", "subprocess", "dynamic"} }

// Distribution returns the environment without the components of outside that WEIR_ALLOW_COMPONENTS does not allow.
func Distribution(env *service.Environment) *service.Environment {
	allowed := strings.FieldsFunc(os.Getenv(allowVariable), func(r rune) bool { return r == ',' || r == ' ' })
	without := slices.DeleteFunc(outside(), func(name string) bool { return slices.Contains(allowed, name) })
	return env.Without(without...)
}

// distribution is the engine with weir's components, defaults and profiles.
type distribution struct {
	env     *service.Environment
	own     Own
	assets  fs.FS
	version string
	configs *Configs
	told    sync.Once // prints the warning about unknown variables once
}

// NewEngine returns the engine's command line with weir's components, defaults and profiles. Its stream API is always
// off, because a config is a program and that API would let anyone who reaches it run programs. weir implements the
// commands that read configs itself: see engineVerbs. configs exports which config versions the streams run.
func NewEngine(env *service.Environment, own Own, assets fs.FS, version string, configs *Configs) Engine {
	d := &distribution{env: env, own: own, assets: assets, version: version, configs: configs}
	return func(ctx context.Context, args []string, extra ...service.CLIOptFunc) (int, error) {
		for _, verb := range d.engineVerbs() {
			extra = append(extra, service.CLIOptAddCommand(verb))
		}
		return d.stock(ctx, args, extra...)
	}
}

func (d *distribution) schema() *service.ConfigSchema {
	s := d.env.FullConfigSchema(d.version, "")
	s.SetFieldDefault(opsAddress, "http", "address")
	return s
}

// stock runs the engine's own command line.
func (d *distribution) stock(ctx context.Context, args []string, extra ...service.CLIOptFunc) (int, error) {
	return service.RunCLIToCode(ctx, append([]service.CLIOptFunc{
		service.CLIOptSetArgs(args...),
		service.CLIOptSetBinaryName("weir"),
		service.CLIOptSetProductName("weir"),
		service.CLIOptSetVersion(d.version, ""),
		service.CLIOptSetDocumentationURL("https://docs.redpanda.com/redpanda-connect"),
		service.CLIOptSetDefaultConfigPaths("weir.yaml", "/etc/weir/weir.yaml"),
		service.CLIOptSetEnvironment(d.env),
		service.CLIOptSetMainSchemaFrom(d.schema),
		service.CLIOptCustomRunFlags(nil, withoutStreamAPI),
		service.CLIOptOnStreamStart(started(ctx)),
	}, extra...)...)
}

// withoutStreamAPI turns the stream API off, and rejects running a config without a command, which would bypass
// weir's checks.
func withoutStreamAPI(c *cli.Context) error {
	switch c.Command.Name {
	case "streams":
		return c.Set("no-api", "true")
	case "run", "lint", "test", "echo", "blobl":
		return nil
	}
	return usagef("running a config: say weir run FILE")
}
