package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"weir/internal/lifecycle"
	"weir/internal/platform/broker"
	"weir/plugins/operate/scan"
)

// privacyCommand is `weir privacy`: it scans stores for personal data, and makes and reverses tokens.
func privacyCommand(stores lifecycle.List) *cli.Command {
	return &cli.Command{
		Name:        "privacy",
		Usage:       "Look for personal data in what is stored, make tokens and turn them back",
		Subcommands: []*cli.Command{privacyScan(stores), privacyReveal(), privacyToken()},
	}
}

func privacyScan(stores lifecycle.List) *cli.Command {
	return &cli.Command{
		Name:  "scan",
		Usage: "Read every store again, and say what personal data is in it, and where",
		Description: `
It reads the log, raw events, dead letters, rollups and every table with rows of
a fleet, and finds what the processor privacy finds: e-mail addresses, phone and
card numbers, IBANs, addresses of networks, and fields with personal names. It
prints types, places and counts, never a value, and changes nothing. It exits 0
when it found nothing, 1 when it did, 3 when it could not read all. It may run
beside a running weir, and on the data directory of a stopped one.

  weir privacy scan --data ./data
  weir privacy scan --fleet plant-1 --stores log,dead_letters --since 2026-11-01T00:00:00Z
  weir privacy scan --brokers kafka:9092 --raw s3://weir-raw --dead-letter s3://weir-dead-letter \
    --rollups postgres://… --control postgres://… --json`[1:],
		Flags: append([]cli.Flag{
			dataFlag(),
			&cli.StringFlag{Name: "fleet", Usage: "only rows of this `FLEET`"},
			&cli.StringFlag{Name: "stores", Usage: "only these `STORES`, of " + strings.Join(scan.Names(stores), ",")},
			&cli.TimestampFlag{Name: "since", Layout: time.RFC3339, Usage: "only what the log took, and objects that were " +
				"written, since this `TIME`; tables are read whole"},
			logFlag(), usersFlag(),
			&cli.StringFlag{Name: "topics", Value: strings.Join(topicNames(), ","), Usage: "the `TOPICS` of the log"},
			&cli.StringFlag{Name: "phone-regions", Value: "US,GB,DE,FR", Usage: "the `REGIONS` whose phone numbers are known " +
				"as they are written at home"},
			&cli.BoolFlag{Name: "patterns-only", Usage: "look at values alone, and not at names of fields"},
			&cli.StringFlag{Name: "rollups", EnvVars: []string{"WEIR_ROLLUP_URL"},
				Usage: "`URL` of the rollup store, with --brokers"},
			&cli.StringFlag{Name: "old-rollups", EnvVars: []string{"WEIR_ROLLUP_OLD_URL"},
				Usage: "`URL` of old minutes, with --brokers"},
			&cli.StringFlag{Name: "control", EnvVars: []string{envControl},
				Usage: "`URL` of the control store, with --brokers"},
			&cli.BoolFlag{Name: flagJSON, Usage: "print the report as JSON"},
			&cli.BoolFlag{Name: "quiet", Usage: "show no progress"},
		}, append(eventFlags(), securedFlags()...)...),
		Action: func(c *cli.Context) error {
			report, err := runScan(c, stores)
			if err != nil {
				return fmt.Errorf("scanning for personal data: %w", err)
			}
			if c.Bool(flagJSON) {
				err = printJSON(c.App.Writer, report)
			} else {
				err = report.WriteTable(c.App.Writer)
			}
			switch {
			case err != nil:
				return fmt.Errorf("writing the report: %w", err)
			case report.Err() != nil:
				return fmt.Errorf("scanning for personal data: %w", report.Err())
			case report.Found > 0:
				return cli.Exit("", exitFinding)
			}
			return nil
		},
	}
}

func topicNames() (names []string) {
	for _, t := range broker.Topics() {
		names = append(names, t.Name)
	}
	return names
}

func runScan(c *cli.Context, stores lifecycle.List) (*scan.Report, error) {
	opt := scan.Options{Fleet: c.String("fleet"), Only: words(c.String("stores"))}
	if t := c.Timestamp("since"); t != nil {
		opt.Since = *t
	}
	for _, name := range opt.Only {
		if known := scan.Names(stores); !slices.Contains(known, name) {
			return nil, usagef("reading --stores: %q is none of %s", name, strings.Join(known, ", "))
		}
	}
	place, err := findLogAndStores(c)
	defer place.leave()
	if err != nil {
		return nil, err
	}
	conf := scan.Config{
		Log: place.log, Topics: words(c.String("topics")), Stores: stores, Names: !c.Bool("patterns-only"),
		Regions: words(c.String("phone-regions")), OldMinutes: c.String("old-rollups"),
		URLs: map[lifecycle.Place]string{lifecycle.Raw: place.raw, lifecycle.DeadLetters: place.deadLetter,
			lifecycle.Rollups: c.String("rollups"), lifecycle.Control: place.control},
	}
	if c.String("brokers") == "" || c.IsSet(flagData) {
		dir, err := weirDir(c)
		if err != nil {
			return nil, err
		}
		conf.URLs[lifecycle.Rollups], conf.OldMinutes = dir.rollupURL(), dir.oldRollupURL()
		if err := storeIsThere(dir.rollupURL()); errors.As(err, new(usageError)) {
			conf.URLs[lifecycle.Rollups] = "" // nothing was aggregated yet
		} else if err != nil {
			return nil, err
		}
	} else if conf.URLs[lifecycle.Rollups] == "" || conf.URLs[lifecycle.Control] == "" {
		return nil, usagef("with --brokers, name all stores: --rollups URL and --control URL, too")
	}
	if !c.Bool("quiet") {
		opt.Progress = func(p scan.Part) { _, _ = fmt.Fprintln(c.App.ErrWriter, p) }
	}
	return scan.Run(c.Context, conf, opt)
}

// words splits a list at commas and blanks.
func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
