package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"weir/internal/platform/text"
	"weir/plugins/ingest/registry"
	"weir/plugins/ingest/registry/compat"
	"weir/plugins/ingest/validate"
	"weir/plugins/store/raw"
)

// schemaCommand is `weir schema`: it checks and registers versions of event schemas.
func schemaCommand() *cli.Command {
	place := []cli.Flag{
		dataFlag(),
		&cli.StringFlag{Name: "registry", EnvVars: []string{"WEIR_REGISTRY_URL"},
			Usage: "`URL` of the registry (file://, sqlite://, postgres://, http://), instead of a data directory"},
		&cli.StringFlag{Name: "api-key", EnvVars: []string{"WEIR_API_KEY"}, Usage: "`KEY` for a registry over HTTP"},
		&cli.StringFlag{Name: "subject", Value: "telemetry", Usage: "the `SUBJECT` of the schema"},
		&cli.StringSliceFlag{Name: "reference", Usage: "`NAME=SUBJECT/VERSION` that a $ref of the schema means; may be " +
			"repeated"},
	}
	return &cli.Command{
		Name:  "schema",
		Usage: "Check and register versions of event schemas",
		Subcommands: []*cli.Command{
			{
				Name:      "check",
				Usage:     "Report what a new version would break, before it is registered",
				ArgsUsage: "FILE",
				Description: `
It compares FILE with registered versions, and exits 1 when a reader would
break. With --replay it also judges recent events from the raw store by FILE:
how many would be rejected, by which rule, with examples.

  weir schema check new.json --against latest
  weir schema check new.json --against all --replay 1h`[1:],
				Flags: append([]cli.Flag{
					&cli.StringFlag{Name: "against", Value: "latest", Usage: "a `VERSION`, latest, or all"},
					&cli.StringFlag{Name: "compatibility", Usage: "`LEVEL` instead of the subject's: BACKWARD, FORWARD, FULL, " +
						"…_TRANSITIVE"},
					&cli.StringFlag{Name: "policy", Usage: "`POLICY` instead of the subject's: strict or additive"},
					&cli.DurationFlag{Name: "replay", Usage: "also judge the events of the last `DURATION`"},
					&cli.StringFlag{Name: "raw", EnvVars: []string{"WEIR_RAW_URL"},
						Usage: "`URL` of the raw store to replay from, instead of the data directory's"},
					&cli.BoolFlag{Name: "json", Usage: "print the report as JSON"},
				}, place...),
				Action: checkSchema,
			},
			{
				Name:      "register",
				Usage:     "Register FILE as the next version, and print its number",
				ArgsUsage: "FILE",
				Flags:     place,
				Action:    registerSchema,
			},
		},
	}
}

func schemaArgs(c *cli.Context) (place registry.Place, candidate registry.Candidate, err error) {
	candidate.Subject = c.String("subject")
	if candidate.Text, err = os.ReadFile(arguments(c)[0]); err != nil {
		return place, candidate, usagef("reading the schema: %w", err)
	}
	candidate.Text = text.WithoutBOM(candidate.Text)
	for _, text := range c.StringSlice("reference") {
		r, err := registry.ParseReference(text)
		if err != nil {
			return place, candidate, usageError{err}
		}
		candidate.References = append(candidate.References, r)
	}
	place = registry.Place{URL: c.String("registry"), APIKey: c.String("api-key")}
	if place.URL == "" {
		dir, err := weirDir(c)
		if err != nil {
			return place, candidate, err
		}
		place.URL = dir.controlURL()
	}
	return place, candidate, storeIsThere(place.URL)
}

func checkSchema(c *cli.Context) error {
	report, err := runSchemaCheck(c)
	if err != nil {
		return fmt.Errorf("checking the schema: %w", err)
	}
	if c.Bool("json") {
		err = printJSON(c.App.Writer, report)
	} else {
		err = writeReport(c.App.Writer, report)
	}
	switch {
	case err != nil:
		return fmt.Errorf("writing the report: %w", err)
	case !report.Compatible || report.DryRun != nil && report.DryRun.Rejected > 0:
		return cli.Exit("", exitFinding)
	}
	return nil
}

// schemaReport is the result of checking a candidate, with a dry run on recent events.
type schemaReport struct {
	*registry.Report
	DryRun *validate.DryRun `json:"dry_run,omitempty"`
}

func runSchemaCheck(c *cli.Context) (*schemaReport, error) {
	place, candidate, err := schemaArgs(c)
	if err != nil {
		return nil, err
	}
	candidate.Against = c.String("against")
	if level := c.String("compatibility"); level != "" {
		if candidate.Level, err = compat.ParseLevel(level); err != nil {
			return nil, usageError{err}
		}
	}
	if policy := c.String("policy"); policy != "" {
		if candidate.Policy, err = compat.ParsePolicy(policy); err != nil {
			return nil, usageError{err}
		}
	}
	var report schemaReport
	if report.Report, err = registry.Check(c.Context, place, candidate); err != nil || c.Duration("replay") <= 0 {
		return &report, err
	}
	candidate.Text = report.Text
	report.DryRun, err = tryOnRecent(c, candidate)
	return &report, err
}

// tryOnRecent validates recent events of the raw store by the candidate.
func tryOnRecent(c *cli.Context, candidate registry.Candidate) (*validate.DryRun, error) {
	store, err := openToRead(c, "raw", DataDir.rawURL)
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }() // it was only read
	query := raw.Query{From: time.Now().Add(-c.Duration("replay"))}
	return validate.TryOn(c.Context, candidate.Subject, candidate.Text,
		func(ctx context.Context, each func(string, []byte) error) error {
			var buf []byte
			_, err := raw.NewReader(store).Scan(ctx, query, func(row *raw.Row) error {
				var err error
				if buf, err = row.AppendJSON(buf[:0]); err != nil {
					return err
				}
				return each(row.Fleet, buf)
			})
			return err
		})
}

func writeReport(w io.Writer, r *schemaReport) error {
	var text []byte
	add := func(format string, args ...any) { text = fmt.Appendf(text, format+"\n", args...) }
	switch {
	case r.OtherMajor > 0 && len(r.Differences) > 0:
		held := "on purpose, by a new major"
		if r.OtherMajor > r.Major {
			held = "and is not held to it"
		}
		add("breaks with %s %s: it is of major %d, and that of %d (%s, %s policy):", versionNames(r), held, r.Major,
			r.OtherMajor, r.Level, r.Policy)
	case len(r.Differences) > 0:
		add("is not compatible with %s (%s, %s policy):", versionNames(r), r.Level, r.Policy)
	default:
		add("is compatible with %s (%s, %s policy)", versionNames(r), r.Level, r.Policy)
	}
	for _, d := range r.Differences {
		add("  %s", d)
	}
	for _, p := range r.Problems {
		add("it contradicts what every event must be: %s", p)
	}
	for _, name := range r.Unready {
		add("consumer %s has not declared that it reads the next version", name)
	}
	if d := r.DryRun; d != nil {
		add("of %d recent events, %d are of its firmware, and %d of those would be rejected", d.Read, d.Judged, d.Rejected)
		for _, rule := range d.Rules {
			add("  %6d × %s: %s (%s)", rule.Count, rule.Pointer, rule.Message, rule.Code)
			for _, ex := range rule.Examples {
				add("           event %s of device %s in fleet %s, firmware %s", ex.ID, ex.Device, ex.Fleet, ex.Firmware)
			}
		}
	}
	_, err := w.Write(text)
	return err
}

func versionNames(r *schemaReport) string {
	if len(r.Against) == 1 {
		return fmt.Sprintf("%s/%d", r.Subject, r.Against[0])
	}
	return fmt.Sprintf("%s/%d to %d", r.Subject, r.Against[0], r.Against[len(r.Against)-1])
}

func registerSchema(c *cli.Context) error {
	place, candidate, err := schemaArgs(c)
	if err != nil {
		return fmt.Errorf("registering the schema: %w", err)
	}
	version, err := registry.RegisterAt(c.Context, place, candidate)
	detail := map[string]any{"subject": c.String("subject")}
	if err == nil {
		detail["version"] = version
	}
	refused := registry.Refused(err)
	if err := recordedAt(c.Context, place.URL, "schema register", detail, err); err != nil {
		err = fmt.Errorf("registering the schema: %w", err)
		if refused {
			return cli.Exit(err, exitFinding)
		}
		return err
	}
	_, err = fmt.Fprintln(c.App.Writer, version)
	return err
}
