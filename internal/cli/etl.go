package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"weir/plugins/operate/etl"
)

const (
	flagState = "state"
	flagFresh = "fresh"
	flagJSON  = "json"

	flagAccept   = "accept-columns"
	flagTakeOver = "take-over"
	flagUntilEnd = "until-end"
	flagMetrics  = "metrics"
	flagKeep     = "keep"
	flagSmall    = "small"
	flagLeast    = "least"
	flagGraph    = "graph"
	flagMermaid  = "mermaid"

	etlTries = 4 // attempts in total
	etlPause = 5 * time.Second
)

// etlCommand is `weir etl`: pipelines described by a JSON file.
func etlCommand() *cli.Command {
	state := &cli.StringFlag{Name: flagState, Value: "data/etl", Usage: "the `DIR` of runs: what an interrupted one has " +
		"taken from its source, and the reports"}
	usual := etl.UsualCompaction()
	printed := &cli.BoolFlag{Name: flagJSON, Usage: "print the report as JSON"}
	return &cli.Command{
		Name:  "etl",
		Usage: "Run pipelines that a JSON file describes: between databases, Kafka, Delta Lake, S3, HTTP APIs and files",
		Subcommands: []*cli.Command{
			{
				Name:      "lint",
				Usage:     "Check a pipeline without asking anybody: what is wrong, and where",
				ArgsUsage: "FILE",
				Action:    lintETL,
			},
			{
				Name:      "plan",
				Usage:     "Say what a run would do: ask the source for its columns, and check each step against them",
				ArgsUsage: "FILE",
				Description: `
With --graph it says of each column of the sinks which columns of the sources it comes
from, and through which steps: as text, as JSON, or as a picture in Mermaid's language.

  weir etl plan orders.json --graph
  weir etl plan orders.json --graph --mermaid`[1:],
				Flags: []cli.Flag{&cli.BoolFlag{Name: flagGraph, Usage: "say what each column of the sinks comes from"},
					&cli.BoolFlag{Name: flagJSON, Usage: "with --graph: as JSON"},
					&cli.BoolFlag{Name: flagMermaid, Usage: "with --graph: as a picture in Mermaid's language"}},
				Action: planETL,
			},
			{
				Name:      "run",
				Usage:     "Run a pipeline; one that was interrupted goes on",
				ArgsUsage: "FILE",
				Description: `
Each sink has all rows at the end, or what it had before. What fails in passing is
tried four times, five seconds apart. The report says what became of every row.
A pipeline whose mode is stream goes on until it is stopped, and then where it was.

  weir etl run orders.json
  weir etl audit orders.json`[1:],
				Flags: []cli.Flag{state, printed, &cli.BoolFlag{Name: flagFresh, Usage: "begin anew: forget what an " +
					"interrupted run has"}, &cli.BoolFlag{Name: flagAccept, Usage: "take the columns of the source as they are now, " +
					"other than in the last run"}, &cli.BoolFlag{Name: flagTakeOver, Usage: "write objects that another pipeline, " +
					"or a run elsewhere that is dead, has claimed"}, &cli.BoolFlag{Name: flagUntilEnd,
					Usage: "of a stream: end where the log ends now"}, &cli.StringFlag{Name: flagMetrics,
					Usage: "of a stream: the `ADDR` of /metrics, on loopback"}, &cli.StringFlag{Name: flagStore,
					Usage: "the control store that is told how the run goes, as sqlite://PATH or postgres://…, for the console; " +
						"without it, that of WEIR_CONTROL_URL, if it is given"}},
				Action: runETL,
			},
			{
				Name:      "audit",
				Usage:     "Count a run again, from the source and the sinks themselves",
				ArgsUsage: "FILE [RUN]",
				Flags:     []cli.Flag{state, printed},
				Action:    auditETL,
			},
			{
				Name:      "test",
				Usage:     "Run the tests that stand in pipelines: rows in the place of the source's, and what becomes of them",
				ArgsUsage: "FILE…",
				Description: `
No source is asked, and no sink is written. What is otherwise than expected is shown
line by line: '-' was expected, '+' is there.

  weir etl test recipes/*.json`[1:],
				Action: testETL,
			},
			{
				Name: "compact",
				Usage: "Put small files of the tables of Delta Lake, and of the folders, of a pipeline together, and remove " +
					"old ones",
				ArgsUsage: "FILE",
				Description: `
Rows stay as they are. It goes on beside runs, streams and other writers, and may be
run at any time. A file that is of the table, or the folder, no more stays for --keep, and
what a table's log has of old versions as long as the table says: 30 days, if it says
nothing. What a stream has under "compact" goes for what is not said here.

  weir etl compact orders.json --keep 168h`[1:],
				Flags: []cli.Flag{printed, &cli.DurationFlag{Name: flagKeep, Value: usual.Keep,
					Usage: "how long files stay that are of the table no more"}, &cli.Int64Flag{Name: flagSmall,
					Value: usual.Small >> 20, Usage: "a file of fewer `MiB` is small"}, &cli.IntFlag{Name: flagLeast,
					Value: usual.Least, Usage: "so many small files of one partition, or in a row, are put together, at least"}},
				Action: compactETL,
			},
			{
				Name:  "schema",
				Usage: "Print the JSON Schema of pipelines, for editors",
				Action: func(c *cli.Context) error {
					_, err := c.App.Writer.Write(etl.Schema())
					return err
				},
			},
		},
	}
}

// loadETL reads a pipeline. Errors in it are findings.
func loadETL(c *cli.Context) (*etl.Pipeline, error) { return loadPipeline(arguments(c)[0]) }

func loadPipeline(file string) (*etl.Pipeline, error) {
	p, err := etl.Load(file)
	if wrong := (*etl.ProblemsError)(nil); errors.As(err, &wrong) {
		return nil, findingError{wrong}
	}
	if err != nil {
		return nil, usageError{err}
	}
	return p, nil
}

// ended classifies the error of a command: errors that only a change of the data or the file can fix are findings.
func ended(err error) error {
	if etl.Final(err) {
		return findingError{err}
	}
	if wrong := (*etl.ProblemsError)(nil); errors.As(err, &wrong) {
		return findingError{err}
	}
	return err
}

func lintETL(c *cli.Context) error {
	p, err := loadETL(c)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s: pipeline %s is right\n", arguments(c)[0], p.Name)
	return err
}

func planETL(c *cli.Context) error {
	p, err := loadETL(c)
	if err != nil {
		return err
	}
	if c.Bool(flagGraph) {
		return graphETL(c, p)
	}
	if c.Bool(flagJSON) || c.Bool(flagMermaid) {
		return usageError{fmt.Errorf("--%s and --%s are forms of --%s", flagJSON, flagMermaid, flagGraph)}
	}
	lines, err := p.Plan(c.Context)
	if err != nil {
		return ended(fmt.Errorf("planning %s: %w", p.Name, err))
	}
	_, err = fmt.Fprintln(c.App.Writer, strings.Join(lines, "\n"))
	return err
}

// graphETL prints the lineage of the sinks' columns.
func graphETL(c *cli.Context, p *etl.Pipeline) error {
	lineage, err := p.Lineage(c.Context)
	if err != nil {
		return ended(fmt.Errorf("planning %s: %w", p.Name, err))
	}
	lines := lineage.Text()
	switch {
	case c.Bool(flagJSON) && c.Bool(flagMermaid):
		return usageError{fmt.Errorf("expected either --%s or --%s", flagJSON, flagMermaid)}
	case c.Bool(flagJSON):
		return printJSON(c.App.Writer, lineage)
	case c.Bool(flagMermaid):
		lines = lineage.Mermaid()
	}
	_, err = fmt.Fprintln(c.App.Writer, strings.Join(lines, "\n"))
	return err
}

func runETL(c *cli.Context) error {
	p, err := loadETL(c)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	o := etl.Options{State: c.String(flagState), Fresh: c.Bool(flagFresh),
		Accept: c.Bool(flagAccept), TakeOver: c.Bool(flagTakeOver), Tries: etlTries, Pause: etlPause,
		Now: time.Now, Tell: func(line string) {
			_, _ = fmt.Fprintln(c.App.ErrWriter, line) // progress
		}}
	run := p.Run
	if p.Streaming() {
		run, o.UntilEnd = p.Stream, c.Bool(flagUntilEnd)
		stop, err := watchETL(c.String(flagMetrics), p.Name, &o)
		if err != nil {
			return err
		}
		defer stop()
	} else if c.Bool(flagUntilEnd) || c.String(flagMetrics) != "" {
		return usageError{fmt.Errorf("--%s and --%s are for streams, and %s is none", flagUntilEnd, flagMetrics, p.Name)}
	}
	end, err := tellRun(c, p, &o)
	if err != nil {
		return err
	}
	report, err := run(ctx, o)
	told := end(report, err)
	if err != nil {
		return ended(errors.Join(fmt.Errorf("running %s: %w", p.Name, err), told))
	}
	if told != nil {
		return told
	}
	if c.Bool(flagJSON) {
		return printJSON(c.App.Writer, report)
	}
	return writeRun(c.App.Writer, report)
}

func writeRun(w io.Writer, r *etl.Report) error {
	n := r.Counts
	gathered := ""
	if n.Duplicates > 0 {
		gathered = fmt.Sprintf("%d duplicates, ", n.Duplicates)
	}
	if n.Combined+n.Made > 0 {
		gathered += fmt.Sprintf("%d combined into %d, ", n.Combined, n.Made)
	}
	_, err := fmt.Fprintf(w, "run %s: %d read, %d filtered, %d dropped, %d rejected, %s%d written\n", r.Run, n.Read,
		n.Filtered, n.Dropped, n.Rejected, gathered, n.Written)
	if r.Stream == nil {
		return err
	}
	for _, one := range r.Stream.Compacted {
		_, more := fmt.Fprintf(w, "compacted %s\n", one)
		err = errors.Join(err, more)
	}
	return err
}

func auditETL(c *cli.Context) error {
	p, err := loadETL(c)
	if err != nil {
		return err
	}
	run := ""
	if args := arguments(c); len(args) > 1 {
		run = args[1]
	}
	report, err := p.ReadReport(c.String(flagState), run)
	if errors.Is(err, etl.ErrNoRun) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	findings, err := p.Audit(c.Context, report)
	if err != nil {
		return ended(fmt.Errorf("auditing %s: %w", p.Name, err))
	}
	if c.Bool(flagJSON) {
		err = printJSON(c.App.Writer, map[string]any{"report": report, "findings": append([]string{}, findings...)})
	} else if err = writeRun(c.App.Writer, report); err == nil && len(findings) == 0 {
		_, err = fmt.Fprintln(c.App.Writer, "every row is accounted for")
	}
	if err == nil && len(findings) > 0 {
		return findingError{errors.New(strings.Join(findings, "\n"))}
	}
	return err
}

func compactETL(c *cli.Context) error {
	p, err := loadETL(c)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	as := p.Compaction()
	if c.IsSet(flagSmall) {
		as.Small = c.Int64(flagSmall) << 20
	}
	if c.IsSet(flagLeast) {
		as.Least = c.Int(flagLeast)
	}
	if c.IsSet(flagKeep) {
		as.Keep = c.Duration(flagKeep)
	}
	as.Now, as.Tell = time.Now, func(line string) { _, _ = fmt.Fprintln(c.App.ErrWriter, line) }
	all, err := p.Compact(ctx, as)
	if err != nil {
		return ended(err)
	}
	if c.Bool(flagJSON) {
		return printJSON(c.App.Writer, all)
	}
	for _, t := range all {
		if _, err := fmt.Fprintln(c.App.Writer, t); err != nil {
			return err
		}
	}
	return nil
}

func testETL(c *cli.Context) error {
	var pipelines []*etl.Pipeline
	for _, file := range arguments(c) { // read all before testing the first
		p, err := loadPipeline(file)
		if err != nil {
			return err
		}
		if p.Tests() == 0 {
			return findingError{fmt.Errorf("%s: it has no tests: add \"tests\"", file)}
		}
		pipelines = append(pipelines, p)
	}
	failed, all := 0, 0
	for i, p := range pipelines {
		results, err := p.Test(c.Context, time.Now)
		if err != nil {
			return fmt.Errorf("%s: %w", arguments(c)[i], err)
		}
		for _, r := range results {
			all++
			word := "ok"
			if len(r.Difference) > 0 {
				failed++
				word = "FAILED"
			}
			if _, err := fmt.Fprintf(c.App.Writer, "%s: %s: %s\n", arguments(c)[i], r.Name, word); err != nil {
				return err
			}
			for _, line := range r.Difference {
				if _, err := fmt.Fprintln(c.App.Writer, "  "+line); err != nil {
					return err
				}
			}
		}
	}
	if failed > 0 {
		return findingError{fmt.Errorf("%d of %d tests failed", failed, all)}
	}
	return nil
}
