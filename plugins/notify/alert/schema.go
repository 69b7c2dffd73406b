package alert

import "weir/internal/platform/sqldb"

// migrations returns the tables of this room in the control store. Times are microseconds since 1970.
//
//   - alert: all alerts. A subject has at most one open alert: one that opens meanwhile is folded into it. notify_after
//     is set while people are still to be notified.
//   - alert_notice: one message to people about one or many alerts. Once sealed it does not change and may be sent.
//   - alert_delivery: the result of a notice on a channel.
//   - alert_channel: since when a channel exists; it does not send older notices.
//   - alert_open: the view that detectors read after a restart.
func migrations() []sqldb.Migration {
	const tables = `
CREATE TABLE alert (
	alert_id TEXT PRIMARY KEY, kind TEXT NOT NULL, fleet TEXT NOT NULL, device_id TEXT NOT NULL, metric TEXT NOT NULL,
	rule TEXT NOT NULL, severity TEXT NOT NULL, summary TEXT NOT NULL, value DOUBLE PRECISION, event_id TEXT NOT NULL,
	record TEXT NOT NULL, subject TEXT NOT NULL, state TEXT NOT NULL, folded_into TEXT,
	opened_at BIGINT NOT NULL, recorded_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
	acknowledged_at BIGINT, acknowledged_by TEXT NOT NULL DEFAULT '', resolved_at BIGINT, resolved_by TEXT NOT NULL DEFAULT '',
	notify_after BIGINT, announced_at BIGINT, escalated_at BIGINT);
CREATE INDEX alert_by_subject ON alert (subject, opened_at);
CREATE INDEX alert_by_fleet ON alert (fleet, opened_at, alert_id);
CREATE INDEX alert_by_device ON alert (fleet, device_id, opened_at, alert_id);
CREATE INDEX alert_unresolved ON alert (fleet, device_id) WHERE state <> 'resolved';
CREATE INDEX alert_by_time ON alert (opened_at, alert_id);
CREATE VIEW alert_open AS SELECT fleet, device_id, metric, rule, severity, alert_id, opened_at FROM alert
	WHERE state <> 'resolved' AND kind = 'metric';
CREATE TABLE alert_notice (
	notice_id TEXT PRIMARY KEY, group_id TEXT NOT NULL, reason TEXT NOT NULL, kind TEXT NOT NULL, fleet TEXT NOT NULL,
	rule TEXT NOT NULL, severity TEXT NOT NULL, count BIGINT NOT NULL, alerts TEXT NOT NULL,
	created_at BIGINT NOT NULL, send_at BIGINT NOT NULL, sealed_at BIGINT);
CREATE INDEX alert_notice_unsealed ON alert_notice (send_at) WHERE sealed_at IS NULL;
CREATE INDEX alert_notice_sealed ON alert_notice (sealed_at);
CREATE INDEX alert_notice_by_group ON alert_notice (group_id, reason, sealed_at);
CREATE TABLE alert_channel (channel TEXT PRIMARY KEY, since BIGINT NOT NULL);
CREATE TABLE alert_delivery (
	notice_id TEXT NOT NULL, channel TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
	next_at BIGINT NOT NULL, claimed_until BIGINT NOT NULL DEFAULT 0, first_at BIGINT, last_at BIGINT,
	last_error TEXT NOT NULL DEFAULT '', PRIMARY KEY (notice_id, channel));
CREATE INDEX alert_delivery_due ON alert_delivery (channel, next_at) WHERE state IN ('pending', 'failed');
`
	const rules = `
DROP VIEW alert_open;
CREATE VIEW alert_open AS SELECT fleet, device_id, metric, rule, severity, alert_id, opened_at FROM alert
	WHERE state <> 'resolved' AND kind <> 'pipeline';
`
	return []sqldb.Migration{{SQLite: tables, Postgres: tables}, {SQLite: rules, Postgres: rules}}
}
