// Command weir ingests telemetry from fleets of devices over HTTP and keeps a promise: every acknowledged event is
// stored, or dead-lettered with its reason, or proven a duplicate - and counted exactly once.
//
// It is a Redpanda Connect distribution: the engine's own commands (run,
// streams, test, lint, list, create, blobl) with the components of the plugins
// folder, and the commands of the cli folder.
package main

import (
	"context"
	"embed"
	"fmt"
	"os"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/cli"
	"weir/internal/platform/exporter"
	"weir/internal/platform/heap"
	"weir/internal/platform/text"
	"weir/plugins"
)

// version is set by release builds: -ldflags "-X main.version=1.2.3".
var version = "dev"

// assets are the files that a weir without a checkout runs on.
//
//go:embed configs schemas bloblang
var assets embed.FS

// metrics is the document that describes each metric.
//
//go:embed docs/metrics.md
var metrics string

func main() {
	heap.Configure()
	code, err := run(context.Background(), os.Args)
	if err != nil {
		fmt.Fprintln(os.Stderr, text.Printable(err.Error()))
	}
	os.Exit(code)
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string) (int, error) {
	global := service.GlobalEnvironment() // `create` finds components only there
	if err := plugins.Register(global); err != nil {
		return 1, fmt.Errorf("registering plugins: %w", err)
	}
	configs := &cli.Configs{}
	if err := exporter.Register(global, version, metrics, configs.Meter); err != nil {
		return 1, err
	}
	if err := cli.RegisterTemplates(global, assets); err != nil {
		return 1, err
	}
	own, err := cli.OwnOf(plugins.Register)
	if err != nil {
		return 1, err
	}
	engine := cli.NewEngine(cli.Distribution(global), own, assets, version, configs)
	verbs := cli.Verbs(assets, engine, plugins.Stores())
	if code, done := cli.Front(os.Stdout, os.Stderr, verbs, version, args); done {
		return code, nil
	}
	var added []service.CLIOptFunc
	for _, verb := range verbs {
		added = append(added, service.CLIOptAddCommand(verb))
	}
	code, err := engine(ctx, args, added...)
	if err != nil {
		code = cli.ExitCode(err)
	}
	return code, err
}
