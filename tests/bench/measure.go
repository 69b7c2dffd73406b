package main

import (
	"context"
	"strconv"
	"time"

	"weir/internal/simulate"
)

// perEvent returns microseconds of CPU per event.
func perEvent(before, after usage, events int64) float64 {
	return float64((after.cpu - before.cpu).Microseconds()) / float64(max(events, 1))
}

func secondsArg(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s" }

// measured is the result of one load and its cost.
type measured struct {
	*simulate.Summary
	cpu float64 // µs per event with a verdict
	lag int64
}

func (b *bench) drive(ctx context.Context, s *system, d time.Duration, args ...string) (measured, error) {
	before, err := s.usage()
	if err != nil {
		return measured{}, err
	}
	stop := s.watchLag(ctx)
	sum, err := b.load(ctx, "http://"+s.ingest, s.key, append(args, "--duration", secondsArg(d))...)
	lag, lagErr := stop()
	if err != nil {
		return measured{}, err
	}
	if lagErr != nil {
		return measured{}, lagErr
	}
	after, err := s.usage()
	if err != nil {
		return measured{}, err
	}
	return measured{sum, perEvent(before, after, sum.Accepted+sum.Rejected), lag}, nil
}

// seen lets all devices report twice, as fast as the gate answers, and waits until all running consumers have caught
// up, so that the measurement does not include the first event of a device.
func (b *bench) seen(ctx context.Context, s *system) error {
	if _, err := b.load(ctx, "http://"+s.ingest, s.key, "--rate", "0", "--batch", "100", "--connections", "32",
		"--devices", strconv.Itoa(b.devices), "--events", strconv.Itoa(2*b.devices)); err != nil {
		return err
	}
	return s.settled(ctx)
}

// latency measures the time until the answer at a steady rate, with all streams running.
func (b *bench) latency(ctx context.Context) error {
	s, err := b.up(ctx, "")
	if err != nil {
		return err
	}
	defer s.close()
	if err := b.seen(ctx, s); err != nil {
		return err
	}
	t := b.report.table("Time to the verdict, everything running",
		"Milliseconds from when an event was due to its 202, after the broker's synced write. Goal: p99 < 50 ms at 5,000 "+
			"events/s.",
		"events/s asked", "events a request", "connections", "events/s", "p50", "p99", "p99.9", "max", "failed",
		"µs of CPU per event, whole pipeline")
	for _, c := range []struct{ rate, batch, connections string }{
		{"5000", "10", "64"}, {"5000", "10", "1000"}, {"5000", "1", "256"}, {"15000", "50", "64"},
	} {
		m, err := b.drive(ctx, s, b.seconds(15), "--rate", c.rate, "--batch", c.batch, "--connections", c.connections,
			"--devices", strconv.Itoa(b.devices), "--malformed", "1", "--duplicates", "1")
		if err != nil {
			return err
		}
		t.row(c.rate, c.batch, c.connections, m.Rate, m.Latency.P50, m.Latency.P99, m.Latency.P999, m.Latency.Max, m.Failed,
			m.cpu)
		if _, err := s.drain(ctx, time.Minute); err != nil {
			return err
		}
	}
	return nil
}

// pipeline measures whether all streams keep up with a rate.
func (b *bench) pipeline(ctx context.Context) error {
	t := b.report.table("The whole pipeline keeping up",
		"Dedupe, rollups and Parquet beside the ingest, in one process. It keeps up when the lag stays at what the "+
			"stores' batching periods hold (seconds × rate) and is gone soon after the load. Goal: 15,000 events/s.",
		"events/s asked", "events/s", "largest lag, records", "seconds to drain", "p99 ms", "refused", "µs of CPU per event",
		"peak memory MiB")
	for _, rate := range []string{"15000", "30000"} {
		s, err := b.up(ctx, "")
		if err != nil {
			return err
		}
		m, before, err := b.keptUp(ctx, s, rate)
		if err != nil {
			s.close()
			return err
		}
		gone, err := s.drain(ctx, 5*time.Minute)
		use, uerr := s.usage()
		s.close()
		if err != nil {
			return err
		}
		if uerr != nil {
			return uerr
		}
		t.row(rate, m.Rate, m.lag, gone.took.Seconds(), m.Latency.P99, m.Failed,
			perEvent(before, use, m.Accepted), use.peak)
	}
	return nil
}

// keptUp applies a load after all devices have been seen, and also returns the usage before it.
func (b *bench) keptUp(ctx context.Context, s *system, rate string) (m measured, before usage, err error) {
	if err := b.seen(ctx, s); err != nil {
		return m, before, err
	}
	if before, err = s.usage(); err != nil {
		return m, before, err
	}
	m, err = b.drive(ctx, s, b.seconds(30), "--rate", rate, "--batch", "100", "--connections", "32", "--devices",
		strconv.Itoa(b.devices))
	return m, before, err
}

// throughput measures the maximum rate of ingest with all streams running, and how fast the backlog is processed
// afterwards.
func (b *bench) throughput(ctx context.Context) error {
	s, err := b.up(ctx, "")
	if err != nil {
		return err
	}
	defer s.close()
	if err := b.seen(ctx, s); err != nil {
		return err
	}
	m, err := b.drive(ctx, s, b.seconds(15), "--rate", "0", "--batch", "100", "--connections", "32", "--devices",
		strconv.Itoa(b.devices))
	if err != nil {
		return err
	}
	backlog, err := s.lag(ctx)
	if err != nil {
		return err
	}
	gone, err := s.drain(ctx, 10*time.Minute)
	if err != nil {
		return err
	}
	t := b.report.table("As fast as answers come, everything running",
		"Batches of 100 from 32 connections; generator, broker and all streams share the cores. Floor: 60,000 events/s "+
			"taken in. The drain is how fast the backlog is worked off when the load has ended, between its first and last "+
			"tenth.",
		"events/s", "p50 ms", "p99 ms", "refused", "µs of CPU per event while loaded", "backlog", "drained at events/s")
	t.row(m.Rate, m.Response.P50, m.Response.P99, m.Failed, m.cpu, backlog, gone.rate)
	return nil
}
