package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// contender is a process to measure: an ingest process that keeps the contract, or one that runs some streams.
type contender struct {
	name string
	env  []string
	argv []string
	addr string // address for events
	ops  string // address of health and metrics, "" for a peer

	stores string // folder of its stores, if it processes events
}

// home creates a --home folder for 'weir up' with only some of the shipped streams. "api" alone makes weir a broker
// on which keys can be created.
func (b *bench) home(streams ...string) (string, error) {
	home, err := os.MkdirTemp(b.scratch, "home-")
	if err != nil {
		return "", err
	}
	for _, dir := range []string{"schemas", "bloblang"} {
		if err := os.CopyFS(filepath.Join(home, dir), os.DirFS(filepath.Join(b.repo, dir))); err != nil {
			return "", err
		}
	}
	files := []string{"service.yaml", "standalone.env", "anomaly.yaml", "rules.yaml"}
	for _, s := range streams {
		files = append(files, filepath.Join("streams", s+".yaml"))
	}
	if err := os.MkdirAll(filepath.Join(home, "configs", "streams"), 0o755); err != nil {
		return "", err
	}
	for _, f := range files {
		raw, err := os.ReadFile(filepath.Join(b.repo, "configs", f))
		if err != nil {
			return "", err
		}
		if f == "service.yaml" && b.profile != "" {
			raw = bytes.Replace(raw, []byte("http:\n"), []byte("http:\n  debug_endpoints: true\n"), 1)
		}
		if err := os.WriteFile(filepath.Join(home, "configs", f), raw, 0o644); err != nil {
			return "", err
		}
	}
	return home, nil
}

// brokerAlone starts the embedded broker without ingest and processing.
func (b *bench) brokerAlone(ctx context.Context) (*system, string, error) {
	home, err := b.home("api")
	if err != nil {
		return nil, "", err
	}
	s, err := b.up(ctx, home)
	return s, home, err
}

// weirIngest returns the shipped ingest stream in a process of its own.
func (b *bench) weirIngest(s *system, home string) (contender, error) {
	return b.weirStreams(s, home, "ingest")
}

// weirStreams returns some of the shipped streams in a process of their own, which use the broker and the data
// directory of s.
func (b *bench) weirStreams(s *system, home string, streams ...string) (contender, error) {
	c := contender{name: "weir"}
	var api string
	if err := freeAddresses(&c.addr, &c.ops, &api); err != nil {
		return c, err
	}
	in := func(name string) string { return filepath.Join(s.data, name) }
	c.env = append(slices.Clone(s.logEnv),
		"WEIR_INGEST_ADDRESS="+c.addr, "WEIR_OPS_ADDRESS="+c.ops, "WEIR_API_ADDRESS="+api,
		"WEIR_MAX_BACKLOG_RECORDS=1000000000000", // so that backpressure does not limit the load
		"WEIR_CONTROL_URL=sqlite://"+in("control.db"), "WEIR_ROLLUP_URL=sqlite://"+in("rollups.db"),
		"WEIR_RAW_URL=file://"+in("raw"), "WEIR_DEAD_LETTER_URL=file://"+in("dead-letter"), "WEIR_CLAIMS_URL=pebble://"+
			in("claims"),
		"WEIR_DATA="+s.data, "WEIR_SCHEMAS_URL=file://"+filepath.Join(home, "schemas", "telemetry"),
		"WEIR_BLOBLANG="+filepath.Join(home, "bloblang"),
	)
	c.argv = []string{b.binary, "streams", "--no-api", "-o", filepath.Join(home, "configs", "service.yaml")}
	for _, name := range streams {
		c.argv = append(c.argv, filepath.Join(b.repo, "configs", "streams", name+".yaml"))
	}
	return c, nil
}

// gate measures the cost of accepting an event, without any processing.
func (b *bench) gate(ctx context.Context) error {
	s, home, err := b.brokerAlone(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	weir, err := b.weirIngest(s, home)
	if err != nil {
		return err
	}
	t := b.report.table("The gate alone",
		"The ingest stream in a process of its own; generator and broker on the same cores. Goals: 150,000 events/s and 6 "+
			"µs of CPU per event in batches of 100; 20,000 requests/s of one event.",
		"events a request", "connections", "events/s", "requests/s", "p50 ms", "p99 ms", "µs of CPU per event, gate",
		"µs, broker", "peak memory MiB")
	for _, c := range []struct{ batch, connections string }{{"100", "32"}, {"10", "64"}, {"1", "256"}} {
		r, err := b.contend(ctx, s, weir, 8, "--rate", "0", "--batch", c.batch, "--connections", c.connections, "--devices",
			strconv.Itoa(b.devices))
		if err != nil {
			return err
		}
		t.row(c.batch, c.connections, r.Rate, float64(r.Requests)/r.Elapsed, r.Response.P50, r.Response.P99, r.cpu, r.broker,
			r.peak)
	}
	return nil
}

type contended struct {
	measured
	broker float64 // µs of CPU per event in the broker
	peak   float64
}

// contend starts a contender, warms it up, applies the load and returns its cost.
func (b *bench) contend(ctx context.Context, s *system, c contender, seconds float64, args ...string) (r contended,
	err error) {
	p, err := b.spawn("contender", c.env, c.argv...)
	if err != nil {
		return r, err
	}
	defer p.stop()
	if err := p.await(ctx, c.addr, ""); err != nil {
		return r, fmt.Errorf("%s: %w", c.name, err)
	}
	url := "http://" + c.addr
	// Warm-up: all devices report twice.
	if _, err := b.load(ctx, url, s.key, append(args, "--events", strconv.Itoa(2*b.devices))...); err != nil {
		return r, fmt.Errorf("%s: %w", c.name, err)
	}
	before, err := p.usage()
	if err != nil {
		return r, err
	}
	brokerBefore, err := s.usage()
	if err != nil {
		return r, err
	}
	if r.Summary, err = b.load(ctx, url, s.key, append(args, "--duration",
		secondsArg(b.seconds(seconds)))...); err != nil {
		return r, fmt.Errorf("%s: %w", c.name, err)
	}
	after, err := p.usage()
	if err != nil {
		return r, err
	}
	brokerAfter, err := s.usage()
	if err != nil {
		return r, err
	}
	n := r.Accepted + r.Rejected
	r.cpu, r.broker, r.peak = perEvent(before, after, n), perEvent(brokerBefore, brokerAfter, n), after.peak
	return r, nil
}
