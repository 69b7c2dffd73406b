package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/urfave/cli/v2"
	"gopkg.in/yaml.v3"

	"weir/internal/platform/envyaml"
	"weir/internal/platform/tempdir"
)

func (d *distribution) testVerb() *cli.Command {
	return &cli.Command{
		Name: "test", Usage: "Run the tests of configs",
		Description: `
The stores that configs name by weir's variables are empty ones, in a folder that
goes with the tests, whatever the environment says.

  weir test tests/configs/*.yaml`[1:],
		Flags: append(envFlags(),
			&cli.StringFlag{Name: "log", Usage: "let components log at this `LEVEL`"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "name each test before it runs"},
		),
		Action: d.test,
	}
}

// filesNamed returns the config files among the command's arguments, at least one. doing and example are used in the
// error when there are none.
func filesNamed(c *cli.Context, doing, example string) ([]string, error) {
	args, err := interspersed(c)
	if err != nil {
		return nil, usageError{err}
	}
	files, err := configFiles(args)
	if err == nil && len(files) == 0 {
		err = usagef("%s: there are none at these paths; %s", doing, example)
	}
	return files, err
}

func (d *distribution) test(c *cli.Context) error {
	files, err := filesNamed(c, "running tests", "weir test tests/configs/*.yaml")
	if err != nil {
		return err
	}
	if err := d.prepare(c, append(files, targetsOf(files)...)); err != nil {
		return err
	}
	resources, err := configFiles(sliceFlag(c, flagResources))
	if err != nil {
		return err
	}
	values, remove, err := d.emptyStores(append(files, targetsOf(files)...))
	if err != nil {
		return err
	}
	defer remove()
	copies, err := newCopies(values)
	if err != nil {
		return err
	}
	defer copies.remove()
	flags := []string{"weir", "test"}
	if level := c.String("log"); level != "" {
		flags = append(flags, "--log", level)
	}
	if c.Bool("verbose") {
		flags = append(flags, "--verbose")
	}
	m := &mirror{copies: copies, own: map[string]bool{}}
	for _, path := range resources {
		if err := m.add(path, false); err != nil {
			return err
		}
		flags = append(flags, "-r", path)
	}
	for _, path := range files {
		if err := m.add(path, true); err != nil {
			return err
		}
	}
	back, err := m.enter()
	if err != nil {
		return err
	}
	defer back()
	code, err := d.stock(c.Context, append(flags, files...), service.CLIOptSetEnvVarLookup(copies.lookup))
	if err == nil && code != 0 {
		err = findingError{errors.New("tests of configs failed")}
	}
	return err
}

// emptyStores gives tests their variables: empty stores in a new data directory, then the environment, then the
// standalone profile. It also sets the environment, which mappings read directly. remove deletes the directory.
func (d *distribution) emptyStores(configs []string) (values envyaml.Lookup, remove func(), err error) {
	dir, remove, err := tempdir.Make("test")
	if err != nil {
		return nil, nil, fmt.Errorf("making a data directory for the tests: %w", err)
	}
	stores := DataDir(dir).stores()
	stores["WEIR_CLAIMS_URL"], stores["WEIR_USER_CLAIMS_URL"] = "memory://", "memory://" // which need no log
	for name, value := range stores {
		if err := os.Setenv(name, value); err != nil {
			remove()
			return nil, nil, err
		}
	}
	return os.LookupEnv, remove, d.useProfile(configs)
}

// mirror is a directory tree in which the engine's tests find copies of the configs at their usual paths, and links
// to everything else.
type mirror struct {
	copies  *copies
	sources []string        // absolute paths
	own     map[string]bool // variables that tests set
}

// add copies a config, and with tests the configs that its tests target. The engine's tests read values only from the
// process's environment.
func (m *mirror) add(path string, tests bool) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("finding %s: %w", path, err)
	}
	if slices.Contains(m.sources, abs) {
		return nil
	}
	m.sources = append(m.sources, abs)
	raw, err := os.ReadFile(abs)
	if err != nil {
		return fmt.Errorf("reading the config: %w", err)
	}
	config, err := envyaml.Parse(raw)
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	targets := m.targets(abs, raw)
	if _, err := m.copies.write(abs, config, func(s envyaml.Scalar) bool {
		return s.Under == "tests" || slices.ContainsFunc(s.Variables(), func(v envyaml.Variable) bool {
			return m.own[v.Name]
		})
	}); err != nil {
		return err
	}
	for _, target := range targets {
		if _, err := os.Stat(target); err == nil && tests {
			if err := m.add(target, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// targets returns the files that a config's tests target, and records the variables that the tests set.
func (m *mirror) targets(abs string, raw []byte) (files []string) {
	var definition struct {
		Tests []struct {
			Processors  any               `yaml:"target_processors"`
			Environment map[string]string `yaml:"environment"`
		} `yaml:"tests"`
	}
	_ = yaml.Unmarshal(raw, &definition) // the engine reports errors in it
	for _, test := range definition.Tests {
		for name := range test.Environment {
			m.own[name] = true
		}
		pointer, _ := test.Processors.(string)
		if path, _, found := strings.Cut(pointer, "#"); found && path != "" {
			files = append(files, filepath.Join(filepath.Dir(abs), path))
		}
	}
	if bare, has := strings.CutSuffix(abs, filepath.Ext(abs)); has {
		files = append(files, strings.TrimSuffix(bare, "_benthos_test")+filepath.Ext(abs),
			bare+"_benthos_test"+filepath.Ext(abs))
	}
	return files
}

// targetsOf returns the files that the tests of some configs target.
func targetsOf(files []string) (targets []string) {
	for _, file := range files {
		if raw, err := os.ReadFile(file); err == nil { // reading the tests reports the error
			targets = append(targets, (&mirror{own: map[string]bool{}}).targets(file, raw)...)
		}
	}
	return targets
}

// enter links what has no copy, sets the scalars' values in the environment, and changes to the working directory's
// place in the tree. back undoes the last.
func (m *mirror) enter() (back func(), err error) {
	cwd, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	top := cwd
	for _, source := range m.sources {
		for !strings.HasPrefix(source, strings.TrimSuffix(top, "/")+"/") {
			top = filepath.Dir(top)
		}
	}
	inner, err := m.copies.path(cwd)
	if err == nil {
		err = os.MkdirAll(inner, 0o700)
	}
	if err == nil {
		err = m.link(top)
	}
	for name := range m.copies.scalars {
		if err == nil {
			text, _ := m.copies.lookup(context.Background(), name)
			err = os.Setenv(name, text)
		}
	}
	if err == nil {
		err = os.Chdir(inner)
	}
	if err != nil {
		return nil, fmt.Errorf("preparing the tests: %w", err)
	}
	return func() { _ = os.Chdir(cwd) }, nil
}

// link adds links to everything that the tree's folders lack.
func (m *mirror) link(dir string) error {
	inner, err := m.copies.path(dir)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		source, place := filepath.Join(dir, entry.Name()), filepath.Join(inner, entry.Name())
		info, err := os.Lstat(place)
		switch {
		case err != nil:
			err = os.Symlink(source, place)
		case info.IsDir() && !strings.HasPrefix(m.copies.dir, source):
			err = m.link(source)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
