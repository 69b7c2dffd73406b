package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	"gopkg.in/yaml.v3"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/tempdir"
	"weir/internal/platform/text"
	"weir/plugins/operate/retention"
)

// retentionConfig is the config of the retention stream.
const retentionConfig = "configs/streams/retention.yaml"

// The retention config of the user-events log: in a home where it runs, and in the binary.
const (
	usersRetentionConfig  = "configs/streams/user_retention.yaml"
	usersRetentionShipped = "configs/people/user_retention.yaml"
)

// Retention is `weir retention`: it shows what retention deleted or would delete.
func Retention(assets fs.FS, engine Engine) *cli.Command {
	return &cli.Command{
		Name:  "retention",
		Usage: "Show what retention deleted, or would delete now or at another time",
		Description: `
Without --dry-run it prints the last runs that deleted something or failed, and
the very last. With it, it runs the stream that keeps the stores in order
(configs/streams/retention.yaml of this directory, else the one built into this
binary), with this command's environment, and lets it delete nothing: every
store's share in one answer, and what only a hold keeps. It exits 1 where a
store could not be asked, or a run failed on one.

  weir retention --data ./data
  weir retention --dry-run --at 2027-03-01T00:00:00Z --data ./data
  weir retention --dry-run --log user-events --data ./data
  WEIR_RAW_KEEP=720h weir retention --dry-run --data ./data`[1:],
		Flags: []cli.Flag{
			dataFlag(), logFlag(),
			&cli.StringFlag{Name: "config", Usage: "the stream's `FILE`"},
			&cli.BoolFlag{Name: "dry-run", Usage: "show what a run would delete"},
			&cli.StringFlag{Name: "at", Usage: "the `TIME` of the dry run, RFC 3339; now when not given"},
			&cli.IntFlag{Name: "limit", Value: 10, Usage: "show `N` runs at most"},
			&cli.BoolFlag{Name: "json", Usage: "print reports as JSON"},
		},
		Action: func(c *cli.Context) error {
			if c.String("at") != "" && !c.Bool("dry-run") {
				return usagef("--at goes with --dry-run: only the clock deletes")
			}
			if c.String(flagLog) != "" && !c.Bool("dry-run") {
				return usagef("--log goes with --dry-run: the last runs are of all logs")
			}
			var reports []retention.Run
			var err error
			if c.Bool("dry-run") {
				reports, err = dryRun(c, assets, engine)
			} else {
				reports, err = lastRuns(c)
			}
			if err != nil {
				return fmt.Errorf("looking at retention: %w", err)
			}
			if err := printRuns(c, reports); err != nil {
				return err
			}
			if len(reports) > 0 && reports[0].Failed() > 0 {
				return cli.Exit("", exitFinding)
			}
			return nil
		},
	}
}

func lastRuns(c *cli.Context) ([]retention.Run, error) {
	db, err := openControl(c, sqldb.OpenReading)
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }() // it was only read
	return retention.Runs(c.Context, db, c.Int("limit"))
}

// dryRun runs the stream's own retention processor once, set to delete nothing.
func dryRun(c *cli.Context, assets fs.FS, engine Engine) ([]retention.Run, error) {
	if os.Getenv(envControl) == "" || c.IsSet(flagData) {
		if err := placesOf(c); err != nil {
			return nil, err
		}
	}
	processors, err := retentionProcessors(c, assets)
	if err != nil {
		return nil, err
	}
	dir, remove, err := tempdir.Make("retention")
	if err != nil {
		return nil, err
	}
	defer remove()
	answer, file := filepath.Join(dir, "report.json"), filepath.Join(dir, "retention.yaml")
	raw, err := yaml.Marshal(map[string]any{
		"http": map[string]any{"enabled": false}, "logger": map[string]any{"level": "OFF"},
		"input":    map[string]any{"generate": map[string]any{"count": 1, "mapping": "root = {}"}},
		"pipeline": map[string]any{"threads": 1, "processors": processors},
		"output":   map[string]any{"file": map[string]any{"path": answer, "codec": "all-bytes"}},
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return nil, err
	}
	started := time.Now().UTC()
	code, err := engine(c.Context, []string{"weir", "run", file})
	if err != nil {
		return nil, err
	}
	report, err := os.ReadFile(answer)
	if err != nil {
		return nil, fmt.Errorf("the run ended with code %d and no report", code)
	}
	run := retention.Run{StartedAt: started}
	if err := json.Unmarshal(report, &run.Report); err != nil || len(run.Stores) == 0 {
		return nil, errors.Join(errors.New("the run failed before it looked at any store: check --at and the environment"),
			err)
	}
	return []retention.Run{run}, nil
}

// placesOf sets the variables that name the stores to those of the data directory.
func placesOf(c *cli.Context) error {
	dir, err := weirDir(c)
	if err != nil {
		return err
	}
	if _, _, err := keptOf(c, dir); err != nil {
		return err
	}
	for name, url := range map[string]string{
		"WEIR_RAW_URL": dir.rawURL(), "WEIR_DEAD_LETTER_URL": dir.deadLetterURL(),
		"WEIR_USER_RAW_URL": dir.userRawURL(), "WEIR_USER_DEAD_LETTER_URL": dir.userDeadLetterURL(),
		"WEIR_ROLLUP_URL": dir.rollupURL(), "WEIR_CONTROL_URL": dir.controlURL(),
	} {
		if err := os.Setenv(name, url); err != nil {
			return err
		}
	}
	return nil
}

// retentionProcessors returns the stream's retention processor, set to a dry run.
func retentionProcessors(c *cli.Context, assets fs.FS) ([]any, error) {
	log, err := logOf(c)
	if err != nil {
		return nil, err
	}
	raw, err := readRetentionConfig(c.String("config"), log, assets)
	if err != nil {
		return nil, err
	}
	var stream struct {
		Pipeline struct{ Processors []map[string]any }
	}
	if err := yaml.Unmarshal(raw, &stream); err != nil {
		return nil, fmt.Errorf("reading %s: %w", retentionConfig, err)
	}
	if at := c.String("at"); at != "" {
		if _, ok := text.ParseTime(at); !ok {
			return nil, usagef("reading --at: %q is no RFC 3339 time with a zone", at)
		}
	}
	var found []any
	for _, p := range stream.Pipeline.Processors {
		for _, name := range []string{"retention", "maintain"} { // present and former name
			fields, ok := p[name].(map[string]any)
			if !ok {
				continue // other processors delete nothing
			}
			fields["dry_run"] = true
			if at := c.String("at"); at != "" {
				fields["now"] = at
			}
			found = append(found, map[string]any{name: fields})
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("the stream has %d processors retention in its pipeline, expected one", len(found))
	}
	return found, nil
}

func readRetentionConfig(named string, log event.Log, assets fs.FS) ([]byte, error) {
	if named != "" {
		return os.ReadFile(named)
	}
	file, shipped := retentionConfig, retentionConfig
	if log.Name == event.LogUsers {
		file, shipped = usersRetentionConfig, usersRetentionShipped
	}
	raw, err := os.ReadFile(filepath.FromSlash(file))
	if errors.Is(err, fs.ErrNotExist) {
		return fs.ReadFile(assets, shipped)
	}
	return raw, err
}

func printRuns(c *cli.Context, runs []retention.Run) error {
	if c.Bool("json") {
		if c.Bool("dry-run") {
			return printJSON(c.App.Writer, runs[0].Report)
		}
		if runs == nil {
			runs = []retention.Run{}
		}
		return printJSON(c.App.Writer, map[string]any{"runs": runs})
	}
	for _, r := range runs {
		if err := printRun(c.App.Writer, r); err != nil {
			return err
		}
	}
	if len(runs) == 0 {
		_, _ = fmt.Fprintln(c.App.ErrWriter, "There was no run yet.")
	}
	return nil
}

func printRun(to io.Writer, r retention.Run) error {
	verb := "deleted"
	if r.DryRun {
		verb = "would delete"
	}
	held := "no fleet is held"
	if len(r.Held) > 0 {
		held = "held: " + strings.Join(r.Held, ", ")
	}
	_, _ = fmt.Fprintf(to, "%s, as of %s %s (%s)\n", r.StartedAt.Format(time.RFC3339), r.At.Format(time.RFC3339), verb,
		held)
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "STORE\tOLDER THAN\tROWS\tOBJECTS\tREWRITTEN\tPARTITIONS\tBYTES\tKEPT BY HOLDS\tBUCKET RULES")
	for _, s := range r.Stores {
		older := "(kept for good)"
		if s.OlderThan != nil {
			older = s.OlderThan.Format(time.RFC3339)
		}
		rules := s.Rules
		if rules == "" {
			rules = "-"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", s.Store, older, s.Rows, s.Objects, s.Changed,
			s.Partitions, s.Bytes, s.Kept, rules)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, f := range r.Freed {
		_, _ = fmt.Fprintf(to, "%s: %d bytes given back to the disk\n", f.Store, f.Bytes)
	}
	for _, s := range r.Stores {
		if s.Error != "" {
			_, _ = fmt.Fprintf(to, "%s: FAILED: %s\n", s.Store, s.Error)
		}
	}
	_, err := fmt.Fprintln(to)
	return err
}
