package anomaly

import "weir/internal/platform/sqldb"

// migrations create the tables of this package in the control store. Times are microseconds since
// 1970, days are days since 1970.
func migrations() []sqldb.Migration {
	const tables = `
CREATE TABLE anomaly_device (
	fleet TEXT NOT NULL, device_id TEXT NOT NULL, firmware TEXT NOT NULL, learning_from BIGINT NOT NULL,
	usual_day INTEGER NOT NULL DEFAULT -1, usual TEXT NOT NULL DEFAULT '{}',
	PRIMARY KEY (fleet, device_id));
CREATE TABLE anomaly_day (
	day INTEGER PRIMARY KEY, computed_at BIGINT NOT NULL, devices BIGINT NOT NULL);
`
	return []sqldb.Migration{{SQLite: tables, Postgres: tables}}
}
