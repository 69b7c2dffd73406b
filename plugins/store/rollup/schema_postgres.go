package rollup

// postgresTables creates hypertables if TimescaleDB is installed in the database, else tables that
// are partitioned by time, whose partitions are created when they are needed. A row is rewritten a
// few times within its minute. Half of each page is left free for that, so that the new version is
// on the same page and no index is updated (no index has a column that merging changes). That was
// the fastest in measurements, and the smallest table until a vacuum.
const postgresTables = `
CREATE FUNCTION rollup_make_table(name text, columns text, width interval) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	timescale text := (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'timescaledb');
BEGIN
	EXECUTE format('CREATE TABLE %I (
		fleet text COLLATE "C" NOT NULL, device_id text COLLATE "C" NOT NULL, bucket timestamptz NOT NULL,
		%s updated_at timestamptz NOT NULL,
		metrics text[] NOT NULL, stats float8[] NOT NULL, detail bytea NOT NULL,
		PRIMARY KEY (fleet, device_id, bucket)) %s', name, columns,
		CASE WHEN width IS NOT NULL AND timescale IS NULL THEN 'PARTITION BY RANGE (bucket)' ELSE 'WITH (fillfactor = 50)' END);
	EXECUTE format('ALTER TABLE %I ALTER COLUMN detail SET STORAGE EXTERNAL', name);
	IF width IS NOT NULL AND timescale IS NOT NULL THEN
		EXECUTE format('SELECT %I.create_hypertable($1, ''bucket'', chunk_time_interval => $2, create_default_indexes => false)', timescale)
		USING name::regclass, width;
	END IF;
END $$;
SELECT rollup_make_table('rollup_window_1m', 'version bigint NOT NULL, ledger_state smallint NOT NULL, ledger bytea,', '7 days');
SELECT rollup_make_table('rollup_window_1h', '', '91 days');
SELECT rollup_make_table('rollup_window_1d', '', NULL);
ALTER TABLE rollup_window_1m ALTER COLUMN ledger SET STORAGE EXTERNAL;
CREATE INDEX rollup_window_1m_by_bucket ON rollup_window_1m (ledger_state, bucket, fleet);
CREATE INDEX rollup_window_1h_by_bucket ON rollup_window_1h (bucket, fleet);
CREATE INDEX rollup_window_1d_by_bucket ON rollup_window_1d (bucket, fleet);
CREATE TABLE rollup_hour (
	hour timestamptz PRIMARY KEY, state smallint NOT NULL, opened_at timestamptz NOT NULL,
	rolled_at timestamptz NOT NULL DEFAULT 'epoch');
CREATE TABLE rollup_mark (
	fleet text COLLATE "C" NOT NULL, device_id text COLLATE "C" NOT NULL, hour timestamptz NOT NULL, marks bigint NOT NULL DEFAULT 1,
	PRIMARY KEY (fleet, device_id, hour));
` + postgresViews

// The views have one line per metric, for people and dashboards.
const (
	postgresViews = postgresView1m + postgresView1h + postgresView1d

	postgresView1m = `CREATE OR REPLACE VIEW rollup_1m AS ` + postgresViewOf + `rollup_window_1m` + postgresViewEnd
	postgresView1h = `CREATE OR REPLACE VIEW rollup_1h AS ` + postgresViewOf + `rollup_window_1h` + postgresViewEnd
	postgresView1d = `CREATE OR REPLACE VIEW rollup_1d AS ` + postgresViewOf + `rollup_window_1d` + postgresViewEnd

	postgresViewOf = `SELECT w.fleet, w.device_id, m.name AS metric, w.bucket,
	w.stats[9*m.n-8]::bigint AS count, w.stats[9*m.n-7] AS sum, w.stats[9*m.n-6] AS min, w.stats[9*m.n-5] AS max,
	least(greatest(CASE WHEN abs(w.stats[9*m.n-7]) < 1e-280 THEN w.stats[9*m.n-7] ELSE w.stats[9*m.n-7] / w.stats[9*m.n-8] END, -- no underflow
		w.stats[9*m.n-6]), w.stats[9*m.n-5]) AS avg, w.stats[9*m.n-4] AS m2,
	w.stats[9*m.n-3] AS p50, w.stats[9*m.n-2] AS p95, w.stats[9*m.n-1] AS last,
	w.bucket + w.stats[9*m.n] * interval '1 microsecond' AS last_at
	FROM `
	postgresViewEnd = ` w CROSS JOIN LATERAL unnest(w.metrics) WITH ORDINALITY AS m(name, n);
`
)
