package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir/internal/simulate"
)

// steadyLoad is a constant load: events a second, events a request, connections.
type steadyLoad struct{ rate, batch, connections int }

// steadyLoads are the loads of the README. Devices that report directly send one event a request, gateways ten or a
// hundred.
const steadyLoads = "5000x1x500,5000x10x64,5000x100x32,15000x10x500"

// parseLoads parses loads such as 5000x10x64,15000x10x500.
func parseLoads(list string) (loads []steadyLoad, err error) {
	for _, text := range strings.Split(list, ",") {
		var n [3]int
		parts := strings.Split(text, "x")
		for i := range n {
			if len(parts) == len(n) {
				n[i], err = strconv.Atoi(parts[i])
			}
			if err != nil || n[i] < 1 {
				return nil, fmt.Errorf("load %q: expected RATExBATCHxCONNECTIONS, such as 5000x10x64", text)
			}
		}
		loads = append(loads, steadyLoad{n[0], n[1], n[2]})
	}
	return loads, nil
}

// steadied is the cost of a load after all devices have been seen.
type steadied struct {
	*simulate.Summary
	cpu, peak, rows float64 // µs per event, MiB, rows written per event
	lag             int64
	drained         float64 // seconds
}

// steady measures all of weir and the ingest stream alone, with as many devices as weir is built for, each load on
// fresh data.
func (b *bench) steady(ctx context.Context) error {
	alone, err := b.home("ingest", "api")
	if err != nil {
		return err
	}
	all := ""
	if b.profile != "" { // home enables the engine's debug endpoints
		names, err := b.shipped()
		if err != nil {
			return err
		}
		if all, err = b.home(names...); err != nil {
			return err
		}
	}
	t := b.report.table(fmt.Sprintf("A steady load of %s devices", number(float64(b.devices))),
		"Each load on fresh data, by `weir up` with all streams and with ingest.yaml alone, one after the other; the broker "+
			"is in the same process, the generator beside it. All devices have been seen before the measurement begins. "+
			"Milliseconds from when an event was due to its 202. Rows are those of SQLite, of minutes. "+
			"Goals, as times of ingest alone: CPU 1.35 one a request, 1.6 in tens, 1.7 at 15,000/s; p99 2.5; "+
			"peak memory 600 MiB at 5,000 events/s and 1 GiB at 15,000.",
		"events/s asked", "a request", "connections", "runs", "events/s", "µs of CPU per event", "times", "p50", "p99",
		"times", "failed", "peak memory MiB", "rows an event", "largest lag", "seconds to drain")
	for _, load := range b.loads {
		ingest, err := b.steadyRun(ctx, "ingest", alone, load, b.seconds(30))
		if err != nil {
			return fmt.Errorf("ingest alone: %w", err)
		}
		everything, err := b.steadyRun(ctx, "all", all, load, b.seconds(60))
		if err != nil {
			return fmt.Errorf("everything: %w", err)
		}
		row := func(name string, s *steadied) {
			t.row(load.rate, load.batch, load.connections, name, s.Rate, s.cpu, s.cpu/ingest.cpu, s.Latency.P50, s.Latency.P99,
				s.Latency.P99/ingest.Latency.P99, s.Failed, s.peak, s.rows, s.lag, s.drained)
		}
		row("ingest alone", ingest)
		row("everything", everything)
	}
	return nil
}

// steadyRun measures a load after all devices have been seen. name is "all" for all streams, or another for ingest
// alone.
func (b *bench) steadyRun(ctx context.Context, name, home string, load steadyLoad, measured time.Duration) (*steadied,
	error) {
	s, err := b.up(ctx, home)
	if err != nil {
		return nil, err
	}
	defer s.close()
	warmup := 2 * time.Duration(b.devices) * time.Second / time.Duration(load.rate) // each device reports twice
	if name == "all" {
		// The rollup rows of the first minute are written and the second window is open. Rows are written in waves of
		// a minute, so a minute is the least to measure.
		warmup = max(warmup, 80*time.Second)
		measured = max(measured.Round(time.Minute), time.Minute)
	}
	warmup += 5 * time.Second
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		sum *simulate.Summary
		err error
	}
	done := make(chan result, 1)
	go func() {
		sum, err := b.load(ctx, "http://"+s.ingest, s.key, "--devices", strconv.Itoa(b.devices),
			"--rate", strconv.Itoa(load.rate), "--batch", strconv.Itoa(load.batch),
			"--connections", strconv.Itoa(load.connections),
			"--warmup", secondsArg(warmup), "--duration", secondsArg(warmup+measured))
		done <- result{sum, err}
	}()
	select {
	case r := <-done: // it still has to send the measured part
		return nil, fmt.Errorf("the load ended before its time: %w", r.err)
	case <-time.After(warmup):
	}
	before, err := s.take(ctx)
	if err != nil {
		return nil, err
	}
	if b.profile != "" {
		go b.keepProfile(ctx, s.ops, fmt.Sprintf("steady-%s-%dx%d", name, load.rate, load.batch))
	}
	stop := func() (int64, error) { return 0, nil }
	if name == "all" {
		stop = s.watchLag(ctx)
	}
	r := <-done
	lag, lagErr := stop()
	if r.err != nil {
		return nil, r.err
	}
	if lagErr != nil {
		return nil, lagErr
	}
	after, err := s.take(ctx)
	if err != nil {
		return nil, err
	}
	out := &steadied{Summary: r.sum, cpu: perEvent(before.usage, after.usage, after.events-before.events), lag: lag,
		peak: after.peak, rows: (after.rows - before.rows) / float64(max(after.events-before.events, 1))}
	if name == "all" {
		gone, err := s.drain(ctx, 5*time.Minute)
		if err != nil {
			return nil, err
		}
		out.drained = gone.took.Seconds()
		end, err := s.usage()
		if err != nil {
			return nil, err
		}
		out.peak = end.peak
	}
	return out, nil
}

// taken is what a system has processed so far.
type taken struct {
	usage
	events int64   // in the log
	rows   float64 // rollup rows written
}

func (s *system) take(ctx context.Context) (t taken, err error) {
	ends, err := s.admin.ListEndOffsets(ctx, "raw-events")
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return t, fmt.Errorf("reading the log's ends: %w", err)
	}
	ends.Each(func(o kadm.ListedOffset) { t.events += o.Offset })
	if t.rows, err = s.metric(ctx, "weir_rollup_rows_total"); err != nil {
		return t, err
	}
	t.usage, err = s.usage()
	return t, err
}

// metric returns the sum over the series of a metric, 0 if there are none.
func (s *system) metric(ctx context.Context, name string) (sum float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.ops+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("reading metrics: %w", err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, fmt.Errorf("reading metrics: %w", err)
	}
	return sumMetric(string(raw), name)
}

func sumMetric(text, name string) (sum float64, err error) {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' ')+1:]), 64)
		if err != nil {
			return 0, fmt.Errorf("reading metric %s: %w", name, err)
		}
		sum += v
	}
	return sum, nil
}

// shipped returns the names of all stream configs that 'weir up' runs.
func (b *bench) shipped() (names []string, err error) {
	files, err := filepath.Glob(filepath.Join(b.repo, "configs", "streams", "*.yaml"))
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".yaml"))
	}
	return names, err
}
