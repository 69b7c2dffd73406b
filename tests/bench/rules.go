package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// rules measures the cost and the delay of rules: first their parts by Go benchmarks, then the stream, on a backlog
// and live.
func (b *bench) rules(ctx context.Context) error {
	for _, run := range []func(context.Context) error{b.ruleCosts, b.ruleTimes, b.ruleBacklog, b.ruleLatency} {
		if err := run(ctx); err != nil {
			return err
		}
	}
	return nil
}

const rulePackage = "./plugins/process/rule"

// ruleCosts measures rule sets without reading and dedupe, in batches of 5,000.
func (b *bench) ruleCosts(ctx context.Context) error {
	t := b.report.table("Rules, above reading and dedupe",
		"Batches of 5,000 events of 10,000 devices in eight partitions, 100,000 events a second of their time, into SQLite, "+
			"synced, with all rows written in the end: processor time of all cores, with collecting garbage and the disk. The "+
			"standard set is `plugins/process/rule/testdata/standard.yaml`, one rule of each kind; below it each of its rules "+
			"alone. Nexmark's queries are those of `tests/nexmark`, over its events. Goals: 3.5 µs and 2 allocations an event "+
			"of the standard set, 0.05 µs for each further rule that does not match.",
		"rules", "µs of CPU per event", "allocations per event", "results per event")
	cpu := map[string]float64{}
	for _, s := range []stage{
		{"the standard set", rulePackage, "Standard", "400x"},
		{"- tumbling, a minute", rulePackage, "Each/minute", "200x"},
		{"- sliding, 5 minutes each 30 seconds", rulePackage, "Each/slide", "200x"},
		{"- session", rulePackage, "Each/visits", "200x"},
		{"- pattern, in the order of the log", rulePackage, "Each/overheats", "200x"},
		{"- pattern, in the order of time", rulePackage, "Each/shakes", "200x"},
		{"- join", rulePackage, "Each/restarts", "200x"},
		{"one rule", rulePackage, "Hundred/1", "100x"},
		{"- with 100 more, of which none matches", rulePackage, "Hundred/101", "100x"},
		{"Nexmark q12", rulePackage, "Nexmark/q12", "100x"},
		{"Nexmark q15", rulePackage, "Nexmark/q15", "100x"},
		{"Nexmark q17", rulePackage, "Nexmark/q17", "100x"},
	} {
		r, err := b.stage(ctx, s, "GOGC=400") // as weir sets it
		if err != nil {
			return err
		}
		cpu[s.bench] = r.units["cpu-µs/event"]
		t.row(s.name, r.units["cpu-µs/event"], r.allocs, r.units["results/event"])
	}
	t.row("each of the 100", (cpu["Hundred/101"]-cpu["Hundred/1"])/100, "", "")
	return nil
}

// ruleTimes measures how soon the effect of an event is known, and how soon after a crash.
func (b *bench) ruleTimes(ctx context.Context) error {
	t := b.report.table("Rules, from an event to what follows, and back after a crash",
		"The standard set: from an event's being handed to it until it knows what follows, windows that close included. And "+
			"a rule with a million open keys and a journal as long as it gets: what a process that begins needs until its "+
			"first batch is committed. Goals: p99 1 ms; 10 seconds.",
		"", "p50 µs", "p99 µs", "p99.9 µs", "largest µs", "seconds")
	r, err := b.stage(ctx, stage{"", rulePackage, "ApplyLatency", "2000000x"}, "GOGC=400")
	if err != nil {
		return err
	}
	t.row("an event", r.units["p50-µs"], r.units["p99-µs"], r.units["p99.9-µs"], r.units["max-µs"], "")
	if r, err = b.stage(ctx, stage{"", rulePackage, "MillionKeys", "3x"}, "GOGC=400"); err != nil {
		return err
	}
	t.row("a million keys", "", "", "", "", r.units["ns/op"]/1e9)
	return nil
}

func (b *bench) standardRules() string {
	return filepath.Join(b.repo, rulePackage, "testdata", "standard.yaml")
}

// ruleBacklog measures the rules stream alone on a backlog, with its results in the log.
func (b *bench) ruleBacklog(ctx context.Context) error {
	s, home, err := b.backlog(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	t := b.report.table("Rules, working off a backlog",
		"The rules stream in a process of its own, with dedupe, the upcast and its results on the log, as in \"Working off "+
			"a backlog\": the shipped stream with the standard set, with one rule, and with none. Goal: 100,000 events/s.",
		"rules", "events", "seconds", "events/s", "µs of CPU per event", "peak memory MiB")
	none, one := filepath.Join(b.scratch, "none.yaml"), filepath.Join(b.scratch, "one.yaml")
	if err := errors.Join(os.WriteFile(none, []byte("rules: []\n"), 0o600),
		os.WriteFile(one, []byte(onlyHot), 0o600)); err != nil {
		return err
	}
	for _, c := range []struct{ name, file string }{{"none", none}, {"one", one},
		{"the standard set", b.standardRules()}} {
		w, err := b.weirStreams(s, home, "rules", "rule_results")
		if err != nil {
			return err
		}
		dir, err := os.MkdirTemp(b.scratch, "rules-")
		if err != nil {
			return err
		}
		w.env = append(w.env, "WEIR_RULES="+c.file, "WEIR_CONTROL_URL=sqlite://"+filepath.Join(dir, "control.db"),
			"WEIR_CLAIMS_URL=pebble://"+filepath.Join(dir, "claims"))
		r, err := b.workOff(ctx, s, w, []string{"rules"})
		if err != nil {
			return fmt.Errorf("working off a backlog, %s: %w", c.name, err)
		}
		t.row(c.name, r.events, r.took.Seconds(), r.rate, r.cpu, r.peak)
	}
	return nil
}

// onlyHot is a rule with an immediate result for some events.
const onlyHot = `rules:
  - name: hot
    key: [ device_id ]
    pattern: { match: hot, within: 1s, order: arrival, define: { hot: this.metrics.cpu_temp > 60 } }
    select: { hottest: last(hot.metrics.cpu_temp) }
`
