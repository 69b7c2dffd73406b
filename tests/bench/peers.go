package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
)

// peers measures other implementations of the same contract, with the same broker and load. They alternate, so that a
// slow minute of the machine affects all of them.
func (b *bench) peers(ctx context.Context) error {
	s, home, err := b.brokerAlone(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	var all []contender
	for _, make := range []func(*system, string) (contender, error){b.weirIngest, b.upstreamAsShipped, b.upstream,
		b.node} {
		c, err := make(s, home)
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	const rounds = 2
	t := b.report.table("Beside its peers",
		fmt.Sprintf("The same events in batches of 100 from 32 connections, 1 %% malformed, acknowledged by the same "+
			"broker after its synced write; CPU of the ingest process alone; the mean of %d alternating rounds. "+
			"Upstream is `peers/upstream.yaml` run by the same binary: with the Go runtime as upstream ships it, and with "+
			"weir's settings of the garbage collector, which are part of weir; Node is `peers/node` (Fastify, Ajv, KafkaJS, "+
			"one process). Goals: 8 and 5 times less CPU per event.", rounds),
		"", "events/s", "p50 ms", "p99 ms", "µs of CPU per event", "times weir's")
	sums := make([][4]float64, len(all))
	for range rounds {
		for i, c := range all {
			r, err := b.contend(ctx, s, c, 6, "--rate", "0", "--batch", "100", "--connections", "32", "--devices",
				strconv.Itoa(b.devices), "--malformed", "1")
			if err != nil {
				return err
			}
			for j, v := range [4]float64{r.Rate, r.Response.P50, r.Response.P99, r.cpu} {
				sums[i][j] += v / rounds
			}
		}
	}
	for i, c := range all {
		t.row(c.name, sums[i][0], sums[i][1], sums[i][2], sums[i][3], sums[i][3]/sums[0][3])
	}
	return nil
}

// asShipped returns the settings of the Go runtime that upstream ships with; weir's binary would use its own.
func asShipped() []string { return []string{"GOGC=100", "GOMEMLIMIT=off"} }

func (b *bench) upstreamAsShipped(s *system, home string) (contender, error) {
	c, err := b.upstream(s, home)
	c.name, c.env = "upstream components", append(c.env, asShipped()...)
	return c, err
}

// upstream returns the contract made of the engine's own components.
func (b *bench) upstream(s *system, home string) (contender, error) {
	schemas, err := b.plainSchemas(home)
	if err != nil {
		return contender{}, err
	}
	c := contender{name: "upstream components, weir's GC settings", argv: []string{b.binary, "run",
		filepath.Join(b.repo, "tests", "bench", "peers", "upstream.yaml")}}
	if err := freeAddresses(&c.addr); err != nil {
		return c, err
	}
	c.env = append(slices.Clone(s.logEnv), "PEER_ADDRESS="+c.addr, "PEER_SCHEMAS="+schemas)
	return c, nil
}

// plainSchemas returns a folder with weir's schemas without $schema and $id: the engine's json_schema does not know
// their draft.
func (b *bench) plainSchemas(home string) (string, error) {
	dir := filepath.Join(b.scratch, "plain-schemas")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	paths, err := filepath.Glob(filepath.Join(home, "schemas", "telemetry", "*.json"))
	if err == nil && len(paths) == 0 {
		err = errors.New("there are none")
	}
	if err != nil {
		return "", fmt.Errorf("finding schemas in %s: %w", home, err)
	}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		var schema map[string]any
		if err := json.Unmarshal(raw, &schema); err != nil {
			return "", fmt.Errorf("reading %s: %w", path, err)
		}
		delete(schema, "$schema")
		delete(schema, "$id")
		if raw, err = json.Marshal(schema); err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), raw, 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// node returns the contract on Node.js; its packages are installed into .cache.
func (b *bench) node(s *system, home string) (contender, error) {
	dir := filepath.Join(b.repo, ".cache", "peer-node")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return contender{}, err
	}
	for _, name := range []string{"package.json", "package-lock.json", "server.js"} {
		raw, err := os.ReadFile(filepath.Join(b.repo, "tests", "bench", "peers", "node", name))
		if err != nil {
			return contender{}, err
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o644); err != nil {
			return contender{}, err
		}
	}
	install := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		return contender{}, fmt.Errorf("installing the Node peer: %w\n%s", err, out)
	}
	c := contender{name: "Node, Fastify, Ajv, KafkaJS", argv: []string{"node", filepath.Join(dir, "server.js")}}
	if err := freeAddresses(&c.addr); err != nil {
		return c, err
	}
	c.env = append(slices.Clone(s.logEnv), "NODE_ENV=production", "PEER_ADDRESS="+c.addr, "PEER_KEY="+s.key,
		"PEER_SCHEMAS="+filepath.Join(home, "schemas", "telemetry"))
	return c, nil
}
