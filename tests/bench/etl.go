package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// etlBench is a bench with its own schema in PostgreSQL, folder in an S3 bucket and topic in Kafka.
type etlBench struct {
	*bench
	env     []string
	servers map[string]string // addresses, by the variables of tests/integration/servers.sh
	name    string            // name of the schema, the folder and the topic
	db      *pgx.Conn
}

// etl measures pipelines of `weir etl` and their peers.
func (b *bench) etl(ctx context.Context) error {
	return b.withETL(ctx, func(e *etlBench) error {
		for _, part := range []func(context.Context) error{e.table, e.join, e.stream} {
			if err := part(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *bench) etlTable(ctx context.Context) error {
	return b.withETL(ctx, func(e *etlBench) error { return e.table(ctx) })
}

func (b *bench) etlJoin(ctx context.Context) error {
	return b.withETL(ctx, func(e *etlBench) error { return e.join(ctx) })
}

func (b *bench) etlStream(ctx context.Context) error {
	return b.withETL(ctx, func(e *etlBench) error { return e.stream(ctx) })
}

// withETL runs do with the servers that the environment names, or with servers of its own. Afterwards it drops the
// schema; the objects in the bucket stay if the environment named it.
func (b *bench) withETL(ctx context.Context, do func(*etlBench) error) (err error) {
	needed := []string{"WEIR_TEST_POSTGRES_URL", "WEIR_TEST_S3_URL", "WEIR_TEST_KAFKA_BROKERS"}
	e := &etlBench{bench: b, servers: map[string]string{}, name: fmt.Sprintf("etlbench%d", os.Getpid())}
	for _, name := range needed {
		e.servers[name] = os.Getenv(name)
	}
	if e.servers[needed[0]] == "" || e.servers[needed[1]] == "" || e.servers[needed[2]] == "" {
		env, stop, err := b.startServers(ctx, "postgres", "s3", "kafka")
		if err != nil {
			return err
		}
		defer stop()
		e.env = env
		for _, one := range env {
			name, value, _ := strings.Cut(one, "=")
			e.servers[name] = value
			if strings.HasPrefix(name, "AWS_") { // this process reads the stream's table
				if err := os.Setenv(name, value); err != nil {
					return err
				}
			}
		}
	}
	if e.db, err = pgx.Connect(ctx, e.servers[needed[0]]); err != nil {
		return fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	defer e.db.Close(context.WithoutCancel(ctx))
	if err := e.exec(ctx, `CREATE SCHEMA "`+e.name+`"`); err != nil {
		return err
	}
	defer func() { _ = e.exec(context.WithoutCancel(ctx), `DROP SCHEMA "`+e.name+`" CASCADE`) }()
	return do(e)
}

func (e *etlBench) exec(ctx context.Context, sql string) error {
	if _, err := e.db.Exec(ctx, strings.ReplaceAll(sql, "SCHEMA.", e.name+".")); err != nil {
		return fmt.Errorf("preparing PostgreSQL: %w", err)
	}
	return nil
}

// orders creates a table of orders with a typical set of columns.
func (e *etlBench) orders(ctx context.Context, table string, rows int) error {
	return e.exec(ctx, fmt.Sprintf(`CREATE TABLE SCHEMA.%s (id bigint PRIMARY KEY, amount numeric(18,4), customer text,
		at timestamptz, discount int, detail jsonb);
		INSERT INTO SCHEMA.%[1]s SELECT i, i * 1.2345, 'customer ' || i %% 50000, '2026-01-01Z'::timestamptz + i * interval
			'1.000001 second', CASE WHEN i %% 3 = 0 THEN i %% 100 END, jsonb_build_object('sku', 'p' || i %% 977, 'count', i %% 9)
			FROM generate_series(1, %d) i;
		ANALYZE SCHEMA.%[1]s`, table, rows))
}

// postgres returns the fields of a PostgreSQL source or sink.
func (e *etlBench) postgres() (map[string]any, error) {
	u, err := url.Parse(e.servers["WEIR_TEST_POSTGRES_URL"])
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(u.Port())
	return map[string]any{"host": u.Hostname(), "port": port, "database": strings.TrimPrefix(u.Path, "/"),
		"sslmode": "disable", "user": u.User.Username()}, err
}

// with returns the union of two sets of fields; more wins.
func with(fields map[string]any, more map[string]any) map[string]any {
	all := map[string]any{}
	for _, some := range []map[string]any{fields, more} {
		for name, value := range some {
			all[name] = value
		}
	}
	return all
}

// pipeline writes a pipeline file and returns its path.
func (e *etlBench) pipeline(name string, fields map[string]any) (string, error) {
	raw, err := json.MarshalIndent(with(fields, map[string]any{"name": name}), "", "  ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(e.scratch, name+".json")
	return path, os.WriteFile(path, raw, 0o600)
}

// cost is what a process used until its end, child processes included.
type cost struct {
	took, cpu time.Duration
	peak      float64 // MiB
	out       []byte
}

// spent runs a process to its end and returns its cost.
func (e *etlBench) spent(ctx context.Context, env []string, argv ...string) (cost, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(append(os.Environ(), e.env...), env...)
	var errs strings.Builder
	cmd.Stderr = &errs
	start := time.Now()
	out, err := cmd.Output()
	if err != nil {
		return cost{}, fmt.Errorf("running %s: %w\n%s", strings.Join(argv[:min(len(argv), 3)], " "), err,
			lastLines([]byte(errs.String()), 20))
	}
	c := cost{took: time.Since(start), cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), out: out}
	if u, is := cmd.ProcessState.SysUsage().(*syscall.Rusage); is {
		c.peak = float64(u.Maxrss) / 1024
	}
	return c, nil
}

// run runs a pipeline to its end and fails unless it wrote the given number of rows.
func (e *etlBench) run(ctx context.Context, file string, rows int) (cost, error) {
	state, err := os.MkdirTemp(e.scratch, "state-")
	if err != nil {
		return cost{}, err
	}
	c, err := e.spent(ctx, nil, e.binary, "etl", "run", file, "--state", state, "--take-over", "--json")
	if err != nil {
		return c, err
	}
	var report struct {
		Counts struct{ Written int }
	}
	if err := json.Unmarshal(c.out, &report); err != nil || report.Counts.Written != rows {
		return c, fmt.Errorf("%s has written %d rows of %d: %v", filepath.Base(file), report.Counts.Written, rows, err)
	}
	return c, os.RemoveAll(state)
}
