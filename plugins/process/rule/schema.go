package rule

import "weir/internal/platform/sqldb"

// migrations returns the tables of this package, in the control store. Times are microseconds since 1970. One
// transaction writes the position of a partition, the state of its keys and the results together.
//
//   - rule_position: the position of a partition. `log` is the id of the log, `next` the offset to read next (-1:
//     any), `time` the watermark. `version` grows with every commit: a process that holds another version in memory
//     must read the state again. `told_at` is the newest recorded_at of its results. `tally` is JSON: counts of
//     outcomes, the rules that drain, and which epoch emits which windows meanwhile.
//   - rule_state: the state of a key, encoded as in codec.go and pattern_codec.go; `epoch` names the rule. `seq` is the
//     last entry of the journal that the state counts. An empty state says that the key is gone: checkpoint.go.
//   - rule_journal: what batches added to a partition since its rows were written, in the order of `seq`, which is the
//     partition's version at that commit: journal.go.
//   - rule_result: the results. The highest revision of an id is the valid one. `sent` is 1 when rule_results has
//     handed it on. In one partition recorded_at never goes back, except from the time of a clock that was far ahead:
//     revisions are handed on in its order. `summed` is 1 when rule_furthest counts it. The `device_id` of sums of all
//     devices is "".
//   - rule_furthest: sums of the results of funnels, by partition and by the hour in which their windows end. `steps`
//     is encoded as in furthest.go. `since` and `told_at` are the recorded_at of the first and the newest result,
//     `thinned` is 1 when retention has deleted some of them. A row that is `due` is computed again from the results
//     after `at_end` and `at_id`.
//   - rule_outbox: the process that hands results on, and its lease.
//   - rule_version: rule sets that were put, and those of files that were active (source 'file'). The text of a row
//     never changes.
//   - rule_activation: the history of activations; the last one is active. A rollback returns to the activation
//     `undo`, 0 is none. `canary` is a version that is active only for `fleets`, a JSON list of names or patterns; 0
//     is none.
//   - rule_switch: from which offset, `first`, a partition used which rules and which reading. The reading is empty
//     where an older weir wrote the row.
//   - rule_reading: how the stream processes events before rules see them: reading.go. Rows never change.
//   - rule_topic: the topics that the stream reads, with their numbers of partitions.
//
// A join of two topics has rows as a partition has. Its topic is both names with a + between them, and its `next`
// counts the records that it was given.
func migrations() []sqldb.Migration {
	const positions = `
CREATE TABLE rule_position (
	topic TEXT NOT NULL, part INTEGER NOT NULL, log TEXT NOT NULL, next BIGINT NOT NULL, time BIGINT NOT NULL,
	version BIGINT NOT NULL, rules TEXT NOT NULL, tally TEXT NOT NULL, updated_at BIGINT NOT NULL,
	told_at BIGINT NOT NULL, PRIMARY KEY (topic, part));
`
	const results = `
CREATE TABLE rule_result (
	id TEXT NOT NULL, revision BIGINT NOT NULL, rule TEXT NOT NULL, fleet TEXT NOT NULL, device_id TEXT NOT NULL,
	window_end BIGINT NOT NULL, recorded_at BIGINT NOT NULL, result TEXT NOT NULL, PRIMARY KEY (id, revision));
CREATE INDEX rule_result_by_rule ON rule_result (fleet, rule, window_end, id);
CREATE INDEX rule_result_by_time ON rule_result (recorded_at);
`
	const state = `
CREATE TABLE rule_state (
	topic TEXT NOT NULL, part INTEGER NOT NULL, epoch TEXT NOT NULL, fleet TEXT NOT NULL, key TEXT NOT NULL,
	device_id TEXT NOT NULL, state `
	const rest = ` NOT NULL, PRIMARY KEY (topic, part, epoch, fleet, key))`
	const handedOn = `
ALTER TABLE rule_result ADD COLUMN sent INTEGER NOT NULL DEFAULT 0;
CREATE INDEX rule_result_unsent ON rule_result (recorded_at, id, revision) WHERE sent = 0;
CREATE TABLE rule_outbox (id TEXT PRIMARY KEY, owner TEXT NOT NULL, lease_until BIGINT NOT NULL);
INSERT INTO rule_outbox (id, owner, lease_until) VALUES ('results', '', 0);
`
	const journal = `
CREATE TABLE rule_journal (
	topic TEXT NOT NULL, part INTEGER NOT NULL, seq BIGINT NOT NULL, entry `
	const versions = `
CREATE TABLE rule_version (
	number BIGINT PRIMARY KEY, version TEXT NOT NULL, rules TEXT NOT NULL, comment TEXT NOT NULL, created_by TEXT NOT NULL,
	created_at BIGINT NOT NULL, text TEXT NOT NULL);
CREATE TABLE rule_activation (
	seq BIGINT PRIMARY KEY, number BIGINT NOT NULL, undo BIGINT NOT NULL, activated_by TEXT NOT NULL, activated_at BIGINT NOT NULL);
INSERT INTO rule_activation (seq, number, undo, activated_by, activated_at) VALUES (1, 0, 0, '', 0);
CREATE TABLE rule_switch (
	topic TEXT NOT NULL, part INTEGER NOT NULL, log TEXT NOT NULL, first BIGINT NOT NULL, version TEXT NOT NULL,
	PRIMARY KEY (topic, part, log, first));
`
	const canaries = `
ALTER TABLE rule_activation ADD COLUMN canary BIGINT NOT NULL DEFAULT 0;
ALTER TABLE rule_activation ADD COLUMN fleets TEXT NOT NULL DEFAULT '[]';
`
	const topics = `
CREATE TABLE rule_topic (topic TEXT PRIMARY KEY, partitions INTEGER NOT NULL);
`
	const sources = `
ALTER TABLE rule_version ADD COLUMN source TEXT NOT NULL DEFAULT 'put';
ALTER TABLE rule_switch ADD COLUMN reading TEXT NOT NULL DEFAULT '';
CREATE TABLE rule_reading (id TEXT PRIMARY KEY, reading TEXT NOT NULL, noted_at BIGINT NOT NULL);
`
	const summed = `
ALTER TABLE rule_result ADD COLUMN summed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX rule_result_unsummed ON rule_result (fleet, rule, window_end, id) WHERE summed = 0 AND substr(rule, 1, 7) = 'funnel_';
CREATE TABLE rule_furthest (
	fleet TEXT NOT NULL, rule TEXT NOT NULL, hour BIGINT NOT NULL, topic TEXT NOT NULL, part INTEGER NOT NULL,
	entries BIGINT NOT NULL, since BIGINT NOT NULL, told_at BIGINT NOT NULL, thinned INTEGER NOT NULL DEFAULT 0,
	due INTEGER NOT NULL DEFAULT 0, at_end BIGINT NOT NULL DEFAULT 0, at_id TEXT NOT NULL DEFAULT '', steps `
	const sums = ` NOT NULL, PRIMARY KEY (fleet, rule, hour, topic, part));
CREATE INDEX rule_furthest_by_time ON rule_furthest (told_at);
CREATE INDEX rule_furthest_due ON rule_furthest (fleet, hour) WHERE due = 1;
`
	const checkpoints = `
ALTER TABLE rule_state ADD COLUMN seq BIGINT NOT NULL DEFAULT 0;
`
	const sumsOfAll = `
CREATE INDEX rule_result_of_all ON rule_result (fleet, id, revision) WHERE device_id = '';
`
	return []sqldb.Migration{{
		SQLite:   positions + results + state + "BLOB" + rest + " WITHOUT ROWID;",
		Postgres: positions + results + state + "BYTEA" + rest + ";",
	}, {SQLite: handedOn, Postgres: handedOn}, {SQLite: versions, Postgres: versions},
		{SQLite: canaries, Postgres: canaries}, {SQLite: topics, Postgres: topics}, {
			SQLite:   journal + "BLOB NOT NULL, PRIMARY KEY (topic, part, seq));",
			Postgres: journal + "BYTEA NOT NULL, PRIMARY KEY (topic, part, seq));",
		}, {SQLite: sources, Postgres: sources}, {SQLite: summed + "BLOB" + sums, Postgres: summed + "BYTEA" + sums},
		{SQLite: checkpoints, Postgres: checkpoints}, {SQLite: sumsOfAll, Postgres: sumsOfAll}}
}
