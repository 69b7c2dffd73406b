package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// whole measures ingest, dedupe, Parquet and one-minute rollups together, by weir and by others, with the same events
// at the same rate.
func (b *bench) whole(ctx context.Context) error {
	t := b.report.table("The whole of it beside its peers",
		fmt.Sprintf("%s devices, 5,000 events/s in tens from 64 connections, by the same generator, taken in, made unique, "+
			"kept in Parquet and rolled up by minute: CPU of the processes that do it, until all is written. weir is its "+
			"ingest, raw and rollup streams in one process. The log of weir and of the engine's parts is the same broker, "+
			"beside them and not counted. Goal: 5 times weir's. What is left out, which is in its favour: by the engine's "+
			"parts (`peers/upstream*.yaml`) keys, claims that survive a restart, coordinates, syncs, ledgers, late events, "+
			"and rows that can be queried; by Telegraf (`peers/telegraf`) the log, an answer after the write, schemas, "+
			"verdicts, keys, duplicates other than of a device's last reading, late events, and whatever a restart must keep.",
			number(float64(b.devices))),
		"", "events/s", "refused", "µs of CPU per event", "times weir's", "peak memory MiB")
	var base float64
	for _, make := range []func(context.Context) (*line, error){b.weirLine, b.upstreamLine, b.telegrafLine} {
		l, err := make(ctx)
		if err != nil {
			return err
		}
		err = b.runLine(ctx, t, l, &base)
		l.close()
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	return nil
}

// line is a set of processes that does all of the work.
type line struct {
	name   string
	url    string
	key    string
	broker *system // nil if it needs none
	procs  []*process
	done   func(context.Context) error
}

func (l *line) close() {
	for _, p := range slices.Backward(l.procs) {
		p.stop()
	}
	if l.broker != nil {
		l.broker.close()
	}
}

func (l *line) usage() (sum usage, err error) {
	for _, p := range l.procs {
		u, err := p.usage()
		if err != nil {
			return sum, err
		}
		sum.cpu, sum.peak, sum.now = sum.cpu+u.cpu, sum.peak+u.peak, sum.now+u.now
	}
	return sum, nil
}

// runLine warms up with all devices, measures the load including the work that follows from it, and writes the line's
// row.
func (b *bench) runLine(ctx context.Context, t *table, l *line, base *float64) error {
	load := poster{url: l.url, key: l.key, devices: b.devices, batch: 10, rate: 5000, connections: 64}
	warmup := time.Duration(b.devices) * time.Second / time.Duration(load.rate)
	if _, _, err := load.post(ctx, warmup); err != nil {
		return err
	}
	before, err := l.usage()
	if err != nil {
		return err
	}
	start := time.Now()
	taken, failed, err := load.post(ctx, b.seconds(60))
	if err != nil {
		return err
	}
	rate := float64(taken) / time.Since(start).Seconds()
	if err := l.done(ctx); err != nil {
		return err
	}
	after, err := l.usage()
	if err != nil {
		return err
	}
	cpu := perEvent(before, after, taken)
	if *base == 0 {
		*base = cpu
	}
	t.row(l.name, rate, failed, cpu, cpu / *base, after.peak)
	return nil
}

// weirLine returns the shipped ingest, raw and rollup streams in one process.
func (b *bench) weirLine(ctx context.Context) (*line, error) {
	s, home, err := b.brokerAlone(ctx)
	if err != nil {
		return nil, err
	}
	l := &line{name: "weir", key: s.key, broker: s}
	c, err := b.weirStreams(s, home, "ingest", "raw", "rollup")
	if err == nil {
		err = l.start(ctx, b, "weir-line", c)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	l.url = "http://" + c.addr
	l.done = func(ctx context.Context) error {
		if _, err := s.drain(ctx, 5*time.Minute, "weir-raw", "weir-rollup"); err != nil {
			return err
		}
		return rowsWritten(ctx, filepath.Join(s.data, "rollups.db"))
	}
	return l, nil
}

func (l *line) start(ctx context.Context, b *bench, name string, c contender) error {
	p, err := b.spawn(name, c.env, c.argv...)
	if err != nil {
		return err
	}
	l.procs = append(l.procs, p)
	if c.addr == "" {
		return nil
	}
	return p.await(ctx, c.addr, "")
}

// upstreamLine returns the engine's own components, with the runtime settings that upstream ships.
func (b *bench) upstreamLine(ctx context.Context) (*line, error) {
	s, home, err := b.brokerAlone(ctx)
	if err != nil {
		return nil, err
	}
	l := &line{name: "upstream components", key: s.key, broker: s}
	ingest, err := b.upstreamAsShipped(s, home)
	if err == nil {
		err = l.start(ctx, b, "upstream-ingest", ingest)
	}
	for _, name := range []string{"upstream_store", "upstream_rollup"} {
		if err != nil {
			break
		}
		var c contender
		if c, err = b.consumer(s, home, name, []string{name}); err == nil {
			c.env, c.addr = append(c.env, asShipped()...), ""
			err = errors.Join(os.MkdirAll(filepath.Join(c.stores, "upstream"), 0o755), l.start(ctx, b, name, c))
		}
	}
	if err != nil {
		l.close()
		return nil, err
	}
	l.url = "http://" + ingest.addr
	l.done = func(ctx context.Context) error {
		_, err := s.drain(ctx, 5*time.Minute, "weir-upstream_store", "weir-upstream_rollup")
		return err
	}
	return l, nil
}

// telegrafLine returns Telegraf, which is built into .cache if it is not there.
func (b *bench) telegrafLine(ctx context.Context) (*line, error) {
	binary := filepath.Join(b.repo, ".cache", "peer-telegraf", "telegraf")
	peers := filepath.Join(b.repo, "tests", "bench", "peers", "telegraf")
	if _, err := os.Stat(binary); err != nil {
		if out, err := exec.CommandContext(ctx, filepath.Join(peers, "build.sh"), binary).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building Telegraf: %w\n%s", err, out)
		}
	}
	data, err := os.MkdirTemp(b.scratch, "telegraf-")
	if err == nil {
		err = os.MkdirAll(filepath.Join(data, "parquet"), 0o755)
	}
	if err != nil {
		return nil, err
	}
	c := contender{argv: []string{binary, "--config", filepath.Join(peers, "telegraf.conf")}}
	if err := freeAddresses(&c.addr); err != nil {
		return nil, err
	}
	c.env = append(asShipped(), "PEER_ADDRESS="+c.addr, "PEER_DATA="+data)
	l := &line{name: "Telegraf", url: "http://" + c.addr}
	if err := l.start(ctx, b, "telegraf", c); err != nil {
		l.close()
		return nil, err
	}
	l.done = func(ctx context.Context) error { // its windows follow the clock and are written 5 s after their end
		select {
		case <-time.After(time.Until(time.Now().Truncate(time.Minute).Add(75 * time.Second))):
			return written(filepath.Join(data, "rollups.json"), filepath.Join(data, "parquet"))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return l, nil
}

// written returns an error unless the file and the folder have contents.
func written(file, dir string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	objects, err := os.ReadDir(dir)
	if err == nil && (info.Size() == 0 || len(objects) == 0) {
		err = errors.New("nothing was written")
	}
	return err
}
