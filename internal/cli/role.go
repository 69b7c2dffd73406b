package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"weir/internal/platform/tempdir"

	"github.com/urfave/cli/v2"
)

// role is a part of weir that a cluster runs as separate processes.
type role struct {
	name    string
	streams []string // config files in configs/streams
	does    string
}

// roles lists the parts of the cluster profile. Every stream in configs/streams belongs to exactly one.
func roles() []role {
	return []role{
		{"ingest", []string{"ingest"}, "take events from devices and write them to the log"},
		{"raw", []string{"raw"}, "keep each event in Parquet"},
		{"rollup", []string{"rollup"}, "roll metrics up by minute, hour and day"},
		{"detect", []string{"detect"}, "find anomalies"},
		{"rules", []string{"rules", "rule_results"}, "count events in the windows of rules, and hand their results on"},
		{"dead-letter", []string{"dead_letter"}, "keep what failed, with its reason"},
		{"spillway", []string{"spillway"}, "save the log's end before it is deleted unread"},
		{"notify", []string{"notify", "notify_email", "notify_pagerduty", "notify_slack", "notify_webhook", "watch"},
			"tell people of alerts, and watch weir itself"},
		{"api", []string{"api"}, "answer queries and administration"},
		{"replay", []string{"replay"}, "run replays, rebuilds and redrives"},
		{"maintain", []string{"retention", "reconcile", "erasure", "quality"},
			"delete what is old, erase, prove the counts, and say how good events are"},
	}
}

// mountedHome is where a container mounts files that replace the built-in ones.
const mountedHome = "/etc/weir"

func roleVerb(assets fs.FS, engine Engine) *cli.Command {
	return &cli.Command{
		Name: "role", Usage: "Run a part of weir in a cluster, on the configs built into this binary",
		ArgsUsage: "[ROLE…]",
		Description: `
Without a role it lists them. Values come from the environment, and from env
files. A file below --home (or /etc/weir, where there is such a folder) takes
the place of the binary's own of the same path; a stream of your own,
configs/streams/NAME.yaml there, is a role of its name. Files are read at the
start; a version of a config that is put in force (weir config) is taken up at
once.

  weir role ingest
  weir role -e cluster.env raw rollup detect
  weir role --home ./mine -e cluster.env enrich`[1:],
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: flagEnvFile, Aliases: []string{"e"}, Usage: "set the variables of an env `FILE`"},
			&cli.StringFlag{Name: "home", Usage: "`DIR` with files that replace the binary's own"},
		},
		Action: func(c *cli.Context) error {
			names := arguments(c)
			if len(names) == 0 {
				return listRoles(c.App.Writer)
			}
			return runRoles(c, assets, engine, names)
		},
	}
}

func listRoles(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ROLE\tSTREAMS\tDOES")
	for _, r := range roles() {
		fmt.Fprintf(table, "%s\t%s\t%s\n", r.name, strings.Join(r.streams, ", "), r.does)
	}
	return table.Flush()
}

// runRoles writes the configs to a temporary folder, so that the image's disk need not be writable, and runs the
// streams. It returns when they have drained.
func runRoles(c *cli.Context, assets fs.FS, engine Engine, names []string) (err error) {
	mounted, err := mountedAt(c.String("home"))
	if err != nil {
		return err
	}
	home, remove, err := tempdir.Make("role")
	if err != nil {
		return fmt.Errorf("laying the configs out: %w", err)
	}
	defer remove()
	sources := []fs.FS{assets}
	if mounted != "" {
		sources = append(sources, os.DirFS(mounted))
	}
	for _, source := range sources {
		if err := copyTree(source, home); err != nil {
			return fmt.Errorf("laying the configs out: %w", err)
		}
	}
	streams, err := streamsOf(names, home)
	if err != nil {
		return err
	}
	places, err := placesFile(home)
	if err != nil {
		return err
	}
	// -w: watch for versions of configs, which are applied by changing files.
	args := []string{"weir", "streams", "-w", "-o", filepath.Join(home, "configs", "service.yaml")}
	for _, file := range append(c.StringSlice(flagEnvFile), places) { // the last one wins
		args = append(args, "-e", file)
	}
	flush, err := quietStart()
	if err != nil {
		return err
	}
	defer flush()
	ctx := context.WithValue(c.Context, roleKey{}, strings.Join(names, " "))
	code, err := engine(ctx, append(args, streams...))
	if err == nil && code != 0 {
		err = cli.Exit("", code)
	}
	return err
}

// mountedAt returns the folder whose files replace the built-in ones, or "".
func mountedAt(named string) (string, error) {
	dir := named
	if dir == "" {
		dir = mountedHome
	}
	if isDir(filepath.Join(dir, "configs")) || isDir(filepath.Join(dir, "bloblang")) {
		return dir, nil
	}
	if named != "" {
		return "", usagef("%s has neither configs nor bloblang: 'weir configs %s' lays them out there", named, named)
	}
	return "", nil
}

// copyTree copies what weir reads of a home: configs, schemas and mappings.
func copyTree(from fs.FS, to string) error {
	for _, root := range []string{"configs", "schemas", "bloblang"} {
		err := fs.WalkDir(from, root, func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) && path == root {
				return fs.SkipDir
			}
			if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
				return hidden(entry, path == root, err)
			}
			raw, err := fs.ReadFile(from, path)
			if err != nil {
				return err
			}
			at := filepath.Join(to, filepath.FromSlash(path))
			if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
				return err
			}
			return os.WriteFile(at, raw, 0o600)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// hidden skips folders whose names begin with a dot: a mounted config map keeps earlier versions in such folders.
func hidden(entry fs.DirEntry, root bool, err error) error {
	if err == nil && !root && entry.IsDir() && strings.HasPrefix(entry.Name(), ".") {
		return fs.SkipDir
	}
	return err
}

// streamsOf returns the config files of roles, or of single streams.
func streamsOf(names []string, home string) (files []string, err error) {
	for _, name := range names {
		streams := []string{name}
		if i := slices.IndexFunc(roles(), func(r role) bool { return r.name == name }); i >= 0 {
			streams = roles()[i].streams
		}
		for _, stream := range streams {
			file := filepath.Join(home, "configs", "streams", stream+".yaml")
			if _, err := os.Stat(file); err != nil || stream != filepath.Base(stream) {
				return nil, usagef("there is no role %q, and no stream of that name: 'weir role' lists the roles", name)
			}
			if slices.Contains(files, file) {
				return nil, usagef("role %s runs what is named already: name each once", name)
			}
			files = append(files, file)
		}
	}
	return files, nil
}

// placesFile writes an env file with the locations of this run's files. It overrides the environment and profiles,
// which may name those of a checkout.
func placesFile(home string) (path string, err error) {
	path = filepath.Join(home, "places.env")
	text := "WEIR_BLOBLANG=" + filepath.Join(home, "bloblang") + "\n" +
		"WEIR_ANOMALY_RULES=" + filepath.Join(home, "configs", "anomaly.yaml") + "\n" +
		"WEIR_RULES=" + filepath.Join(home, "configs", "rules.yaml") + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("laying the configs out: %w", err)
	}
	return path, nil
}

// configsVerb is `weir configs`: it writes the built-in files to a folder.
func configsVerb(assets fs.FS) *cli.Command {
	return &cli.Command{
		Name: "configs", Usage: "Write the configs, schemas and mappings built into this binary to a folder",
		ArgsUsage: "DIR",
		Description: `
A file that was changed there is kept, and the newer version laid beside it as
NAME.new. The folder is one for 'weir up --home' and 'weir role --home'.

  weir configs ./mine`[1:],
		Action: func(c *cli.Context) error {
			dir := arguments(c)[0]
			if err := ours(dir); err != nil {
				return err
			}
			notes, err := layOut(assets, dir)
			if err != nil {
				return fmt.Errorf("laying configs out in %s: %w", dir, err)
			}
			for _, note := range notes {
				fmt.Fprintln(c.App.ErrWriter, note)
			}
			fmt.Fprintf(c.App.Writer, "The configs of this weir are in %s.\n", dir)
			return nil
		},
	}
}

// ours rejects a folder with files that weir has not written, because layOut would rename them.
func ours(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return usageError{fmt.Errorf("looking at %s: %w", dir, err)}
	}
	if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == manifestFile }) {
		return usagef("%s has files that are not weir's: name a new folder", dir)
	}
	return nil
}
