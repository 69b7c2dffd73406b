package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// idle measures weir without load, before and after it has stored an hour of data.
func (b *bench) idle(ctx context.Context) error {
	s, err := b.up(ctx, "")
	if err != nil {
		return err
	}
	defer s.close()
	h := hour{from: time.Now().Add(-time.Hour).Truncate(time.Minute).UTC(), devices: b.devices, every: time.Minute}
	t := b.report.table("With nothing to do",
		fmt.Sprintf("Everything running, by itself: what the process takes until each moment, beginning when it is ready, "+
			"and when an hour of %s devices, an event of each a minute, is stored and all its rows are written. Goals: 1 %% of "+
			"a core and 250 MiB.", number(float64(b.devices))),
		"", "until", "% of a core", "MiB", "peak memory MiB")
	const windows = 4
	rest := func(when string, n int) error {
		for i := range n {
			use, spent, err := s.while(ctx, b.seconds(60))
			if err != nil {
				return err
			}
			t.row(when, time.Duration(i+1)*b.seconds(60), 100*spent, use.now, use.peak)
		}
		return nil
	}
	if err := rest("no data", 1); err != nil {
		return err
	}
	if err := b.stored(ctx, s, h); err != nil {
		return err
	}
	if err := rowsWritten(ctx, filepath.Join(s.data, "rollups.db")); err != nil {
		return err
	}
	return rest(number(float64(h.events()))+" events", windows)
}

// while measures a system for d; part is the share of one core that it used.
func (s *system) while(ctx context.Context, d time.Duration) (after usage, part float64, err error) {
	before, err := s.usage()
	if err != nil {
		return after, 0, err
	}
	start := time.Now()
	select {
	case <-ctx.Done():
		return after, 0, ctx.Err()
	case <-time.After(d):
	}
	after, err = s.usage()
	return after, (after.cpu - before.cpu).Seconds() / time.Since(start).Seconds(), err
}
