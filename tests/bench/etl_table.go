package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// copier copies a table. copy fails unless it copied the given number of rows.
type copier struct {
	name string
	copy func(ctx context.Context, table string, rows int) (cost, error)
}

// table measures copying a PostgreSQL table into Parquet in S3, by weir, dlt and the engine's own input in
// alternation. The cost of copying an empty table is that of the start.
func (e *etlBench) table(ctx context.Context) error {
	rows := max(1000, int(1_000_000*e.scale))
	for table, n := range map[string]int{"orders": rows, "nothing": 0} {
		if err := e.orders(ctx, table, n); err != nil {
			return err
		}
	}
	copiers := []copier{{"weir etl, Parquet in S3", e.weirCopy}}
	for _, make := range []func(context.Context) (copier, error){e.dlt, e.sqlSelect} {
		c, err := make(ctx)
		if err != nil {
			return err
		}
		copiers = append(copiers, c)
	}
	const rounds = 2
	t := e.report.table("A table of PostgreSQL into Parquet in S3",
		fmt.Sprintf("%s rows of a bigint, a numeric(18,4), a text, a timestamptz, an int with nulls and a jsonb; the mean "+
			"of %d rounds in turns; the servers are on the same cores. CPU is of the process alone, its start in it, and "+
			"without it: less what it takes over a table of no rows. Peers: dlt 1.31 with pyarrow between (`peers/dlt`), and "+
			"the engine's sql_select and a mapping into lines of a file (`peers/sql_select.yaml`), without Parquet and S3. "+
			"Goals: 100,000 rows/s, 8 µs a row.", number(float64(rows)), rounds),
		"", "rows/s", "µs of CPU a row", "without its start", "times weir's", "peak memory MiB")
	type sum struct{ took, cpu, start time.Duration }
	sums, peaks := make([]sum, len(copiers)), make([]float64, len(copiers))
	for range rounds {
		for i, c := range copiers {
			start, err := c.copy(ctx, "nothing", 0)
			if err != nil {
				return err
			}
			all, err := c.copy(ctx, "orders", rows)
			if err != nil {
				return err
			}
			s := &sums[i]
			s.took, s.cpu, s.start = s.took+all.took, s.cpu+all.cpu, s.start+start.cpu
			peaks[i] = max(peaks[i], all.peak)
		}
	}
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / rounds / float64(rows) }
	for i, c := range copiers {
		s := sums[i]
		t.row(c.name, rounds*float64(rows)/s.took.Seconds(), each(s.cpu), each(s.cpu-s.start),
			each(s.cpu)/each(sums[0].cpu), peaks[i])
	}
	return nil
}

func (e *etlBench) weirCopy(ctx context.Context, table string, rows int) (cost, error) {
	server, err := e.postgres()
	if err != nil {
		return cost{}, err
	}
	file, err := e.pipeline(e.name+"-"+table, map[string]any{
		"source": with(server, map[string]any{"type": "postgres", "table": e.name + "." + table, "key": "id"}),
		"sinks": []any{map[string]any{"format": "parquet", "url": e.servers["WEIR_TEST_S3_URL"],
			"object": e.name + "/" + table + ".parquet"}}})
	if err != nil {
		return cost{}, err
	}
	return e.run(ctx, file, rows)
}

// dlt returns a copier that runs dlt, installed into a venv of its own in .cache.
func (e *etlBench) dlt(ctx context.Context) (copier, error) {
	here := filepath.Join(e.repo, "tests", "bench", "peers", "dlt")
	venv := filepath.Join(e.repo, ".cache", "peer-dlt")
	python := filepath.Join(venv, "bin", "python")
	needed, err := os.ReadFile(filepath.Join(here, "requirements.txt"))
	if err != nil {
		return copier{}, err
	}
	stamp := filepath.Join(venv, "requirements.txt")
	if has, err := os.ReadFile(stamp); err != nil || !bytes.Equal(has, needed) {
		for _, argv := range [][]string{{"python3", "-m", "venv", "--clear", venv}, {python, "-m", "pip", "install",
			"--quiet", "--disable-pip-version-check", "-r", filepath.Join(here, "requirements.txt")}} {
			if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
				return copier{}, fmt.Errorf("installing dlt: %w\n%s", err, lastLines(out, 20))
			}
		}
		if err := os.WriteFile(stamp, needed, 0o644); err != nil {
			return copier{}, err
		}
	}
	bucket, err := url.Parse(e.servers["WEIR_TEST_S3_URL"])
	if err != nil {
		return copier{}, err
	}
	dsn := strings.Replace(e.servers["WEIR_TEST_POSTGRES_URL"], "postgres://", "postgresql+psycopg2://", 1)
	return copier{"dlt, Parquet in S3", func(ctx context.Context, table string, rows int) (cost, error) {
		dir, err := os.MkdirTemp(e.scratch, "dlt-")
		if err != nil {
			return cost{}, err
		}
		c, err := e.spent(ctx, []string{"PEER_DSN=" + dsn, "PEER_DIR=" + dir,
			"PEER_ENDPOINT=" + bucket.Query().Get("endpoint"), "PEER_BUCKET=s3://" + bucket.Host + "/" + e.name,
			"DLT_DATA_DIR=" + dir, "RUNTIME__DLTHUB_TELEMETRY=false"}, python,
			filepath.Join(here, "load.py"), e.name+"."+table)
		if err != nil {
			return c, err
		}
		if got := strings.TrimSpace(string(c.out)); got != strconv.Itoa(rows) {
			return c, fmt.Errorf("dlt says that %s has %s rows, and not %d", table, got, rows)
		}
		return c, os.RemoveAll(dir)
	}}, nil
}

// sqlSelect returns a copier that runs the engine with its own input, which weir's binary lacks.
func (e *etlBench) sqlSelect(ctx context.Context) (copier, error) {
	peers := filepath.Join(e.repo, "tests", "bench", "peers")
	binary := filepath.Join(e.repo, ".cache", "peer-sqlselect")
	if _, err := os.Stat(binary); err != nil {
		if out, err := exec.CommandContext(ctx, filepath.Join(peers, "sqlselect", "build.sh"),
			binary).CombinedOutput(); err != nil {
			return copier{}, fmt.Errorf("building the engine with sql_select: %w\n%s", err, lastLines(out, 20))
		}
	}
	return copier{"the engine's sql_select, lines of a file", func(ctx context.Context, table string, rows int) (cost,
		error) {
		file := filepath.Join(e.scratch, "lines")
		c, err := e.spent(ctx, []string{"PEER_DSN=" + e.servers["WEIR_TEST_POSTGRES_URL"],
			"PEER_TABLE=" + e.name + "." + table, "PEER_FILE=" + file}, binary, "run", filepath.Join(peers, "sql_select.yaml"))
		if err != nil {
			return c, err
		}
		raw, err := os.ReadFile(file)
		if err != nil && rows > 0 {
			return c, err
		}
		if got := bytes.Count(raw, []byte("\n")); got != rows {
			return c, fmt.Errorf("sql_select has written %d lines of %s, and not %d", got, table, rows)
		}
		return c, os.RemoveAll(file)
	}}, nil
}

// join measures a pipeline with two sources, three steps and two sinks.
func (e *etlBench) join(ctx context.Context) error {
	rows := max(10, int(1000*e.scale)) * 300
	if err := e.orders(ctx, "bought", rows); err != nil {
		return err
	}
	if err := e.exec(ctx, `CREATE TABLE SCHEMA.customers (name text PRIMARY KEY, region text, since date);
		INSERT INTO SCHEMA.customers SELECT 'customer ' || i, 'region ' || i % 31, '2020-01-01'::date + i % 2000
			FROM generate_series(0, 49999) i`); err != nil {
		return err
	}
	server, err := e.postgres()
	if err != nil {
		return err
	}
	file, err := e.pipeline(e.name+"-join", map[string]any{
		"source": with(server, map[string]any{"type": "postgres", "table": e.name + ".bought", "key": "id"}),
		"steps": []any{
			map[string]any{"lookup": map[string]any{"name": "customers", "on": map[string]any{"customer": "name"},
				"columns": map[string]any{"region": "region", "since": "since"}, "source": with(server, map[string]any{
					"type": "postgres", "table": e.name + ".customers", "key": "name"})}},
			map[string]any{"derive": map[string]any{"column": "day", "type": "date", "mapping": "this.at.slice(0, 10)"}},
			map[string]any{"filter": "this.discount != 99"}},
		"sinks": []any{
			map[string]any{"format": "parquet", "url": e.servers["WEIR_TEST_S3_URL"], "object": e.name + "/join.parquet"},
			with(server, map[string]any{"format": "postgres", "table": e.name + ".by_day"})}})
	if err != nil {
		return err
	}
	c, err := e.run(ctx, file, rows-rows/300)
	if err != nil {
		return err
	}
	t := e.report.table("Two sources with a join, three steps, two sinks",
		fmt.Sprintf("%s rows of the same columns; a lookup in a table of 50,000 rows, a column that a mapping derives and a "+
			"filter by a mapping; into Parquet in S3 and a table of PostgreSQL, which is replaced, on the same cores. Goal: "+
			"10,000 rows/s.", number(float64(rows))), "rows/s", "µs of CPU a row", "peak memory MiB")
	t.row(float64(rows)/c.took.Seconds(), float64(c.cpu.Nanoseconds())/1000/float64(rows), c.peak)
	return nil
}
