package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// servers measures the cost of weir in the servers of the cluster profile, on this machine.
func (b *bench) servers(ctx context.Context) error {
	env, stop, err := b.startServers(ctx, "postgres", "redis")
	if err != nil {
		return err
	}
	defer stop()
	claims, err := b.stage(ctx, stage{"", "./plugins/process/dedupe", "Claims/redis/new/batch=1000", ""}, env...)
	if err != nil {
		return err
	}
	b.report.table("Claims on Redis", "New claims, 1,000 a pipelined round trip, one after the other; the server and "+
		"its client share the cores. Goal: 100,000 a second.",
		"claims a second", "µs per claim").row(claims.units["claims/s"], claims.units["µs/claim"])

	t := b.report.table("Rollups in PostgreSQL",
		"Devices with three metrics that report every ten seconds, 5,000 events a transaction: each changes a window, as "+
			"it does in a flush of two seconds. Beside it, "+
			"what they replace: each reading a row, copied by the same batches and made unique, then aggregated by minute "+
			"with percentile_cont. Time that PostgreSQL takes, "+
			"synced, the mean of 3 alternating rounds. Goal: 3 times less.",
		"", "µs of PostgreSQL per event", "times")
	const rounds = 3
	var rollups, raw float64
	for range rounds {
		r, err := b.stage(ctx, stage{"", "./plugins/store/rollup", "StorePostgres", "150000x"}, env...)
		if err != nil {
			return err
		}
		rollups += r.units["postgres-ns/op"] / rounds
		if r, err = b.stage(ctx, stage{"", "./plugins/store/rollup", "RawRowsPostgres", "150000x"}, env...); err != nil {
			return err
		}
		raw += r.ns / rounds
	}
	t.row("rollups", rollups/1000, 1.0)
	t.row("raw rows and percentile_cont", raw/1000, raw/rollups)
	return nil
}

// startServers starts servers for the measurement, and returns the environment that names them and a function that
// stops them.
func (b *bench) startServers(ctx context.Context, names ...string) (env []string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "weir-load-servers-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // PostgreSQL runs as another user
	}
	if err != nil {
		return nil, nil, err
	}
	script := filepath.Join(b.repo, "tests", "integration", "servers.sh")
	run := func(ctx context.Context, command string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, "bash", "-c", command, script)
		cmd.Env, cmd.Stderr = append(os.Environ(), "WEIR_TEST_DIR="+dir), os.Stderr
		return cmd.Output()
	}
	stop = func() {
		_, _ = run(context.WithoutCancel(ctx), `"$0" stop`) // best effort: the measurement is over
		_ = os.RemoveAll(dir)
	}
	out, err := run(ctx, `exports=$("$0" start `+strings.Join(names, " ")+`) && eval "$exports" && env`)
	if err != nil {
		stop()
		return nil, nil, fmt.Errorf("starting %s: %w", strings.Join(names, ", "), err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "WEIR_TEST_") || strings.HasPrefix(line, "AWS_") {
			env = append(env, strings.TrimSpace(line))
		}
	}
	return env, stop, nil
}
