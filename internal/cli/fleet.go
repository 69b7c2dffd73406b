package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"weir/internal/simulate"

	"github.com/urfave/cli/v2"
)

// fleet is `weir fleet`: it runs the device simulator, and fails when the gate broke its contract.
func fleet() *cli.Command {
	return &cli.Command{
		Name:  "fleet",
		Usage: "Simulate a fleet of devices, and measure how its events are taken in",
		Description: `
Latency counts from when an event was due (open loop), so a slow gate cannot
hide by slowing the simulator. --journal records each event and its verdict,
for an independent check of what is stored.

  weir fleet --key KEY
  weir fleet --devices 5000 --rate 5000 --duration 1m --retry
  weir fleet --devices 0 --csv machine_temperature.csv --csv-speed 300`[1:],
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "url", Value: "http://127.0.0.1:8080", EnvVars: []string{"WEIR_URL"},
				Usage: "`URL` of the gate"},
			&cli.StringFlag{Name: "key", EnvVars: []string{"WEIR_KEY"},
				Usage: "API `KEY`; better passed in WEIR_KEY, which no process list shows"},
			&cli.IntFlag{Name: "devices", Value: 100, Usage: "`N` simulated devices; 0 with --csv replays the files alone"},
			&cli.StringFlag{Name: "prefix", Value: "sim", Usage: "`PREFIX` of the simulated device ids"},
			&cli.Float64Flag{Name: "rate", Value: 1000, Usage: "`N` events a second; 0 is as fast as answers come"},
			&cli.DurationFlag{Name: "duration", Usage: "`TIME` to send for; 30s when --events is not given either"},
			&cli.DurationFlag{Name: "warmup", Usage: "`TIME` at the beginning that the latencies leave out"},
			&cli.Int64Flag{Name: "events", Usage: "`N` events to send"},
			&cli.IntFlag{Name: "batch", Value: 10, Usage: "`N` events a request, at most 100"},
			&cli.IntFlag{Name: "connections", Value: 16, Usage: "`N` connections, each with devices of its own"},
			choice("format", "`FORMAT` of a request", string(simulate.JSON), string(simulate.NDJSON)),
			&cli.StringFlag{Name: "firmware", Value: "1.4.0=25,2.1.0=50,3.0.2=25", Usage: "`MIX` of versions and their weights"},
			&cli.Float64Flag{Name: "duplicates", Usage: "`PERCENT` of events that were sent before"},
			&cli.Float64Flag{Name: "malformed", Usage: "`PERCENT` of events that no schema takes"},
			&cli.Float64Flag{Name: "late", Usage: "`PERCENT` of events stamped 15 minutes to 26 hours ago"},
			&cli.Float64Flag{Name: "clock-ahead", Usage: "`PERCENT` of events stamped 6 minutes to 400 days ahead"},
			&cli.StringSliceFlag{Name: "csv", Usage: "`FILE` of timestamp,value: real readings, replayed as the cpu_temp of " +
				"a device of that name; may be repeated"},
			&cli.BoolFlag{Name: "csv-shift", Value: true, Usage: "move each file in time so that it ends now"},
			&cli.Float64Flag{Name: "csv-speed", Usage: "`FACTOR` of real time at which files are replayed; 0 spreads them " +
				"over the run"},
			&cli.Uint64Flag{Name: "seed", Usage: "`N` for the same ids and readings again: a second run with it sends " +
				"duplicates"},
			&cli.StringFlag{Name: "journal", Usage: "`FILE` to record each event and its verdict in, as JSON lines"},
			&cli.BoolFlag{Name: "retry", Usage: "send again, with the same ids, what was refused or not answered"},
			&cli.DurationFlag{Name: "retry-for", Value: 2 * time.Minute, Usage: "`TIME` to try one request for"},
			&cli.DurationFlag{Name: "timeout", Value: 30 * time.Second, Usage: "`TIME` to wait for an answer"},
			&cli.BoolFlag{Name: "json", Usage: "print the summary as JSON"},
			&cli.BoolFlag{Name: "quiet", Usage: "show no progress"},
		},
		Action: runFleet,
	}
}

func runFleet(c *cli.Context) (err error) {
	conf, err := fleetConfig(c)
	if err == nil {
		err = conf.Check()
	}
	if err != nil {
		return usageError{err}
	}
	if path := c.String("journal"); path != "" {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return fmt.Errorf("creating the journal: %w", err)
		}
		defer func() {
			if cerr := f.Close(); err == nil && cerr != nil {
				err = fmt.Errorf("closing the journal: %w", cerr)
			}
		}()
		conf.Journal = f
	}
	if !c.Bool("quiet") {
		conf.Progress = showProgress(os.Stderr)
	}
	// The first signal ends the run in order; a second one kills the process.
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() { <-ctx.Done(); stop() }()

	summary, err := simulate.Run(ctx, conf)
	if summary == nil || errors.Is(err, simulate.ErrKey) { // no summary
		return err
	}
	out := bufio.NewWriter(c.App.Writer)
	perr := printSummary(out, summary, c.Bool("json"))
	switch {
	case err != nil:
		return err
	case perr != nil:
		return perr
	}
	if err := summary.Err(); err != nil {
		return cli.Exit(err, exitFinding)
	}
	return nil
}

func printSummary(out *bufio.Writer, s *simulate.Summary, asJSON bool) error {
	if asJSON {
		if err := printJSON(out, s); err != nil {
			return fmt.Errorf("writing the summary: %w", err)
		}
	} else if err := s.Print(out); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing the summary: %w", err)
	}
	return nil
}

func fleetConfig(c *cli.Context) (simulate.Config, error) {
	conf := simulate.Config{
		URL: c.String("url"), Key: c.String("key"), Devices: c.Int("devices"), Prefix: c.String("prefix"),
		Rate: c.Float64("rate"), Duration: c.Duration("duration"), Events: c.Int64("events"), Batch: c.Int("batch"),
		Warmup:      c.Duration("warmup"),
		Connections: c.Int("connections"), SeriesSpeed: c.Float64("csv-speed"), Seed: c.Uint64("seed"),
		Timeout: c.Duration("timeout"), Retry: c.Bool("retry"), RetryFor: c.Duration("retry-for"),
		Shares: simulate.Shares{
			Duplicates: c.Float64("duplicates") / 100, Malformed: c.Float64("malformed") / 100,
			Late: c.Float64("late") / 100, ClockAhead: c.Float64("clock-ahead") / 100,
		},
	}
	if conf.Duration == 0 && conf.Events == 0 && conf.Devices > 0 {
		conf.Duration = 30 * time.Second
	}
	if conf.Devices == 0 && conf.SeriesSpeed > 0 && !c.IsSet("rate") {
		conf.Rate = 0 // the speed determines it
	}
	var err error
	if conf.Format, err = simulate.ParseFormat(c.String("format")); err != nil {
		return conf, err
	}
	if conf.Firmware, err = simulate.ParseFirmware(c.String("firmware")); err != nil {
		return conf, err
	}
	now := time.Now()
	for _, path := range c.StringSlice("csv") {
		s, err := readSeries(path)
		if err != nil {
			return conf, err
		}
		if c.Bool("csv-shift") {
			s.EndAt(now)
		}
		conf.Series = append(conf.Series, s)
	}
	return conf, nil
}

func readSeries(path string) (simulate.Series, error) {
	f, err := os.Open(path)
	if err != nil {
		return simulate.Series{}, fmt.Errorf("reading a series: %w", err)
	}
	defer f.Close()
	name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	return simulate.ReadSeries(name, bufio.NewReader(f))
}
