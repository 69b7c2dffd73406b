package cli

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/urfave/cli/v2"

	"weir/internal/platform/broker"
	"weir/internal/platform/kafka"
	"weir/internal/platform/sqldb"
	"weir/plugins/operate/reconcile"
	"weir/plugins/store/lake"
)

// reconcileCommand is `weir reconcile`: the proof that nothing was lost.
func reconcileCommand() *cli.Command {
	return &cli.Command{
		Name:  "reconcile",
		Usage: "Prove that every accepted event is stored, a duplicate, dead-lettered, erased or in flight",
		Description: `
It reads the log's offsets and the stores themselves, names every offset that
nothing explains, and exits 1 when there is one. It may
run beside a running weir, and on the data directory of a stopped one.

  weir reconcile --data ./data
  weir reconcile --brokers kafka:9092 --raw s3://weir-raw --dead-letter s3://weir-dead-letter --json`[1:],
		Flags: append([]cli.Flag{
			dataFlag(),
			&cli.StringFlag{Name: "control", EnvVars: []string{"WEIR_CONTROL_URL"},
				Usage: "`URL` of the control store, with --brokers: also account for events in rules"},
			&cli.TimestampFlag{Name: "from", Layout: time.RFC3339,
				Usage: "only records that the log took at or after this `TIME`"},
			&cli.TimestampFlag{Name: "to", Layout: time.RFC3339, Usage: "only records that the log took before this `TIME`"},
			&cli.DurationFlag{Name: "wait", Value: time.Minute, Usage: "wait this long for what is in flight"},
			logFlag(), usersFlag(),
			&cli.BoolFlag{Name: "deep", Usage: "read the coordinates of every stored row, and believe nothing else"},
			&cli.IntFlag{Name: "sample", Value: 20,
				Usage: "compute `N` results of rules, chosen at random, again from the raw store"},
			&cli.Uint64Flag{Name: "seed", Usage: "choose the same results as with `N` before; else others each time"},
			&cli.DurationFlag{Name: "rules-delay", EnvVars: []string{"WEIR_RULES_DELAY"}, Value: 5 * time.Second,
				Usage: "the delay of the rules stream, by which an event is known to have been late"},
			&cli.StringFlag{Name: "upcast", Usage: "the `FILE` of the mapping by which the rules stream sees events; else " +
				"bloblang/upcast.blobl of the weir's home"},
			&cli.BoolFlag{Name: "json", Usage: "print the report as JSON"},
		}, append(eventFlags(), securedFlags()...)...),
		Action: func(c *cli.Context) error {
			report, err := runReconcile(c)
			if err != nil {
				return fmt.Errorf("reconciling: %w", err)
			}
			if c.Bool("json") {
				err = printJSON(c.App.Writer, report)
			} else {
				err = report.WriteTable(c.App.Writer)
			}
			switch {
			case err != nil:
				return fmt.Errorf("writing the report: %w", err)
			case report.Loss():
				return cli.Exit("", exitFinding)
			}
			return nil
		},
	}
}

// formerly returns a hidden command under a former name, which prints the present one.
func formerly(name string, cmd *cli.Command) *cli.Command {
	now, action := cmd.Name, cmd.Action
	cmd.Name, cmd.Hidden = name, true
	cmd.Action = func(c *cli.Context) error {
		_, _ = fmt.Fprintf(c.App.ErrWriter, "weir %s is called weir %s now\n", name, now) // a hint
		return action(c)
	}
	return cmd
}

// reconcilePlace is the log and stores of a reconciliation.
type reconcilePlace struct {
	log             kafka.Cluster
	control         string // "": results of rules are not checked
	raw, deadLetter string
	home            string // folder of mappings of a data directory; "": unknown
	idle            bool   // no weir runs, so waiting is pointless
	leave           func()
}

func runReconcile(c *cli.Context) (*reconcile.Report, error) {
	log, err := logOf(c)
	if err != nil {
		return nil, err
	}
	place, err := findLogAndStores(c)
	defer place.leave()
	if err != nil {
		return nil, err
	}
	conf := reconcile.Config{Log: place.log, Deep: c.Bool("deep"), Events: log.Name, Topics: log.Topics,
		RawGroup: log.GroupRaw(), DeadLetterTopic: log.DeadLetters, DeadLetterGroup: log.GroupDeadLetter}
	for url, to := range map[string]**lake.Store{place.raw: &conf.Raw, place.deadLetter: &conf.DeadLetter} {
		store, err := lake.OpenReading(c.Context, url)
		if err != nil {
			return nil, err
		}
		defer func() { _ = store.Close() }() // it was only read
		*to = store
	}
	if place.control != "" {
		db, err := sqldb.OpenReading(c.Context, place.control)
		if err != nil {
			return nil, err
		}
		defer func() { _ = db.Close() }() // it was only read
		conf.Control = db
	}
	if conf.Sampling, err = samplingOf(c, place.home); err != nil {
		return nil, err
	}
	reconciler, err := reconcile.New(conf)
	if err != nil {
		return nil, err
	}
	defer reconciler.Close()
	opt := reconcile.Options{Wait: c.Duration("wait")}
	if t := c.Timestamp("from"); t != nil {
		opt.From = *t
	}
	if t := c.Timestamp("to"); t != nil {
		opt.To = *t
	}
	if place.idle {
		opt.Wait = 0
	}
	said := time.Now()
	opt.Waiting = func(r *reconcile.Report) {
		if time.Since(said) >= 5*time.Second {
			said = time.Now()
			_, _ = fmt.Fprintf(c.App.ErrWriter, "waiting for %d records in flight, %d unexplained so far\n", r.Total.InFlight,
				r.Total.Unexplained)
		}
	}
	return reconciler.Run(c.Context, opt)
}

// samplingOf says which rule results are computed again, and with which mapping: the named file, else upcast.blobl of
// the home or of WEIR_BLOBLANG.
func samplingOf(c *cli.Context, home string) (s reconcile.Sampling, err error) {
	s.Delay = c.Duration("rules-delay")
	if s.Most, s.Seed = c.Int("sample"), c.Uint64("seed"); s.Most < 0 {
		return s, usagef("--sample: expected zero or more")
	}
	file := c.String("upcast")
	if file == "" {
		for _, folder := range []string{home, os.Getenv(variableMappings)} {
			if found := filepath.Join(folder, "upcast.blobl"); folder != "" && isFile(found) {
				file = found
			}
		}
	}
	if file == "" {
		return s, nil
	}
	if file, err = filepath.Abs(file); err == nil {
		s.Upcast, err = bloblang.Parse("from " + strconv.Quote(file))
	}
	if err != nil {
		return s, usagef("reading the mapping %s: %w", file, err)
	}
	s.Mapped = true
	return s, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// findLogAndStores finds the log and stores: by URL, or those of a data directory, whose log it opens itself when no
// weir runs there. The caller must call leave, even after an error.
func findLogAndStores(c *cli.Context) (p reconcilePlace, err error) {
	p.leave = func() {}
	if brokers := c.String("brokers"); brokers != "" && !c.IsSet(flagData) {
		p.raw, p.deadLetter, p.control = c.String("raw"), c.String("dead-letter"), c.String("control")
		if p.raw == "" || p.deadLetter == "" {
			return p, usagef("with --brokers, name the stores too: --raw URL and --dead-letter URL")
		}
		p.log, err = clusterAt(c, brokers)
		return p, err
	}
	dir, err := weirDir(c)
	if err != nil {
		return p, err
	}
	if p.raw, p.deadLetter, err = keptOf(c, dir); err != nil {
		return p, err
	}
	if p.home = filepath.Join(dir.path("home"), "bloblang"); isFile(filepath.Join("configs", "streams", "ingest.yaml")) {
		p.home = "bloblang"
	}
	if _, err := os.Stat(dir.path("control.db")); err == nil {
		p.control = dir.controlURL()
	}
	if has, err := broker.HasLog(dir.brokerDir()); err != nil {
		return p, err
	} else if !has {
		return p, usagef("data directory %s has no log: name another with --data, or servers with --brokers, --raw and "+
			"--dead-letter", dir)
	}
	running, runs, err := dir.running()
	if err != nil {
		return p, err
	}
	if runs {
		login, err := dir.BrokerLogin()
		if err != nil {
			return p, err
		}
		p.log, err = kafka.New([]string{running.Broker}, nil, login)
		return p, err
	}
	unlock, err := dir.lock()
	if err != nil {
		return p, err
	}
	b, err := openLog(dir)
	if err != nil {
		unlock()
		return p, err
	}
	p.idle = true
	p.leave = func() {
		b.Close()
		unlock()
	}
	p.log, err = b.Log()
	return p, err
}

// openLog serves the log of a stopped weir on a free port. Only this process knows its password.
func openLog(dir DataDir) (*broker.Broker, error) {
	return broker.Start(broker.Config{
		Dir: dir.brokerDir(), Address: "127.0.0.1:0", Password: broker.NewPassword(), Topics: broker.Topics(),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
}
