package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	"gopkg.in/yaml.v3"

	"weir/internal/control/streamconf"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/tempdir"
)

const flagTests = "tests"

// configCommand is `weir config`: versions of stream configs.
func configCommand(assets fs.FS, engine Engine) *cli.Command {
	flags := func(more ...cli.Flag) []cli.Flag {
		return append(append([]cli.Flag{dataFlag(), storeFlag()}, apiFlags("store")...), more...)
	}
	return &cli.Command{
		Name:  "config",
		Usage: "Keep versions of stream configs, put them in force and take them back",
		Subcommands: []*cli.Command{
			{
				Name: "put",
				Usage: "Check a config by lint and its tests, and keep it as a version; it is not in force until it is " +
					"activated",
				ArgsUsage: "FILE",
				Description: `
The stream is that of the file's name. The tests are those in the file, and those
of --tests, which are about it; the version keeps them. Each process checks a
version again, with the values that its own variables have, before it takes it
up. A config is a program, so that none is put over the API.

  weir config put mine/raw.yaml --tests mine/raw_test.yaml --activate`[1:],
				Flags: []cli.Flag{dataFlag(), storeFlag(),
					&cli.StringSliceFlag{Name: flagTests, Usage: "a `FILE` of tests that the config must pass"},
					&cli.StringSliceFlag{Name: flagEnvFile, Aliases: []string{"e"},
						Usage: "check with the variables of an env `FILE`"},
					&cli.StringFlag{Name: "stream", Usage: "the `STREAM`, where the file is named otherwise"},
					&cli.StringFlag{Name: "comment", Usage: "`WHY`, for those who read it later"},
					&cli.BoolFlag{Name: "activate", Usage: "put it in force, too"},
				},
				Action: func(c *cli.Context) error { return putConfig(c, assets, engine) },
			},
			{
				Name: "list", Usage: "List the versions, which are in force, and what processes run by",
				Flags:  flags(&cli.BoolFlag{Name: "json", Usage: "print them as JSON"}),
				Action: withConfigs(sqldb.OpenReading, listConfigs),
			},
			{
				Name: "show", Usage: "Print the text of a version", ArgsUsage: "STREAM NUMBER", Flags: flags(),
				Action: withConfigs(sqldb.OpenReading, func(ctx context.Context, c *cli.Context, k configs) error {
					number, err := configNumber(arguments(c)[1])
					if err != nil {
						return err
					}
					v, err := k.get(ctx, arguments(c)[0], number)
					if err == nil {
						_, err = fmt.Fprint(c.App.Writer, v.Text)
					}
					return err
				}),
			},
			{
				Name:      "diff",
				Usage:     "Show what a file, or a version, would change of what is in force",
				ArgsUsage: "FILE|STREAM [NUMBER]", Flags: flags(),
				Description: `
Where no version is in force, that is the config built into this binary.

  weir config diff mine/raw.yaml
  weir config diff raw 3`[1:],
				Action: withConfigs(sqldb.OpenReading, func(ctx context.Context, c *cli.Context, k configs) error {
					return diffConfigs(ctx, c, k, assets)
				}),
			},
			{
				Name:      "activate",
				Usage:     "Put a version in force: running streams are swapped, drained; 0 is the file of each process",
				ArgsUsage: "STREAM NUMBER", Flags: flags(),
				Action: withConfigs(sqldb.Open, func(ctx context.Context, c *cli.Context, k configs) error {
					number, err := configNumber(arguments(c)[1])
					if err != nil {
						return err
					}
					return printConfigInForce(c, func() (streamconf.Activation, error) {
						return k.activate(ctx, arguments(c)[0], number)
					})
				}),
			},
			{
				Name: "rollback", Usage: "Put in force what was before; again, go back one more", ArgsUsage: "STREAM",
				Flags: flags(),
				Action: withConfigs(sqldb.Open, func(ctx context.Context, c *cli.Context, k configs) error {
					return printConfigInForce(c, func() (streamconf.Activation, error) { return k.rollback(ctx, arguments(c)[0]) })
				}),
			},
		},
	}
}

func configNumber(said string) (int64, error) {
	number, err := strconv.ParseInt(said, 10, 64)
	if err != nil || number < 0 {
		return 0, usagef("%q is no number of a version: 'weir config list' lists them", said)
	}
	return number, nil
}

// streamOf returns the name of the stream of a config file.
func streamOf(file string) string {
	return strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
}

// configMost is the maximum size of a config, and of each test file, in bytes.
const configMost = 1 << 20

func putConfig(c *cli.Context, assets fs.FS, engine Engine) error {
	control, err := controlURL(c) // before running tests, which have stores of their own
	if err != nil {
		return err
	}
	file := arguments(c)[0]
	v := streamconf.Version{Stream: c.String("stream"), Comment: c.String("comment"), CreatedBy: whoActs()}
	if v.Stream == "" {
		v.Stream = streamOf(file)
	}
	read := func(path string) string {
		raw, readErr := os.ReadFile(path)
		if readErr == nil && len(raw) > configMost {
			readErr = fmt.Errorf("%s has more than %d bytes", path, configMost)
		}
		err = errors.Join(err, readErr)
		return string(raw)
	}
	v.Text = read(file)
	for _, path := range c.StringSlice(flagTests) {
		v.Tests = append(v.Tests, streamconf.Test{File: filepath.Base(path), Text: read(path)})
	}
	if err != nil {
		return usagef("reading the config: %w", err)
	}
	if _, err := fs.Stat(assets, "configs/streams/"+v.Stream+".yaml"); err != nil {
		fmt.Fprintf(c.App.ErrWriter, "there is no stream %s in this binary: it is for a stream of your own\n", v.Stream)
	}
	if err := checkConfig(c, assets, engine, file); err != nil {
		return err
	}
	db, err := sqldb.Open(c.Context, control)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // every change is committed
	kept, err := openConfigs(c.Context, db)
	if err != nil {
		return err
	}
	v, err = kept.put(c.Context, v)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c.App.Writer, "%s, version %d: %s\n", v.Stream, v.Number, v.Sum); err != nil ||
		!c.Bool("activate") {
		return err
	}
	return printConfigInForce(c, func() (streamconf.Activation, error) {
		return kept.activate(c.Context, v.Stream, v.Number)
	})
}

// checkConfig lints a config and runs its tests, with the mappings of the config's home, or this binary's if it has
// none.
func checkConfig(c *cli.Context, assets fs.FS, engine Engine, file string) error {
	if _, set := os.LookupEnv(variableMappings); !set && !isDir(filepath.Join(homeOf(file), "bloblang")) {
		home, remove, err := tempdir.Make("config")
		if err != nil {
			return fmt.Errorf("laying the mappings out: %w", err)
		}
		defer remove()
		if err := copyTree(assets, home); err != nil {
			return fmt.Errorf("laying the mappings out: %w", err)
		}
		if err := os.Setenv(variableMappings, filepath.Join(home, "bloblang")); err != nil {
			return err
		}
	}
	var with []string
	for _, env := range c.StringSlice(flagEnvFile) {
		with = append(with, "-e", env)
	}
	if err := engineOn(c.Context, engine, append(append([]string{"lint"}, with...), file)); err != nil {
		return err
	}
	tests := c.StringSlice(flagTests)
	abs, err := filepath.Abs(file)
	if err != nil {
		return fmt.Errorf("finding %s: %w", file, err)
	}
	for _, test := range tests {
		at, err := filepath.Abs(test)
		if err != nil {
			return fmt.Errorf("finding %s: %w", test, err)
		}
		if !slices.Contains(targetsOf([]string{at}), abs) {
			return usagef("the tests of %s are not about %s: their target_processors name it, as in %s#/pipeline/processors",
				test, file, filepath.Base(file))
		}
	}
	var own struct {
		Tests []any `yaml:"tests"`
	}
	raw, err := os.ReadFile(file)
	if err == nil && yaml.Unmarshal(raw, &own) == nil && len(own.Tests) > 0 {
		tests = append(slices.Clone(tests), file)
	}
	if len(tests) == 0 {
		fmt.Fprintln(c.App.ErrWriter, "it has no tests: --tests FILE names some")
		return nil
	}
	return engineOn(c.Context, engine, append(append([]string{"test"}, with...), tests...))
}

// engineOn runs a command of the engine. A non-zero exit code becomes a findingError.
func engineOn(ctx context.Context, engine Engine, args []string) error {
	code, err := engine(ctx, append([]string{"weir"}, args...))
	if err == nil && code != 0 {
		err = findingError{fmt.Errorf("weir %s ended with code %d", args[0], code)}
	}
	return err
}

func printConfigInForce(c *cli.Context, do func() (streamconf.Activation, error)) error {
	a, err := do()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s, in force: %s\n", a.Stream, versionNamed(a.Number))
	return err
}

func versionNamed(number int64) string {
	if number == 0 {
		return "the file of each process"
	}
	return fmt.Sprintf("version %d", number)
}

func listConfigs(ctx context.Context, c *cli.Context, k configs) error {
	all, err := k.all(ctx)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, all)
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "STREAM\tIN FORCE\tSINCE\tBY\n")
	for _, a := range all.Active {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", a.Stream, versionNamed(a.Number), a.At.Format(time.RFC3339), a.By)
	}
	fmt.Fprint(w, "\nSTREAM\tNUMBER\tSUM\tPUT\tBY\tRAN\tCOMMENT\n")
	for _, v := range all.Versions {
		ran := "never"
		if v.RanAt != nil {
			ran = v.RanAt.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\n", v.Stream, v.Number, v.Sum, v.CreatedAt.Format(time.RFC3339),
			v.CreatedBy, ran, v.Comment)
	}
	if len(all.Processes) > 0 {
		fmt.Fprint(w, "\nPROCESS\tSTREAM\tWANTED\tRUNS BY\tPROBLEM\n")
	}
	for _, p := range all.Processes {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", p.Process, p.Stream, p.Wanted, p.Running,
			strings.ReplaceAll(p.Problem, "\n", "; "))
	}
	return w.Flush()
}

func diffConfigs(ctx context.Context, c *cli.Context, k configs, assets fs.FS) error {
	args := arguments(c)
	stream, file := args[0], ""
	if _, err := os.Stat(args[0]); err == nil {
		stream, file = streamOf(args[0]), args[0]
	}
	all, err := k.all(ctx)
	if err != nil {
		return err
	}
	text := func(number int64) (string, error) {
		if number == 0 {
			raw, err := fs.ReadFile(assets, "configs/streams/"+stream+".yaml")
			if errors.Is(err, fs.ErrNotExist) {
				err = nil // a stream that is not weir's
			}
			return string(raw), err
		}
		v, err := k.get(ctx, stream, number)
		return v.Text, err
	}
	from := int64(0)
	for _, a := range all.Active {
		if a.Stream == stream {
			from = a.Number
		}
	}
	var with int64
	switch {
	case len(args) > 1:
		if with, err = configNumber(args[1]); err != nil {
			return err
		}
	case file == "":
		return usagef("say which version of %s: weir config diff %s NUMBER", stream, stream)
	}
	if file != "" && len(args) > 1 {
		from = with
	}
	old, err := text(from)
	if err != nil {
		return err
	}
	var now, name string
	if file != "" {
		var raw []byte
		raw, err = os.ReadFile(file)
		now, name = string(raw), file
	} else {
		now, err = text(with)
		name = versionNamed(with)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(c.App.Writer, diff(versionNamed(from), name, old, now))
	return err
}
