package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"weir/plugins/process/rule"
)

// rulesCommand is `weir rules`: rules over windows of events.
func rulesCommand() *cli.Command {
	return &cli.Command{
		Name:  "rules",
		Usage: "Check rules over windows of events, try them, and put versions of them in force",
		Subcommands: append([]*cli.Command{
			{
				Name:      "lint",
				Usage:     "Check a rule set: what is wrong and in which line, what is slow, when results come",
				ArgsUsage: "FILE",
				Flags: []cli.Flag{
					&cli.DurationFlag{Name: "delay", Value: 5 * time.Second, Usage: "how far out of order events normally come"},
				},
				Action: lintRules,
			},
			{
				Name:  "try",
				Usage: "Evaluate a rule set on a file of events, and print its results",
				Description: `
The events are one a line, as devices send them and as weir query --fields event
prints them. What is printed depends on the file alone: time is that of the
events, and at the end of the file it passes all windows. What became of the
events in each rule is said at the end.

  weir query --device pump-1 --fields event > events.ndjson
  weir rules try --rules rules.yaml --events events.ndjson
  weir rules try --rules rules.yaml --events events.ndjson --shuffle 7`[1:],
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "rules", Required: true, Usage: "the `FILE` of the rule set"},
					&cli.StringSliceFlag{Name: "events", Required: true, Usage: "the `FILE` of events, TOPIC=FILE where rules join " +
						"two topics, once for each; - is the standard input"},
					&cli.StringFlag{Name: "fleet", Value: "try", Usage: "the `FLEET` that they are of"},
					&cli.DurationFlag{Name: "delay", Value: 5 * time.Second, Usage: "how far out of order events normally come"},
					&cli.Int64Flag{Name: "shuffle", Usage: "take the events in another order, within the delay; which one, says " +
						"`N`. Final results are the same"},
				},
				Action: tryRules,
			},
		}, ruleVersionVerbs()...),
	}
}

// readRules reads a rule set. Errors in it are findings.
func readRules(file string) (*rule.Set, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, usagef("reading the rules: %w", err)
	}
	set, err := rule.Parse(raw)
	var wrong *rule.ProblemsError
	if errors.As(err, &wrong) {
		lines := make([]string, len(wrong.Problems))
		for i, p := range wrong.Problems {
			lines[i] = fmt.Sprintf("%s:%d: %s", file, max(p.Line, 1), p.Named())
		}
		return nil, findingError{errors.New(strings.Join(lines, "\n"))}
	}
	return set, err
}

func lintRules(c *cli.Context) error {
	file := arguments(c)[0]
	set, err := readRules(file)
	if err != nil {
		return err
	}
	text := fmt.Appendf(nil, "%s: %d rules, version %s\n", file, len(set.Rules), set.Version)
	for _, r := range set.Rules {
		text = fmt.Appendf(text, "%s: %s\n", r.Name, r.Describe(c.Duration("delay")))
		for _, slow := range r.Slow {
			text = fmt.Appendf(text, "%s: slow, some 15 us an event: %s\n", r.Name, slow)
		}
	}
	_, err = c.App.Writer.Write(text)
	return err
}

func tryRules(c *cli.Context) error {
	set, err := readRules(c.String("rules"))
	if err != nil {
		return err
	}
	var files []rule.Source
	for _, name := range c.StringSlice("events") {
		topic, file := "", name
		if before, after, named := strings.Cut(name, "="); named && !strings.Contains(before, "/") {
			topic, file = before, after
		}
		if file == "-" {
			files = append(files, rule.Source{Topic: topic, From: os.Stdin})
			continue
		}
		events, err := os.Open(file)
		if err != nil {
			return usagef("reading events: %w", err)
		}
		defer events.Close()
		files = append(files, rule.Source{Topic: topic, From: events})
	}
	out := dataWriter(c)
	report, err := set.TryTopics(files, rule.Trial{Fleet: c.String("fleet"), Delay: c.Duration("delay"),
		Shuffle: uint64(c.Int64("shuffle"))}, func(r rule.Result) error {
		_, err := out.Write(append(r.JSON, '\n'))
		return err
	})
	if errors.Is(err, rule.ErrNoTopic) {
		return usagef("trying the rules: %w", err)
	}
	if err != nil {
		return fmt.Errorf("trying the rules: %w", err)
	}
	return writeTrial(c.App.ErrWriter, report)
}

// lineOf names the line of a trial in which an event is.
func lineOf(m rule.Miss) string {
	return strings.TrimSpace(fmt.Sprintf("%s line %d", m.Topic, m.Offset))
}

func writeTrial(w io.Writer, r *rule.Report) error {
	text := fmt.Appendf(nil, "%d events, %d of them duplicates, %d lines that are no event\n", r.Events, r.Duplicates,
		len(r.Invalid))
	for _, why := range r.Invalid[:min(len(r.Invalid), 5)] {
		text = fmt.Appendf(text, "  %s\n", why)
	}
	for _, of := range r.Rules {
		text = fmt.Appendf(text, "%s: %d results", of.Name, of.Results)
		for o, n := range of.Outcomes {
			if n > 0 {
				text = fmt.Appendf(text, ", %d events %s", n, rule.Outcome(o))
			}
		}
		if of.GivenUp > 0 {
			text = fmt.Appendf(text, ", %d partial matches given up", of.GivenUp)
		}
		text = append(text, '\n')
		for _, m := range r.Misses {
			switch {
			case m.Rule != of.Name:
			case m.Outcome == rule.Late:
				text = fmt.Appendf(text, "  %s is late by %s\n", lineOf(m), time.Duration(m.By)*time.Microsecond)
			default:
				text = fmt.Appendf(text, "  %s: %s\n", lineOf(m), m.Why)
			}
		}
	}
	_, err := w.Write(text)
	return err
}
