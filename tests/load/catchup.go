package main

import (
	"context"
	"strings"
	"time"
)

// catchUp: the processing streams alone, working off a backlog.
func (b *bench) catchUp(ctx context.Context) error {
	t := b.report.table("Working off a backlog",
		"The log was filled while nothing processed it; then the streams start, in one process beside the broker. The seconds hold joining the group, the stores' batching periods and the last commit; the rate is that between the first and the last tenth. Goals for both together: 10 µs of CPU per event, 50,000 events/s.",
		"streams", "events", "seconds", "events/s", "µs of CPU per event", "µs, broker", "peak memory MiB")
	for _, streams := range [][]string{{"raw"}, {"rollup"}, {"raw", "rollup"}} {
		if err := b.catchUpWith(ctx, t, streams); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) catchUpWith(ctx context.Context, t *table, streams []string) error {
	s, home, err := b.brokerAlone(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	ingest, err := b.weirIngest(s, home)
	if err != nil {
		return err
	}
	_, err = b.contend(ctx, s, ingest, 20, "--rate", "40000", "--batch", "100", "--connections", "32", "--devices", "20000")
	if err != nil {
		return err
	}
	c, err := b.weirStreams(s, home, streams...)
	if err != nil {
		return err
	}
	var groups []string
	for _, name := range streams {
		groups = append(groups, "weir-"+name)
	}
	backlog, err := s.lag(ctx, groups...)
	if err != nil {
		return err
	}
	before, err := s.usage()
	if err != nil {
		return err
	}
	p, err := b.spawn("catchup", c.env, c.argv...)
	if err != nil {
		return err
	}
	defer p.stop()
	if err := p.await(ctx, c.ops, ""); err != nil {
		return err
	}
	started, err := p.usage()
	if err != nil {
		return err
	}
	if b.profile != "" {
		go b.keepProfile(ctx, c.ops, strings.Join(streams, "-"))
	}
	gone, err := s.drain(ctx, 10*time.Minute, groups...)
	if err != nil {
		return err
	}
	used, err := p.usage()
	if err != nil {
		return err
	}
	broker, err := s.usage()
	if err != nil {
		return err
	}
	t.row(strings.Join(streams, " + "), backlog, gone.took.Seconds(), gone.rate, perEvent(started, used, backlog), perEvent(before, broker, backlog), used.peak)
	return nil
}
