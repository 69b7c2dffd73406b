package main

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// sustain measures the maximum rate of ingest alone, the cost of a steady load compared with that, and all streams at
// 60 % of the maximum with one event a request.
func (b *bench) sustain(ctx context.Context) error {
	alone, err := b.home("ingest", "api")
	if err != nil {
		return err
	}
	t := b.report.table("Ingest alone, at full speed and at a steady rate",
		fmt.Sprintf("%s devices, by ingest.yaml with the broker in the same process. Goal: a steady 5,000 events/s in tens "+
			"costs an event at most twice what full speed does.", number(float64(b.devices))),
		"a request", "connections", "events/s asked", "events/s", "µs of CPU per event", "times full speed", "p50 ms",
		"p99 ms", "failed", "peak memory MiB")
	most := map[int]float64{}
	for _, c := range []struct{ batch, full, steady int }{{10, 64, 64}, {1, 256, 500}} {
		if most[c.batch], err = b.fullAndSteady(ctx, t, alone, c.batch, c.full, c.steady); err != nil {
			return err
		}
	}
	load := steadyLoad{rate: max(int(0.6*most[1]), 1), batch: 1, connections: 1000}
	s, err := b.steadyRun(ctx, "all", "", load, b.seconds(600))
	if err != nil {
		return fmt.Errorf("everything, at 60 %% of what ingest takes: %w", err)
	}
	t = b.report.table("Sixty per cent of the most, one event a request",
		fmt.Sprintf("Everything running, %s devices, for %s after all have been seen. Goals: p99 below 500 ms, nothing "+
			"refused, the backlog gone within a minute, peak memory 1 GiB.", number(float64(b.devices)), b.seconds(600)),
		"ingest alone, events/s", "asked", "events/s", "µs of CPU per event", "p50 ms", "p99 ms", "p99.9 ms", "failed",
		"retried", "largest lag", "seconds to drain", "peak memory MiB", "rows an event")
	t.row(most[1], load.rate, s.Rate, s.cpu, s.Latency.P50, s.Latency.P99, s.Latency.P999, s.Failed, s.Retried, s.lag,
		s.drained, s.peak, s.rows)
	return nil
}

// fullAndSteady measures one process at full speed and then at 5,000 events/s, and returns the events a second at
// full speed.
func (b *bench) fullAndSteady(ctx context.Context, t *table, home string, batch, full, steady int) (float64, error) {
	s, err := b.up(ctx, home)
	if err != nil {
		return 0, err
	}
	defer s.close()
	if err := b.seen(ctx, s); err != nil {
		return 0, err
	}
	most := 0.0
	base := 0.0
	for _, c := range []struct {
		rate, connections int
		d                 time.Duration
	}{{0, full, b.seconds(10)}, {5000, steady, b.seconds(20)}} {
		m, err := b.drive(ctx, s, c.d, "--rate", strconv.Itoa(c.rate), "--batch", strconv.Itoa(batch), "--connections",
			strconv.Itoa(c.connections), "--devices", strconv.Itoa(b.devices))
		if err != nil {
			return 0, err
		}
		use, err := s.usage()
		if err != nil {
			return 0, err
		}
		asked, lat := any(c.rate), m.Latency
		if c.rate == 0 {
			asked, lat, most, base = "as answers come", m.Response, m.Rate, m.cpu
		}
		t.row(batch, c.connections, asked, m.Rate, m.cpu, m.cpu/base, lat.P50, lat.P99, m.Failed, use.peak)
	}
	return most, nil
}
