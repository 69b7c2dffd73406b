package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	_ "modernc.org/sqlite" // driver "sqlite"
)

// backlog starts a broker and fills its log with at least 800,000 unread events, whatever the scale: the stores write
// 50,000 at a time, and with a few such batches their start and end would dominate.
func (b *bench) backlog(ctx context.Context) (s *system, home string, err error) {
	if s, home, err = b.brokerAlone(ctx); err != nil {
		return nil, "", err
	}
	ingest, err := b.weirIngest(s, home)
	if err == nil {
		_, err = b.contend(ctx, s, ingest, 20/min(b.scale, 1), "--rate", "40000", "--batch", "100", "--connections", "32",
			"--devices", strconv.Itoa(b.devices))
	}
	if err != nil {
		s.close()
		return nil, "", err
	}
	return s, home, nil
}

// catchUp measures the processing streams alone on a backlog, and the engine's own components on half of the work.
func (b *bench) catchUp(ctx context.Context) error {
	s, home, err := b.backlog(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	t := b.report.table("Working off a backlog",
		"The log was filled while nothing processed it; then the streams start, in one process beside the broker, each "+
			"time with new groups and empty stores. The rate is that between the first and the last tenth; the CPU is with "+
			"all rows written. "+
			"\"Read only\" is `peers/read_only.yaml`: what reading by `log_input` costs a stream (twice where two streams "+
			"read; upstream reads by an input of its own); its rate is 0 when all is read between two commits. "+
			"\"Upstream\" is `peers/upstream_store.yaml`: the engine's dedupe and parquet_encode, "+
			"without rollups, ledger, coordinates or syncs, with the Go runtime as upstream ships it, and as weir does. "+
			"Goal for raw + rollup: 50,000 events/s. The goal of 10 µs is that of the components alone, above: what comes on "+
			"top of them here is the engine's, which makes batches, spans and copies of metadata of every message for every "+
			"layer of a config, and the garbage of that.",
		"streams", "events", "seconds", "events/s", "µs of CPU per event", "µs above reading", "µs, broker",
		"peak memory MiB")
	var reading float64
	for _, c := range []struct {
		name    string
		streams []string
		peer    string
		env     []string
	}{
		{"read only", []string{"read_only"}, "read_only", nil},
		{"upstream's dedupe + parquet_encode", []string{"upstream_store"}, "upstream_store", asShipped()},
		{"... with weir's GC settings", []string{"upstream_store"}, "upstream_store", nil},
		{"raw", []string{"raw"}, "", nil},
		{"rollup", []string{"rollup"}, "", nil},
		{"raw + rollup", []string{"raw", "rollup"}, "", nil},
	} {
		w, err := b.consumer(s, home, c.peer, c.streams)
		if err != nil {
			return err
		}
		w.env = append(w.env, c.env...)
		r, err := b.workOff(ctx, s, w, c.streams)
		if err != nil {
			return fmt.Errorf("working off a backlog, %s: %w", c.name, err)
		}
		if c.peer == "read_only" {
			reading = r.cpu
		}
		t.row(c.name, r.events, r.took.Seconds(), r.rate, r.cpu, r.cpu-reading*float64(len(c.streams)), r.broker, r.peak)
	}
	return nil
}

// consumer returns a process that runs some of the shipped streams, or a peer in their place, with empty stores.
func (b *bench) consumer(s *system, home, peer string, streams []string) (contender, error) {
	data := filepath.Join(s.data, "stores-"+strings.Join(streams, "-"))
	c, err := b.weirStreams(s, home, streams...)
	if err != nil {
		return c, err
	}
	in := func(name string) string { return filepath.Join(data, name) }
	c.env = append(c.env, "WEIR_DATA="+data, "WEIR_ROLLUP_URL=sqlite://"+in("rollups.db"),
		"WEIR_RAW_URL=file://"+in("raw"),
		"WEIR_DEAD_LETTER_URL=file://"+in("dead-letter"), "WEIR_CLAIMS_URL=pebble://"+in("claims"))
	if peer != "" {
		c.argv = []string{b.binary, "run", filepath.Join(b.repo, "tests", "bench", "peers", peer+".yaml")}
	}
	c.stores = data
	return c, os.MkdirAll(data, 0o755)
}

// worked is the result of processing a backlog.
type worked struct {
	drained
	events            int64
	cpu, broker, peak float64
}

// workOff runs a consumer until its groups have committed the whole log, and deletes the groups.
func (b *bench) workOff(ctx context.Context, s *system, c contender, streams []string) (w worked, err error) {
	var groups []string
	for _, name := range streams {
		groups = append(groups, "weir-"+name)
	}
	if w.events, err = s.lag(ctx, groups...); err != nil {
		return w, err
	}
	before, err := s.usage()
	if err != nil {
		return w, err
	}
	p, err := b.spawn("catchup", c.env, c.argv...)
	if err != nil {
		return w, err
	}
	if err := b.drained(ctx, s, p, c, &w, before, streams, groups); err != nil {
		p.stop()
		return w, err
	}
	p.stop()
	_, err = s.admin.DeleteGroups(ctx, groups...)
	return w, err
}

func (b *bench) drained(ctx context.Context, s *system, p *process, c contender, w *worked, before usage, streams,
	groups []string) error {
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
	if w.drained, err = s.drain(ctx, 10*time.Minute, groups...); err != nil {
		return err
	}
	if slices.Contains(streams, "rollup") && c.stores != "" {
		if err := rowsWritten(ctx, filepath.Join(c.stores, "rollups.db")); err != nil { // writing rows is part of the work
			return err
		}
	}
	used, err := p.usage()
	if err != nil {
		return err
	}
	broker, err := s.usage()
	if err != nil {
		return err
	}
	w.cpu, w.broker, w.peak = perEvent(started, used, w.events), perEvent(before, broker, w.events), used.peak
	return nil
}

// rowsWritten waits until no rollup row is only in the journal.
func rowsWritten(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		return err
	}
	defer db.Close()
	for deadline := time.Now().Add(time.Minute); ; {
		entries := 0
		if err := db.QueryRowContext(ctx, `SELECT count(*) FROM rollup_journal`).Scan(&entries); err != nil {
			return fmt.Errorf("reading the journal of rollups: %w", err)
		}
		if entries == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after a minute, %d entries are still only in the journal of rollups", entries)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
