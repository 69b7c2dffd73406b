package rollup

import "weir/internal/platform/sqldb"

// migrations returns the migrations of the tables of rollups, whose columns FORMAT.md describes.
// Steps are only ever appended.
func migrations() []sqldb.Migration {
	return []sqldb.Migration{
		{SQLite: sqliteTables, Postgres: postgresTables},
		{SQLite: sqliteJournal, Postgres: `SELECT 1`},
		{SQLite: `DROP VIEW rollup_1m; DROP VIEW rollup_1h; DROP VIEW rollup_1d; ` +
			sqliteView1m + sqliteView1h + sqliteView1d,
			Postgres: postgresViews}, // now avg is always between min and max
		{SQLite: sqliteCold, Postgres: postgresCold},
		{SQLite: coldSums, Postgres: coldSums},
		{SQLite: `SELECT 1`, Postgres: postgresJournalTables},
	}
}

const sqliteJournal = `
CREATE TABLE rollup_journal (seq INTEGER PRIMARY KEY, added_at INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE rollup_term (term INTEGER NOT NULL);
INSERT INTO rollup_term VALUES (1);
`

const sqliteTables = `
CREATE TABLE rollup_window_1m (
	fleet TEXT NOT NULL, device_id TEXT NOT NULL, bucket INTEGER NOT NULL,
	version INTEGER NOT NULL, updated_at INTEGER NOT NULL, ledger_state INTEGER NOT NULL,
	metrics TEXT NOT NULL, stats TEXT NOT NULL, detail BLOB NOT NULL, ledger BLOB,
	PRIMARY KEY (fleet, device_id, bucket));
CREATE INDEX rollup_window_1m_by_bucket ON rollup_window_1m (ledger_state, bucket, fleet);
CREATE TABLE rollup_window_1h (
	fleet TEXT NOT NULL, device_id TEXT NOT NULL, bucket INTEGER NOT NULL, updated_at INTEGER NOT NULL,
	metrics TEXT NOT NULL, stats TEXT NOT NULL, detail BLOB NOT NULL,
	PRIMARY KEY (fleet, device_id, bucket));
CREATE INDEX rollup_window_1h_by_bucket ON rollup_window_1h (bucket, fleet);
CREATE TABLE rollup_window_1d (
	fleet TEXT NOT NULL, device_id TEXT NOT NULL, bucket INTEGER NOT NULL, updated_at INTEGER NOT NULL,
	metrics TEXT NOT NULL, stats TEXT NOT NULL, detail BLOB NOT NULL,
	PRIMARY KEY (fleet, device_id, bucket));
CREATE INDEX rollup_window_1d_by_bucket ON rollup_window_1d (bucket, fleet);
CREATE TABLE rollup_hour (
	hour INTEGER PRIMARY KEY, state INTEGER NOT NULL, opened_at INTEGER NOT NULL, rolled_at INTEGER NOT NULL DEFAULT 0);
CREATE TABLE rollup_mark (
	fleet TEXT NOT NULL, device_id TEXT NOT NULL, hour INTEGER NOT NULL, marks INTEGER NOT NULL DEFAULT 1,
	PRIMARY KEY (fleet, device_id, hour)) WITHOUT ROWID;
` + sqliteView1m + sqliteView1h + sqliteView1d

// The views have one line per metric, for people and dashboards.
const (
	sqliteView1m = `CREATE VIEW rollup_1m AS ` + sqliteViewOf + `rollup_window_1m` + sqliteViewEnd
	sqliteView1h = `CREATE VIEW rollup_1h AS ` + sqliteViewOf + `rollup_window_1h` + sqliteViewEnd
	sqliteView1d = `CREATE VIEW rollup_1d AS ` + sqliteViewOf + `rollup_window_1d` + sqliteViewEnd

	sqliteViewOf = `SELECT w.fleet, w.device_id, m.value AS metric,
	strftime('%Y-%m-%dT%H:%M:%SZ', w.bucket, 'unixepoch') AS bucket,
	CAST(json_extract(w.stats, '$[' || (m.key*9) || ']') AS INTEGER) AS count,
	json_extract(w.stats, '$[' || (m.key*9+1) || ']') AS sum,
	json_extract(w.stats, '$[' || (m.key*9+2) || ']') AS min,
	json_extract(w.stats, '$[' || (m.key*9+3) || ']') AS max,
	min(max(json_extract(w.stats, '$[' || (m.key*9+1) || ']') * 1.0 / json_extract(w.stats, '$[' || (m.key*9) || ']'),
		json_extract(w.stats, '$[' || (m.key*9+2) || ']')), json_extract(w.stats, '$[' || (m.key*9+3) || ']')) AS avg,
	json_extract(w.stats, '$[' || (m.key*9+4) || ']') AS m2,
	json_extract(w.stats, '$[' || (m.key*9+5) || ']') AS p50,
	json_extract(w.stats, '$[' || (m.key*9+6) || ']') AS p95,
	json_extract(w.stats, '$[' || (m.key*9+7) || ']') AS last,
	strftime('%Y-%m-%dT%H:%M:%fZ', w.bucket + json_extract(w.stats, '$[' || (m.key*9+8) || ']') / 1e6, 'unixepoch') AS last_at
	FROM `
	sqliteViewEnd = ` w, json_each(w.metrics) m;
`
)
