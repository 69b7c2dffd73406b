package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"weir/internal/platform/envyaml"
)

// engineVerbs returns weir's versions of the engine's commands that read configs: they check configs before anything
// is started, substitute variables safely, and know weir's profiles.
func (d *distribution) engineVerbs() []*cli.Command {
	verbs := append(d.stockVerbs(), d.runVerb(), d.streamsVerb(), d.lintVerb(), d.testVerb(), d.echoVerb())
	for _, v := range verbs {
		v.HideHelpCommand = true
		v.OnUsageError = usage
	}
	return verbs
}

func usage(c *cli.Context, err error, _ bool) error {
	return usagef("%w: see %s --help", err, c.Command.HelpName)
}

const (
	flagEnvFile   = "env-file"
	flagTemplates = "templates"
	flagResources = "resources"
	flagSet       = "set"
	flagLogLevel  = "log.level"
	flagChilled   = "chilled"
	flagWatch     = "watcher"
	flagShared    = "observability"
	flagMain      = "config"
)

func envFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: flagEnvFile, Aliases: []string{"e"},
			Usage: "set the variables of an env `FILE`, such as configs/standalone.env"},
		&cli.StringSliceFlag{Name: flagTemplates, Aliases: []string{"t"},
			Usage: "add the component that a template `FILE` describes"},
		&cli.StringSliceFlag{Name: flagResources, Aliases: []string{"r"}, Usage: "add the resources of a `FILE`"},
	}
}

func runFlags() []cli.Flag {
	return append(envFlags(),
		&cli.StringSliceFlag{Name: flagSet, Aliases: []string{"s"},
			Usage: "set a field of the config, as in metrics.prometheus.add_go_metrics=true"},
		&cli.StringFlag{Name: flagLogLevel, Usage: "log at this `LEVEL`: off, error, warn, info, debug or trace"},
		&cli.BoolFlag{Name: flagChilled, Usage: "run configs that the linter complains of"},
		&cli.BoolFlag{Name: flagWatch, Aliases: []string{"w"}, Usage: "take up configs that change while they run"},
	)
}

// passed returns the flags of a run that are passed to the engine unchanged.
func passed(c *cli.Context) (flags []string, err error) {
	for _, field := range sliceFlag(c, flagSet) {
		if !strings.Contains(field, "=") {
			return nil, usagef("reading --%s: %q is no FIELD=VALUE", flagSet, field)
		}
		flags = append(flags, "--"+flagSet, field)
	}
	if level := stringFlag(c, flagLogLevel); level != "" {
		flags = append(flags, "--"+flagLogLevel, level)
	}
	return flags, nil
}

func (d *distribution) runVerb() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "Run one stream",
		Description: "  weir run -e configs/standalone.env configs/streams/raw.yaml",
		Flags:       runFlags(),
		Action: func(c *cli.Context) error {
			return d.one(c, "run", stringFlag(c, flagMain), "weir.yaml", "/etc/weir/weir.yaml")
		},
	}
}

func (d *distribution) echoVerb() *cli.Command {
	return &cli.Command{
		Name: "echo", Usage: "Print a config as the engine understands it, secrets left out",
		Description: "  weir echo -e configs/standalone.env configs/streams/raw.yaml",
		Flags: append(envFlags(), &cli.StringSliceFlag{Name: flagSet, Aliases: []string{"s"},
			Usage: "set a field of the config"}),
		Action: func(c *cli.Context) error { return d.one(c, "echo", stringFlag(c, flagMain)) },
	}
}

// one runs an engine command on one config: the named one, or the first default that exists.
func (d *distribution) one(c *cli.Context, verb, named string, defaults ...string) error {
	args, err := interspersed(c)
	if err != nil {
		return usageError{err}
	}
	if named != "" {
		args = append(args, named)
	}
	for _, path := range defaults {
		if _, err := os.Stat(path); err == nil && len(args) == 0 {
			args = []string{path}
		}
	}
	if args, err = configFiles(args); err != nil {
		return err
	}
	if len(args) != 1 {
		return usagef("weir %s takes one config, and was given %d; several streams: weir streams -o configs/service.yaml "+
			"FILE…", verb, len(args))
	}
	if err := d.prepare(c, args); err != nil {
		return err
	}
	resources, err := configFiles(sliceFlag(c, flagResources))
	if err != nil {
		return err
	}
	set := sliceFlag(c, flagSet)
	flags, err := passed(c)
	if err != nil {
		return err
	}
	return d.launch(c, launch{
		verb: verb, configs: args, resources: resources, flags: flags, chilled: boolFlag(c, flagChilled),
		unlinted: len(set) > 0, watch: boolFlag(c, flagWatch), restart: append(templatesBeside(args),
			sliceFlag(c, flagEnvFile)...),
	})
}

func (d *distribution) streamsVerb() *cli.Command {
	return &cli.Command{
		Name: "streams", Usage: "Run several streams in one process",
		Description: `
What all of them share, such as the address of health and metrics, is in the
file that -o names. Configs are files or folders.

  weir streams -e configs/cluster.env -o configs/service.yaml configs/streams/*.yaml`[1:],
		Flags: append(runFlags(),
			&cli.StringFlag{Name: flagShared, Aliases: []string{"o"}, Usage: "a `FILE` with what the streams share"},
			&cli.BoolFlag{Name: "no-api", Hidden: true, Usage: "there is none"},
			&cli.BoolFlag{Name: "prefix-stream-endpoints", Hidden: true, Value: true,
				Usage: "begin the paths of a stream's HTTP endpoints with its name"},
		),
		Action: func(c *cli.Context) error {
			args, err := interspersed(c)
			if err != nil {
				return usageError{err}
			}
			if streams, err := configFiles(args); err != nil {
				return err
			} else if len(streams) == 0 {
				return usagef("running streams: name at least one; weir streams -o configs/service.yaml configs/streams/*.yaml")
			}
			if err := d.prepare(c, args); err != nil {
				return err
			}
			resources, err := configFiles(sliceFlag(c, flagResources))
			if err != nil {
				return err
			}
			shared := c.String(flagShared)
			if shared == "" {
				shared = stringFlag(c, flagMain)
			}
			if shared != "" {
				if err := isThere(shared); err != nil {
					return err
				}
			}
			flags, err := passed(c)
			if err != nil {
				return err
			}
			return d.launch(c, launch{
				verb: "streams", main: shared, configs: args, resources: resources, chilled: boolFlag(c, flagChilled),
				watch:   boolFlag(c, flagWatch),
				restart: append(templatesBeside(args), sliceFlag(c, flagEnvFile)...),
				flags:   append(flags, fmt.Sprintf("--prefix-stream-endpoints=%t", c.Bool("prefix-stream-endpoints"))),
			})
		},
	}
}

func (d *distribution) lintVerb() *cli.Command {
	return &cli.Command{
		Name: "lint", Usage: "Check configs, and exit 1 if one is wrong",
		Description: `
Variables that neither the environment nor an env file sets have the values of
the standalone profile. A path that ends in "..." is walked. A mapping between
schema_validate and event_log is tried on a sample event.

  weir lint configs/streams/*.yaml
  weir lint -e configs/cluster.env configs/...`[1:],
		Flags: append(envFlags(),
			&cli.BoolFlag{Name: "deprecated", Usage: "complain of deprecated fields"},
			&cli.BoolFlag{Name: "labels", Usage: "complain of components without a label"},
			&cli.BoolFlag{Name: "skip-env-var-check", Usage: "do not complain of variables without a value"},
			&cli.BoolFlag{Name: "verbose", Usage: "name the files that are right, too"},
			&cli.BoolFlag{Name: "as-it-is", Usage: "take no values from the standalone profile"},
		),
		Action: d.lint,
	}
}

func (d *distribution) lint(c *cli.Context) error {
	args, err := interspersed(c)
	if err != nil {
		return usageError{err}
	}
	if err := d.prepare(c, args); err != nil {
		return err
	}
	if named := stringFlag(c, flagMain); named != "" {
		args = append(args, named)
	}
	files, err := configFiles(append(args, sliceFlag(c, flagResources)...))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return usagef("checking configs: there are none at these paths; weir lint configs/streams/*.yaml")
	}
	if !c.Bool("as-it-is") {
		standalone, err := d.profile("standalone")
		if err == nil {
			err = setDefaults(standalone)
		}
		if err != nil {
			return err
		}
	}
	checker := d.checker(os.LookupEnv)
	checker.homes = true
	checker.missing = !c.Bool("skip-env-var-check")
	checker.linter.SetRejectDeprecated(c.Bool("deprecated")).SetRequireLabels(c.Bool("labels"))
	wrong := 0
	for _, file := range files {
		_, found := checker.file(file)
		found = slices.Concat(found, altering(file), misplaced(file), unstored(file), unended(file))
		for _, f := range found {
			fmt.Fprintln(c.App.ErrWriter, f)
		}
		if len(found) > 0 {
			wrong++
		} else if c.Bool("verbose") {
			fmt.Fprintf(c.App.Writer, "%s: OK\n", file)
		}
	}
	if wrong > 0 {
		return findingError{fmt.Errorf("configs that are wrong: %d of %d", wrong, len(files))}
	}
	return nil
}

// prepare does what all commands that read configs need: it loads env files, resolves the password file, and adds
// templates.
func (d *distribution) prepare(c *cli.Context, configs []string) error {
	files, err := configFiles(sliceFlag(c, flagEnvFile))
	if err != nil {
		return err
	}
	known, err := d.knownVariables(configs)
	if err != nil {
		return err
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading the env file: %w", err)
		}
		assignments, err := envyaml.ParseEnv(raw)
		if err != nil {
			return usagef("reading the env file %s: %w", file, err)
		}
		if err := refuseTypos(file, assignments, known); err != nil {
			return err
		}
		for _, a := range assignments {
			if err := os.Setenv(a.Name, a.Value); err != nil {
				return fmt.Errorf("reading the env file %s, line %d: %w", file, a.Line, err)
			}
		}
	}
	if err := refuseRenamed(os.Environ(), known); err != nil {
		return err
	}
	d.told.Do(func() { tellUnknown(c.App.ErrWriter, os.Environ(), known) })
	runs := c.Command.Name == "run" || c.Command.Name == "streams"
	if runs {
		keepPrivate()
	}
	if err := givePassword(runs); err != nil {
		return err
	}
	templates, err := configFiles(sliceFlag(c, flagTemplates))
	if err != nil {
		return err
	}
	return d.useTemplates(append(templatesBeside(configs), templates...))
}

// The engine accepts flags of a run also before the command: the functions below look in both places.

func stringFlag(c *cli.Context, name string) string {
	for _, c := range c.Lineage() {
		if value := c.String(name); value != "" {
			return value
		}
	}
	return ""
}

func sliceFlag(c *cli.Context, name string) (values []string) {
	for _, c := range c.Lineage() {
		for _, value := range c.StringSlice(name) {
			if !slices.Contains(values, value) {
				values = append(values, value)
			}
		}
	}
	return values
}

func boolFlag(c *cli.Context, name string) bool {
	return slices.ContainsFunc(c.Lineage(), func(c *cli.Context) bool { return c.Bool(name) })
}
