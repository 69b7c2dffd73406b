package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// stage is a Go benchmark of one stage with its name in the report. times is its -benchtime, for benchmarks that
// process thousands of events at a time; "" is a second.
type stage struct{ name, pkg, bench, times string }

// stages returns the stages of an event in order. Each benchmark has one event per operation, or reports ns/event or
// µs/event.
func stages() []stage {
	return []stage{
		{"read an event in one pass", "./internal/event", "Parse", ""},
		{"judge it by its schema, all in", "./plugins/ingest/validate", "BatchThroughSchemaValidate", ""},
		{"- its validation alone", "./plugins/ingest/validate", "Judge", ""},
		{"- decoding and jsonschema v5, beside it", "./plugins/ingest/validate", "DecodeAndLibrary", ""},
		{"- upstream's json_schema, beside it", "./plugins/ingest/validate", "BatchThroughUpstreamJSONSchema", ""},
		{"the gate, HTTP included, 100 a request", "./plugins/ingest/gate", "Request/100_events", ""},
		{"the gate, HTTP included, 1 a request", "./plugins/ingest/gate", "Request/1_event", ""},
		{"claim it, Pebble, synced", "./plugins/process/dedupe", "Processor/pebble", ""},
		{"put it into its window", "./plugins/store/rollup", "Processor", "60000x"},
		{"merge windows that change once a flush", "./plugins/store/rollup", "Merge", "60000x"},
		{"... and put them into SQLite's journal", "./plugins/store/rollup", "StoreSQLite", "60000x"},
		{"... and write each as a row of SQLite", "./plugins/store/rollup", "StoreSQLiteRows", "60000x"},
		{"store it in Parquet", "./plugins/store/raw", "WriteBatch", ""},
		{"judge its readings for anomalies", "./plugins/process/anomaly", "Anomaly", ""},
		{"(the simulator: make and send it, 100 a request)", "./internal/simulate", "Send/batch=100", ""},
	}
}

// stages measures each stage alone by its Go benchmark.
func (b *bench) stages(ctx context.Context) error {
	t := b.report.table("Each stage alone", "Go benchmarks on one goroutine or a few; wall time.", "stage", "µs per event",
		"allocations per event", "bytes per event")
	for _, s := range stages() {
		r, err := b.stage(ctx, s)
		if err != nil {
			return err
		}
		t.row(s.name, r.ns/1000, r.allocs, r.bytes)
	}
	return b.together(ctx)
}

// together measures the CPU time of dedupe, ledger, rollups and raw store on the same backlog, each alone, and their
// sum.
func (b *bench) together(ctx context.Context) error {
	t := b.report.table("Dedupe, ledger, rollups and raw store",
		"A backlog of 20,000 devices, stored by 50,000 events, two or three of a device among them, as the shipped "+
			"streams do it: the components alone, with all rows written at the end, without reading "+
			"and without the engine's calls (for those see \"Working off a backlog\"). Processor time of all cores, with "+
			"collecting garbage and the disk. Goal: 10 µs together.",
		"part", "µs of CPU per event", "allocations per event", "bytes per event")
	var sum perEventCost
	for _, s := range []stage{
		{"claim it for two groups, Pebble, synced", "./plugins/process/dedupe", "Backlog", "40x"},
		{"its window, ledger and rollup, SQLite, synced", "./plugins/store/rollup", "Backlog", "40x"},
		{"its row in Parquet, synced", "./plugins/store/raw", "Backlog", "40x"},
	} {
		r, err := b.stage(ctx, s, "GOGC=400") // as weir sets it
		if err != nil {
			return err
		}
		t.row(s.name, r.ns/1000, r.allocs, r.bytes)
		sum.ns, sum.allocs, sum.bytes = sum.ns+r.ns, sum.allocs+r.allocs, sum.bytes+r.bytes
	}
	t.row("together", sum.ns/1000, sum.allocs, sum.bytes)
	return nil
}

// stage runs one benchmark.
func (b *bench) stage(ctx context.Context, s stage, env ...string) (c perEventCost, err error) {
	pattern := "^Benchmark" + strings.ReplaceAll(s.bench, "/", "$/^") + "$"
	times := s.times
	if times == "" {
		times = secondsArg(b.seconds(1))
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-benchmem", "-benchtime", times, "-bench", pattern, s.pkg)
	cmd.Env = append(append(os.Environ(), "GOFLAGS=-buildvcs=false"), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return c, fmt.Errorf("running the benchmark %s of %s: %w\n%s", s.bench, s.pkg, err, out)
	}
	if c, err = parseBenchmark(out); err != nil {
		return c, fmt.Errorf("reading the benchmark %s of %s: %w\n%s", s.bench, s.pkg, err, out)
	}
	return c, nil
}

type perEventCost struct {
	ns, allocs, bytes float64
	units             map[string]float64 // everything that the benchmark reports
}

// parseBenchmark parses the single result line in out.
func parseBenchmark(out []byte) (c perEventCost, err error) {
	lines := bufio.NewScanner(bytes.NewReader(out))
	found := 0
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		found++
		units := map[string]float64{}
		for i := 2; i+1 < len(f); i += 2 {
			if units[f[i+1]], err = strconv.ParseFloat(f[i], 64); err != nil {
				return c, fmt.Errorf("value %q: %w", f[i], err)
			}
		}
		c.ns = units["ns/op"]
		if ns, ok := units["ns/event"]; ok {
			c.ns = ns
		} else if us, ok := units["µs/event"]; ok {
			c.ns = us * 1000
		}
		part := c.ns / units["ns/op"] // share of one event in an operation
		if events, ok := units["events/op"]; ok {
			part = 1 / events
		}
		c.allocs, c.bytes, c.units = units["allocs/op"]*part, units["B/op"]*part, units
	}
	if found != 1 {
		return c, fmt.Errorf("%d results, expected one", found)
	}
	return c, nil
}
