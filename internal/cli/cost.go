package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"weir/internal/platform/prom"
	"weir/plugins/operate/cost"
)

// The price lists in the binary.
const (
	pricesFile = "configs/prices/aws-us-east-1.yaml"
	hostedFile = "configs/prices/hosted.yaml"
)

// costCommand is `weir cost`: the monthly cost of a load.
func costCommand(assets fs.FS) *cli.Command {
	d := cost.Baseline()
	return &cli.Command{
		Name:  "cost",
		Usage: "Say what a load costs a month, by component, and what would save most",
		Description: `
It reckons with the load that the flags state, or, with --live or --metrics, with
what a running weir has counted since it started. Prices are of the list built
into this binary, or of --prices; what has no price is said, and is no 0. How it
reckons: docs/cost.md. It exits 1 where a month costs more than --budget.

  weir cost
  weir cost --devices 2000 --interval 1m --metrics-per-event 12 --compare
  weir cost --live --json`[1:],
		Flags: []cli.Flag{
			dataFlag(),
			&cli.BoolFlag{Name: "live", Usage: "measure the weir that runs on the data directory"},
			&cli.StringSliceFlag{Name: "metrics",
				Usage: "measure the process whose operations address is `URL`; once for each process"},
			&cli.Float64Flag{Name: "devices", Value: d.Devices, Usage: "`N` devices"},
			&cli.DurationFlag{Name: "interval", Value: d.Interval, Usage: "a device sends an event each `TIME`"},
			&cli.Float64Flag{Name: "hours-per-day", Value: d.Hours, Usage: "devices send `N` hours a day"},
			&cli.Float64Flag{Name: "peak", Usage: "`N` events a second at the peak; 0: three times the mean"},
			&cli.Float64Flag{Name: "event-bytes", Value: d.EventBytes,
				Usage: "an event is `N` bytes of JSON; as its metrics make it when only these are given"},
			&cli.Float64Flag{Name: "metrics-per-event", Value: d.Metrics, Usage: "an event has `N` metrics"},
			&cli.Float64Flag{Name: "metric-name-bytes", Value: d.NameBytes, Usage: "a metric's name has `N` bytes"},
			&cli.Float64Flag{Name: "dead-letters", Value: d.DeadShare, Usage: "a `SHARE` of events, 0 to 1, is dead-lettered"},
			&cli.DurationFlag{Name: "keep-log", Value: d.KeepLog, Usage: "the log is kept for this `TIME`"},
			&cli.DurationFlag{Name: "keep-raw", Value: d.KeepRaw, Usage: "raw events are kept for this `TIME`"},
			&cli.DurationFlag{Name: "keep-dead-letters", Value: d.KeepDead, Usage: "dead letters are kept for this `TIME`"},
			&cli.DurationFlag{Name: "keep-rollups", Value: d.KeepRollups, Usage: "rollups are kept for this `TIME`"},
			&cli.DurationFlag{Name: "hot-minutes", Value: d.HotMinutes,
				Usage: "minutes older than this `TIME` are in Parquet; 0: all are in SQL"},
			&cli.DurationFlag{Name: "raw-period", Value: d.RawPeriod, Usage: "a raw store writes an object each `TIME`"},
			&cli.DurationFlag{Name: "after",
				Usage: "a month's cost this `TIME` after the first event; 0: when all is as old as it gets"},
			&cli.Float64Flag{Name: "groups", Value: d.Groups, Usage: "`N` consumer groups read the whole log"},
			&cli.BoolFlag{Name: "rack-aware", Usage: "they read from a replica in their own zone"},
			&cli.BoolFlag{Name: "compressed", Value: d.Compressed,
				Usage: "the log is compressed by zstd, as configs/cluster.env has it; not with --standalone"},
			&cli.Float64Flag{Name: "gates", Value: d.Gates, Usage: "`N` processes take events"},
			&cli.DurationFlag{Name: "linger", Value: d.Linger, Usage: "a record waits this `TIME` for others of its partition"},
			&cli.Float64Flag{Name: "replicas", Value: d.Replicas, Usage: "the log has `N` replicas"},
			&cli.Float64Flag{Name: "standbys", Value: d.Standbys, Usage: "PostgreSQL has `N` standbys"},
			&cli.BoolFlag{Name: "standalone", Usage: "one machine: weir up, with SQLite, and no servers beside it"},
			&cli.StringFlag{Name: "prices", Usage: "a price list, `FILE`, instead of the one built in"},
			&cli.BoolFlag{Name: "compare", Usage: "say what hosted services ask for the same load"},
			&cli.StringFlag{Name: "hosted", Usage: "their prices, `FILE`, instead of those built in"},
			&cli.Float64Flag{Name: "budget", Usage: "exit 1 where a month costs more than `USD`"},
			&cli.BoolFlag{Name: "json", Usage: "print all of it as JSON"},
		},
		Action: func(c *cli.Context) error { return reckon(c, assets) },
	}
}

// costReport is the output of the command.
type costReport struct {
	cost.Estimate
	Prices   cost.Prices  `json:"prices"`
	Levers   []cost.Lever `json:"levers"`
	Hosted   []cost.Bill  `json:"hosted,omitempty"`
	Warnings []string     `json:"warnings"`
}

func reckon(c *cli.Context, assets fs.FS) error {
	if c.IsSet("hosted") && !c.Bool("compare") {
		return usagef("--hosted goes with --compare")
	}
	load := statedLoad(c)
	if err := load.Check(); err != nil {
		return usagef("reading the load: %w", err)
	}
	prices, err := readPrices(c.String("prices"), pricesFile, assets, cost.ParsePrices)
	if err != nil {
		return err
	}
	units := cost.Model(load)
	if c.Bool("live") || c.IsSet("metrics") {
		if load, units, err = measured(c, load); err != nil {
			return fmt.Errorf("measuring a weir: %w", err)
		}
	}
	now := time.Now()
	r := costReport{Estimate: cost.Of(load, units, prices), Prices: prices, Warnings: []string{}}
	r.Levers = cost.Levers(r.Estimate, prices)
	r.warn("prices", prices.Old(now))
	if c.Bool("compare") {
		hosted, err := readPrices(c.String("hosted"), hostedFile, assets, cost.ParseHosted)
		if err != nil {
			return err
		}
		r.Hosted = hosted.Bills(load)
		r.warn("prices of hosted services", hosted.Old(now))
	}
	if err := r.print(c); err != nil {
		return err
	}
	budget := c.Float64("budget")
	switch {
	case !c.IsSet("budget"):
	case r.Total == nil:
		return usagef("--budget: %s has no price of anything", prices.Name)
	case *r.Total > budget:
		return findingError{fmt.Errorf("a month costs $%.0f, more than the budget of $%.0f", *r.Total, budget)}
	}
	return nil
}

func (r *costReport) warn(what string, old []string) {
	if len(old) > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s older than 180 days: %s", what, strings.Join(old, "; ")))
	}
}

func statedLoad(c *cli.Context) cost.Load {
	l := cost.Load{
		Devices: c.Float64("devices"), Interval: c.Duration("interval"), Hours: c.Float64("hours-per-day"),
		Peak: c.Float64("peak"), EventBytes: c.Float64("event-bytes"), Metrics: c.Float64("metrics-per-event"),
		NameBytes: c.Float64("metric-name-bytes"), DeadShare: c.Float64("dead-letters"), KeepLog: c.Duration("keep-log"),
		KeepRaw: c.Duration("keep-raw"), KeepDead: c.Duration("keep-dead-letters"), KeepRollups: c.Duration("keep-rollups"),
		HotMinutes: c.Duration("hot-minutes"), RawPeriod: c.Duration("raw-period"), After: c.Duration("after"),
		Groups: c.Float64("groups"), RackAware: c.Bool("rack-aware"), Compressed: c.Bool("compressed"),
		Gates: c.Float64("gates"), Linger: c.Duration("linger"),
		Replicas: c.Float64("replicas"), Standbys: c.Float64("standbys"), SQLite: c.Bool("standalone"),
	}
	if l.SQLite && !c.IsSet("compressed") {
		l.Compressed = false
	}
	if !c.IsSet("event-bytes") && (c.IsSet("metrics-per-event") || c.IsSet("metric-name-bytes")) {
		l.EventBytes = l.Sent()
	}
	return l
}

// readPrices reads a named price list or a built-in one. An invalid list is a usage error: no cost is computed from
// part of a list.
func readPrices[T any](named, own string, assets fs.FS, parse func([]byte) (T, error)) (prices T, err error) {
	var raw []byte
	at := named
	if named == "" {
		at = own
		raw, err = fs.ReadFile(assets, own)
	} else if raw, err = os.ReadFile(named); errors.Is(err, fs.ErrNotExist) {
		return prices, usagef("reading %s: there is no such file", named)
	}
	if err != nil {
		return prices, err
	}
	if prices, err = parse(raw); err != nil {
		return prices, usagef("%s: %w", at, err)
	}
	return prices, nil
}

// measured computes the load from the metrics of running processes.
func measured(c *cli.Context, load cost.Load) (cost.Load, cost.Units, error) {
	urls := c.StringSlice("metrics")
	if c.Bool("live") {
		dir, err := weirDir(c)
		if err != nil {
			return load, cost.Units{}, err
		}
		at, runs, err := dir.running()
		if err != nil {
			return load, cost.Units{}, err
		}
		if !runs {
			return load, cost.Units{}, usagef("no weir runs on %s: start it with 'weir up --data %s', or name one with "+
				"--metrics", dir, c.String(flagData))
		}
		urls = append(urls, at.Ops)
	}
	var counted cost.Counters
	for _, url := range urls {
		s, err := scrapeOps(c.Context, url)
		if err != nil {
			return load, cost.Units{}, fmt.Errorf("asking %s: %w", url, err)
		}
		counted.Add(s)
	}
	if counted.Accepted == 0 {
		return load, cost.Units{}, errors.New(
			"no event was taken in since the start: send some, or state a load without --live")
	}
	devices := 0.0
	if c.IsSet("devices") {
		devices = load.Devices
	}
	load, units := counted.Measured(load, devices, time.Now())
	return load, units, nil
}

func scrapeOps(ctx context.Context, url string) (prom.Scrape, error) {
	if !strings.Contains(url, "://") {
		url = "http://" + reachable(url)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return prom.Get(ctx, http.DefaultClient, strings.TrimSuffix(url, "/")+"/metrics", cost.Wanted)
}
