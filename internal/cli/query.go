package cli

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"weir/internal/event"
	"weir/plugins/store/raw"
)

// queryCommand is `weir query`: it reads stored events.
func queryCommand() *cli.Command {
	return &cli.Command{
		Name:  "query",
		Usage: "Read stored events: by time, device, fleet and metric",
		Description: `
It reads the raw store itself, beside a running weir or without one, and prints
one event a line, hour by hour, within an hour by device and time. An event can
be read some seconds after it was accepted.

  weir query --data ./data --device sensor-1 --from 2026-11-21T00:00:00Z
  weir query --raw s3://weir-raw?region=eu-central-1 --fleet acme --metric cpu_temp --format csv --fields device_id,timestamp,metrics`[1:],
		Flags: []cli.Flag{
			dataFlag(),
			&cli.StringFlag{Name: "raw", EnvVars: []string{"WEIR_RAW_URL"},
				Usage: "`URL` of the raw store, instead of a data directory"},
			&cli.StringFlag{Name: "fleet", Usage: "only events of this `FLEET`"},
			&cli.StringSliceFlag{Name: "device", Usage: "only events of this `DEVICE`; may be repeated"},
			&cli.StringFlag{Name: "metric", Usage: "only events that have this `METRIC`, and of their metrics only it"},
			&cli.StringFlag{Name: "enrich-failed", Usage: "only events for which this `LOOKUP` of enrich failed"},
			&cli.TimestampFlag{Name: "from", Layout: time.RFC3339,
				Usage: "only events at or after this `TIME`; an hour before --to when not given"},
			&cli.TimestampFlag{Name: "to", Layout: time.RFC3339, Usage: "only events before this `TIME`; now when not given"},
			&cli.StringFlag{Name: "fields", Usage: "`NAME,…` of what to print; event prints it as it was sent"},
			choice("format", "`FORMAT`", "ndjson", "csv"),
			&cli.IntFlag{Name: "limit", Usage: "print `N` events at most; 0 is all"},
			&cli.BoolFlag{Name: "stats", Usage: "say what was read and skipped"},
		},
		Action: func(c *cli.Context) error {
			e, err := exportOf(c)
			if err != nil {
				return err
			}
			store, err := openToRead(c, "raw", DataDir.rawURL)
			if err != nil {
				return err
			}
			defer store.Close()
			stats, err := raw.NewReader(store).Export(c.Context, e, dataWriter(c))
			if err != nil {
				return fmt.Errorf("querying events: %w", err)
			}
			if c.Bool("stats") {
				fmt.Fprintf(c.App.ErrWriter, "%d events: %d objects and %d row groups read; %d days and %d objects skipped by "+
					"name, %d row groups by statistics and bloom filters; %d rows decoded, %d repeats passed over\n",
					stats.Events, stats.Objects, stats.Groups, stats.DaysSkipped, stats.ObjectsSkipped, stats.GroupsSkipped,
					stats.Rows, stats.Repeats)
			}
			return nil
		},
	}
}

func exportOf(c *cli.Context) (raw.Export, error) {
	e := raw.Export{
		Query: raw.Query{Fleet: c.String("fleet"), Devices: c.StringSlice("device"), Metric: c.String("metric"),
			Missed: c.String("enrich-failed"), To: time.Now()},
		Fields: c.String("fields"), Format: c.String("format"), Limit: c.Int("limit"),
	}
	if to := c.Timestamp("to"); to != nil {
		e.To = *to
	}
	e.From = e.To.Add(-time.Hour)
	if from := c.Timestamp("from"); from != nil {
		e.From = *from
	}
	if !e.From.Before(e.To) {
		return e, usagef("--from must be before --to")
	}
	for _, d := range e.Devices {
		if !event.ValidDevice(d) {
			return e, usagef("--device: %q is no device_id", d)
		}
	}
	return e, nil
}
