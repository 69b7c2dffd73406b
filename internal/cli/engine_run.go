package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/urfave/cli/v2"

	"weir/internal/platform/envyaml"
	"weir/internal/platform/flow"
)

// launch describes a run of the engine over config files.
type launch struct {
	verb      string // run, streams or echo
	main      string // shared by all streams; only with streams
	configs   []string
	resources []string
	flags     []string // passed to the engine unchanged
	chilled   bool     // run despite findings of the linter
	unlinted  bool     // ignore findings, since --set may fix them
	watch     bool
	restart   []string // files that take effect at the next start: report when they change
}

// launch checks the configs and runs the engine over copies of them until it ends.
func (d *distribution) launch(c *cli.Context, l launch) error {
	follow, err := d.follow(c.Context, l, c.App.ErrWriter)
	if err != nil {
		return err
	}
	defer follow.close()
	copies, err := newCopies(os.LookupEnv)
	if err != nil {
		return err
	}
	defer copies.remove()
	checker := d.checker(os.LookupEnv)
	watch := newWatch(checker, copies, l, follow)
	placed := placing{launch: l, copies: copies, checker: checker, watch: watch, found: c.App.ErrWriter}
	if err := placed.all(); err != nil {
		return err
	}
	wanted := l.verb != "echo" && wantsOps(placed.shared, os.LookupEnv, l.flags)
	ctx, flags, extra, end := serveOps(endsEarly(c.Context), wanted)
	defer end()
	args := slices.Concat([]string{"weir", l.verb}, l.flags, flags, placed.args)
	if l.chilled {
		args = slices.Insert(args, 2, "--chilled")
	}
	delay, err := shutdownDelay(l)
	if err != nil {
		return err
	}
	args = slices.Insert(args, 2, delay...)
	flush, err := quietStop(l)
	if err != nil {
		return err
	}
	defer flush()
	extra = append(extra, service.CLIOptSetEnvVarLookup(copies.lookup))
	if l.watch {
		args = slices.Insert(args, 2, "--watcher")
		extra = append(extra, service.CLIOptAddTeeLogger(slog.New(watch)))
		looking := flow.Start(watch.run)
		defer func() { _ = looking.End(context.WithoutCancel(c.Context)) }() // run ends when its context does
	}
	defer d.beats(c.Context, l, watch, c.App.ErrWriter)()
	code, err := d.stock(ctx, args, extra...)
	if err == nil && code != 0 {
		err = fmt.Errorf("running %s: the engine ended with code %d", l.verb, code)
	}
	return err
}

// placing writes copies of the configs for the engine.
type placing struct {
	launch
	copies  *copies
	checker *checker
	watch   *watch
	found   io.Writer // where findings are printed that do not prevent the run

	args   []string        // for the engine
	shared *envyaml.Config // the main config
	errs   []error
}

// all places the resources, the main config and the configs.
func (p *placing) all() error {
	for _, path := range p.resources {
		p.add(path, "-r")
	}
	if p.main != "" {
		p.add(p.main, "-o")
	}
	for _, path := range p.configs {
		files, err := configFiles([]string{path})
		if err != nil {
			return err
		}
		if !isDir(path) {
			for _, file := range files {
				p.add(file)
			}
			continue
		}
		for _, file := range files { // the engine names streams by their path in the folder
			_, err := p.place(file)
			p.errs = append(p.errs, err)
		}
		folder, err := p.copies.path(path)
		if err != nil {
			return err
		}
		p.args = append(p.args, literally(folder))
	}
	if err := errors.Join(p.errs...); err != nil {
		return fmt.Errorf("reading the configs: nothing was started\n%w", err)
	}
	return nil
}

// add places a file and appends it to the engine's arguments after flags.
func (p *placing) add(path string, flags ...string) {
	placed, err := p.place(path)
	p.errs = append(p.errs, err)
	if p.verb == "streams" && len(flags) == 0 || slices.Contains(flags, "-r") {
		placed = literally(placed)
	}
	p.args = append(append(p.args, flags...), placed)
}

// place checks a file and returns the path of its copy.
func (p *placing) place(path string) (string, error) {
	if config := p.version(path); config != nil {
		return p.copies.write(path, config, nil)
	}
	config, found := p.checker.file(path)
	if p.unlinted && config != nil {
		found = nil
	}
	if len(found) > 0 && (config == nil || !p.chilled) {
		return "", errors.New(told(found))
	}
	for _, f := range found {
		fmt.Fprintln(p.found, f)
	}
	if p.main == path || p.verb == "run" && slices.Contains(p.configs, path) {
		p.shared = config
	}
	if !slices.Contains(p.watch.restart, path) {
		p.watch.runs(path, config)
	}
	return p.copies.write(path, config, nil)
}

// version returns the config version with which a stream starts, or nil for its file. A version that is invalid here
// is refused in favour of the one before it.
func (p *placing) version(path string) *envyaml.Config {
	if slices.Contains(p.watch.restart, path) {
		return nil
	}
	wanted, is := p.watch.follow.of(p.watch.stream(path))
	if !is {
		return nil
	}
	for _, v := range wanted.Begin {
		config, found := p.checker.text(path, []byte(v.Text))
		if config != nil && len(found) == 0 {
			p.watch.begins(path, config, v)
			return config
		}
		p.watch.refuse(path, v.Number, []byte(v.Text), told(found))
	}
	return nil
}

// literally escapes a path where the engine expects a glob.
func literally(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// told formats findings for an error, with a hint.
func told(found []finding) string {
	var lines []string
	hint := ""
	for _, f := range found {
		lines = append(lines, f.String())
		if strings.Contains(f.text, unset) {
			hint = "\na profile sets variables: -e configs/standalone.env, or configs/cluster.env"
		}
	}
	return strings.Join(lines, "\n") + hint
}

// configFiles returns the files that paths name: it expands globs and walks folders and paths that end in "...". A
// named file must exist.
func configFiles(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		matches := []string{path}
		if _, err := os.Stat(path); err != nil && strings.ContainsAny(path, "*?[") {
			var err error
			if matches, err = filepath.Glob(path); err != nil {
				return nil, usagef("finding files by %s: %w", path, err)
			}
			if len(matches) == 0 {
				return nil, usagef("there is no file like %s: check the path", path)
			}
		}
		for _, match := range matches {
			below, err := configsBelow(match)
			if err != nil {
				return nil, err
			}
			for _, file := range below {
				if !slices.Contains(files, file) {
					files = append(files, file)
				}
			}
		}
	}
	return files, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func configsBelow(path string) (files []string, err error) {
	root := filepath.Clean(strings.TrimSuffix(path, "..."))
	if err := isThere(root); err != nil {
		return nil, err
	}
	if !isDir(root) {
		return []string{path}, nil
	}
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(path)) {
			files = append(files, path)
		}
		return err
	})
	return files, err
}

// profile returns an env profile in the binary.
func (d *distribution) profile(name string) ([]envyaml.Assignment, error) {
	raw, err := fs.ReadFile(d.assets, "configs/"+name+".env")
	if err != nil {
		return nil, fmt.Errorf("reading the profile %s: %w", name, err)
	}
	assignments, err := envyaml.ParseEnv(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the profile %s: %w", name, err)
	}
	return assignments, nil
}

// variableMappings names the folder of mappings that configs import.
const variableMappings = "WEIR_BLOBLANG"

// useProfile applies the standalone profile to unset variables. WEIR_BLOBLANG becomes the folder in the home of the
// first config that has one.
func (d *distribution) useProfile(configs []string) error {
	standalone, err := d.profile("standalone")
	if err != nil {
		return err
	}
	for _, config := range configs {
		if beside := filepath.Join(homeOf(config), "bloblang"); isDir(beside) {
			standalone = append([]envyaml.Assignment{{Name: variableMappings, Value: beside}}, standalone...)
			break
		}
	}
	return setDefaults(standalone)
}

// setDefaults sets those variables that are not set.
func setDefaults(assignments []envyaml.Assignment) error {
	for _, a := range assignments {
		if _, set := os.LookupEnv(a.Name); set {
			continue
		}
		if err := os.Setenv(a.Name, a.Value); err != nil {
			return fmt.Errorf("setting %s: %w", a.Name, err)
		}
	}
	return nil
}
