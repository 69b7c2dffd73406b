package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// stockVerbs returns commands that the engine executes unchanged after weir has checked their command lines, because
// the engine ignores what it does not know and exits with 0.
func (d *distribution) stockVerbs() []*cli.Command {
	templates := &cli.StringSliceFlag{Name: flagTemplates, Aliases: []string{"t"},
		Usage: "add the component that a template `FILE` describes"}
	return []*cli.Command{
		{
			Name: "list", Usage: "List components, and the functions and methods of Bloblang", ArgsUsage: "[KIND…]",
			Description: "\n  weir list inputs outputs\n  weir list --format json bloblang-functions"[1:],
			Flags: []cli.Flag{
				&cli.StringFlag{Name: flagFormat, Value: "text", Usage: "print as " + strings.Join(listFormats(), ", ")},
				&cli.StringFlag{Name: flagStatus, Usage: "only those that are " + strings.Join(listStatuses(), ", ")},
				templates,
			},
			Action: d.list,
		},
		{
			Name: "create", Usage: "Print a config with components", ArgsUsage: "[INPUTS/PROCESSORS/OUTPUTS]",
			Description: "\n  weir create gate/schema_validate/event_log\n  weir create --small log_input//raw_store"[1:],
			Flags: append([]cli.Flag{&cli.BoolFlag{Name: "small", Aliases: []string{"s"},
				Usage: "only the components, without advanced fields"}}, envFlags()...),
			Action: d.create,
		},
		{
			Name: "blobl", Usage: "Try a Bloblang mapping on lines of JSON", ArgsUsage: "[MAPPING]",
			Description: `
  echo '{"metrics":{"cpu_temp":61.5}}' | weir blobl 'root = this.metrics'
  weir blobl -i events.jsonl -f mapping.blobl`[1:],
			Flags: []cli.Flag{
				&cli.StringFlag{Name: flagFile, Aliases: []string{"f"}, Usage: "the mapping of a `FILE`"},
				&cli.StringFlag{Name: flagInput, Aliases: []string{"i"}, Usage: "read a `FILE`, not standard input"},
				&cli.BoolFlag{Name: "raw", Aliases: []string{"r"}, Usage: "take lines as texts"},
				&cli.BoolFlag{Name: "pretty", Aliases: []string{"p"}, Usage: "print JSON on several lines"},
				&cli.IntFlag{Name: "threads", Aliases: []string{"t"}, Value: 1, Usage: "map `N` lines at a time, in any order"},
				&cli.IntFlag{Name: "max-token-length", Value: bufio.MaxScanTokenSize, Usage: "the longest line, in bytes"},
				&cli.StringSliceFlag{Name: flagEnvFile, Aliases: []string{"e"}, Usage: "set the variables of an env `FILE`"},
			},
			Action: d.blobl,
		},
		{
			Name: "template", Usage: "Check templates",
			Subcommands: []*cli.Command{{
				Name: "lint", Usage: "Check templates, and exit 1 if one is wrong", ArgsUsage: "FILE…",
				Flags:  []cli.Flag{&cli.BoolFlag{Name: "verbose", Usage: "name the files that are right, too"}},
				Action: d.lintTemplates, HideHelpCommand: true, OnUsageError: usage,
			}},
			Action: func(c *cli.Context) error {
				if c.NArg() > 0 {
					return usagef("there is no command weir template %q: see weir template --help", c.Args().First())
				}
				return cli.ShowSubcommandHelp(c)
			},
		},
		// The engine's studio command runs configs of its vendor's server. It is hidden and rejected.
		{Name: "studio", Hidden: true, SkipFlagParsing: true, HideHelp: true, Action: func(*cli.Context) error {
			return usagef("there is no command %q: see weir --help", "studio")
		}},
	}
}

const (
	flagFormat = "format"
	flagStatus = "status"
	flagFile   = "file"
	flagInput  = "input"
)

func listFormats() []string {
	return []string{"text", "json", "json-full", "json-full-scrubbed", "jsonschema", "cue"}
}

func listStatuses() []string { return []string{"stable", "beta", "experimental", "deprecated"} }

// listed returns the kinds that `weir list` accepts.
func listed() []string {
	return []string{"inputs", "processors", "outputs", "caches", "rate-limits", "buffers", "metrics", "tracers",
		"scanners", "bloblang-functions", "bloblang-methods"}
}

func (d *distribution) list(c *cli.Context) error {
	args, err := interspersed(c)
	if err != nil {
		return usageError{err}
	}
	if err := oneOf(flagFormat, c.String(flagFormat), listFormats()); err != nil {
		return err
	}
	if c.IsSet(flagStatus) {
		if err := oneOf(flagStatus, c.String(flagStatus), listStatuses()); err != nil {
			return err
		}
	}
	names := c.String(flagFormat) == "jsonschema" // jsonschema also accepts names of single functions
	for _, kind := range args {
		if !names && !slices.Contains(listed(), kind) {
			return usagef("there are no components of kind %q: expected %s", kind, strings.Join(listed(), ", "))
		}
	}
	return d.carryOut(c, args)
}

func (d *distribution) create(c *cli.Context) error {
	args, err := interspersed(c)
	if err != nil {
		return usageError{err}
	}
	if len(args) > 1 {
		return usagef("unexpected argument %q: weir create takes one, INPUTS/PROCESSORS/OUTPUTS", args[1])
	}
	if err := d.carryOut(c, args); err != nil {
		return usageError{fmt.Errorf("creating a config: %w; see weir list", err)}
	}
	return nil
}

func (d *distribution) blobl(c *cli.Context) error {
	args, err := interspersed(c)
	if err != nil {
		return usageError{err}
	}
	given := len(args)
	for _, name := range []string{flagFile, flagInput} {
		if path := c.String(name); path != "" {
			if _, err := configFiles([]string{path}); err != nil {
				return err
			}
		}
	}
	if c.String(flagFile) != "" {
		given++
	}
	if given != 1 {
		return usagef("weir blobl takes one mapping, as an argument or with --%s, and was given %d", flagFile, given)
	}
	err = d.carryOut(c, args)
	if err != nil && strings.HasPrefix(err.Error(), "failed to parse mapping") {
		return usageError{err}
	}
	return err
}

func (d *distribution) lintTemplates(c *cli.Context) error {
	files, err := filesNamed(c, "checking templates", "weir template lint configs/templates/*.yaml")
	if err != nil {
		return err
	}
	return d.carryOut(c, files, "template")
}

// carryOut runs the current command in the engine, with its flags and these arguments. above are its parent commands.
func (d *distribution) carryOut(c *cli.Context, args []string, above ...string) error {
	if _, err := configFiles(append(sliceFlag(c, flagEnvFile), sliceFlag(c, flagTemplates)...)); err != nil {
		return err
	}
	line := append(append([]string{"weir"}, above...), c.Command.Name)
	for _, f := range c.Command.Flags {
		name := f.Names()[0]
		if !c.IsSet(name) {
			continue
		}
		values := []string{fmt.Sprint(c.Value(name))}
		if _, several := f.(*cli.StringSliceFlag); several {
			values = c.StringSlice(name)
		}
		for _, value := range values {
			line = append(line, "--"+name+"="+value)
		}
	}
	code, err := d.stock(c.Context, append(append(line, "--"), args...))
	if err == nil && code != 0 {
		err = findingError{errors.New("the engine found what is wrong, and said so")}
	}
	return err
}

// isThere rejects a path that does not exist.
func isThere(path string) error {
	_, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return usagef("there is no %s: check the path", path)
	case err != nil:
		return fmt.Errorf("looking for %s: %w", path, err)
	}
	return nil
}
