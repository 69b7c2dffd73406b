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

// distribution is the engine with weir's components, defaults and profiles.
type distribution struct {
	env     *service.Environment
	own     Own
	assets  fs.FS
	version string
	configs *Configs
	told    sync.Once // of variables that nothing reads
}

// NewEngine returns the engine's command line with weir's components, defaults
// and profiles. Its stream API is always off: a config is a program, so an
// address that takes configs runs programs of whoever reaches it. The commands
// that read configs are weir's own: see engineVerbs. The metrics of the process
// tell by configs what its streams run by.
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

// withoutStreamAPI turns the stream API off before the engine looks whether it
// is wanted. A config that no command names would be read past weir's checks.
func withoutStreamAPI(c *cli.Context) error {
	switch c.Command.Name {
	case "streams":
		return c.Set("no-api", "true")
	case "run", "lint", "test", "echo", "blobl":
		return nil
	}
	return usagef("running a config: say weir run FILE")
}
