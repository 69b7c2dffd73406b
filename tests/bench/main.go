// Command bench measures weir on this machine and writes the results into README.md, between markers. It starts the
// built binary on a temporary directory, sends load with `weir fleet`, reads the CPU time of each process from /proc,
// and the lag of each consumer group from the broker.
//
//	go run ./tests/bench --binary bin/weir
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	debug.SetGCPercent(800) // it shares the cores with what it measures, and keeps little
	uuid.EnableRandPool()   // one call of the system for many ids
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// bench holds the settings and results of one run.
type bench struct {
	binary  string
	repo    string
	scale   float64 // factor of all durations
	profile string  // folder for CPU profiles, "" for none
	devices int     // devices of a steady load
	loads   []steadyLoad
	sizes   []int // of stores, in millions of rows
	report  *report
	scratch string
}

func run(ctx context.Context) error {
	binary := flag.String("binary", "bin/weir", "the built `FILE`")
	readme := flag.String("readme", "tests/bench/README.md", "`FILE` to write the results into; empty prints them only")
	only := flag.String("only", "", "comma-separated `NAMES` of the measurements to run")
	scale := flag.Float64("scale", 1, "`FACTOR` of the durations")
	profile := flag.String("profile", "", "`DIR` to keep CPU profiles of the processing in")
	devices := flag.Int("devices", 50_000, "`NUMBER` of devices of the steady loads")
	loads := flag.String("loads", steadyLoads, "comma-separated steady `LOADS`: events a second x a request x connections")
	sizes := flag.String("sizes", "1,10,100", "comma-separated `SIZES` of stores that grow, in millions of rows")
	flag.Parse()

	b := &bench{scale: *scale, profile: *profile, devices: *devices, report: newReport()}
	var err error
	if b.loads, err = parseLoads(*loads); err != nil {
		return err
	}
	if b.sizes, err = parseSizes(*sizes); err != nil {
		return err
	}
	if b.binary, err = filepath.Abs(*binary); err != nil {
		return err
	}
	if b.repo, err = os.Getwd(); err != nil {
		return err
	}
	if b.scratch, err = os.MkdirTemp("", "weir-load-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.scratch)

	all := []struct {
		name string
		run  func(context.Context) error
	}{
		{"stages", b.stages}, {"servers", b.servers}, {"steady", b.steady}, {"sustain", b.sustain}, {"idle", b.idle},
		{"growth", b.growth}, {"whole", b.whole}, {"latency", b.latency}, {"pipeline", b.pipeline},
		{"throughput", b.throughput}, {"catchup", b.catchUp}, {"replay", b.replays}, {"beside", b.replayUnderLoad},
		{"rules", b.rules}, {"gate", b.gate}, {"hostile", b.hostile}, {"peers", b.peers},
		{"rulepeers", b.rulePeers}, {"rulelatency", b.ruleLatency}, {"rulebacklog", b.ruleBacklog}, {"people", b.people},
		{"etl", b.etl}, {"etltable", b.etlTable}, {"etljoin", b.etlJoin}, {"etlstream", b.etlStream},
	}
	for _, m := range all {
		asked := slices.Contains(strings.Split(*only, ","), m.name)
		if !asked && (*only != "" || strings.HasPrefix(m.name, "rule") && m.name != "rules" || // parts of rules; need a JDK
			strings.HasPrefix(m.name, "etl")) { // need Python, Java and servers
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring: %s\n", m.name)
		if err := m.run(ctx); err != nil {
			fmt.Print(b.report.markdown()) // the results so far
			return fmt.Errorf("measuring %s: %w", m.name, err)
		}
	}
	text := b.report.markdown()
	fmt.Print(text)
	if *readme == "" || *only != "" { // partial results are not written
		return nil
	}
	return writeBetweenMarkers(*readme, text)
}

// seconds returns n seconds multiplied by the scale.
func (b *bench) seconds(n float64) time.Duration {
	return time.Duration(n * b.scale * float64(time.Second))
}
