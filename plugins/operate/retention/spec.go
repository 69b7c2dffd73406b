// Package retention keeps all stores in order, on one clock: it merges small
// objects, deletes what is old enough in every store, but nothing of a fleet
// that is held, and gives the space back. What a crash leaves is done by the
// next run.
package retention

import (
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

const (
	maintainFieldURL         = "url"
	maintainFieldKeep        = "keep"
	maintainFieldRaw         = "raw"
	maintainFieldDeadLetters = "dead_letters"
	maintainFieldRollups     = "rollups"
	maintainFieldLedgers     = "keep_ledgers"
	maintainFieldControl     = "control"
	maintainFieldAuditLog    = "keep_audit_log"
	maintainFieldAlerts      = "keep_alerts"
	maintainFieldReplays     = "keep_replays"
	maintainFieldCompact     = "compact"
	maintainFieldLifecycle   = "lifecycle"
	maintainFieldDryRun      = "dry_run"
	maintainFieldNow         = "now"
)

func spec() *service.ConfigSpec {
	lakeURL := func(dir string) *service.ConfigField {
		return service.NewStringField(maintainFieldURL).
			Description("The store: `file:///abs/dir` or `s3://bucket/prefix?region=…`.").Example("file:///var/lib/weir/" + dir)
	}
	sqlURL := func(file string) *service.ConfigField {
		return service.NewStringField(maintainFieldURL).Secret().
			Description("The SQL store: `sqlite://PATH` or `postgres://…`.").Example("sqlite:///var/lib/weir/" + file)
	}
	keep := func(name, time, description string) *service.ConfigField {
		return service.NewDurationField(name).Description(description + " `0s` keeps them for good.").Default(time)
	}
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Weir").
		Summary("Keeps all stores in order: merges small objects, deletes what is old enough, and gives its space back.").
		Description(`
Each message is one run, and is replaced by its report in JSON: what went from each store, what only a hold keeps, and what failed. A
store that fails keeps no other from its turn; the message is then errored. Runs may overlap, stop anywhere and be repeated.

Nothing is deleted of a fleet that an admin holds (`+"`weir hold`, `PUT /v1/holds/{fleet}`"+`). Holds are read before every deletion;
while they cannot be read, nothing is deleted. Nor is it for a day after the clock has jumped ahead by more than seven days since
the last run, or there was none for as long: the run fails and says so. Rows of which nobody can tell whose they are stay while any fleet is held.

Raw events and dead letters go by the day, when all of it is old enough; what was written in the last 24 hours always stays. Where
their store is S3, the bucket's own rules are kept right too: they delete two days later, should weir not run any more, and not at
all while a fleet is held.

### Metrics

`+"`weir_maintain_removed_rows_total{store}`, `weir_maintain_removed_objects_total{store}`, `weir_maintain_removed_bytes_total{store}`, `weir_maintain_merged_objects_total{store}`, `weir_maintain_freed_bytes_total{store}`"+` (of SQLite files), and of the last run
`+"`weir_maintain_held_rows{store}`, `weir_maintain_held_fleets`, `weir_maintain_failing_stores`, `weir_maintain_last_success_seconds`"+` (since 1970).`).
		Field(service.NewObjectField(maintainFieldRaw, lakeURL("raw"),
			keep(maintainFieldKeep, "2160h", "How long a day's events are kept after it ended.")).
			Description("Raw events.")).
		Field(service.NewObjectField(maintainFieldDeadLetters, lakeURL("dead-letter"),
			keep(maintainFieldKeep, "720h", "How long a day's dead letters are kept after it ended.")).
			Description("Dead letters.")).
		Field(service.NewObjectField(maintainFieldRollups, sqlURL("rollups.db"),
			keep(maintainFieldKeep, "17520h", "How long rollups are kept, in whole days. Give `rollup_store` the same time as `retention`."),
			keep(maintainFieldLedgers, "168h", "How long a window remembers which events it counted, after its last change. Events that are delivered again later than that count twice; replays of such windows are refused.")).
			Description("Rollups.")).
		Field(service.NewObjectField(maintainFieldControl, sqlURL("control.db"),
			keep(maintainFieldAuditLog, "17520h", "How long the audit log is kept, with released holds and the reports of these runs."),
			keep(maintainFieldAlerts, "2160h", "How long resolved alerts are kept, and what was sent of them."),
			keep(maintainFieldReplays, "8760h", "How long replays are kept after they ended.")).
			Description("The control store. It also has the holds.")).
		Field(service.NewBoolField(maintainFieldCompact).
			Description("Whether to merge small objects, which changes no answer.").
			Default(true)).
		Field(service.NewBoolField(maintainFieldLifecycle).
			Description("Where a store is S3: whether to keep the bucket's lifecycle rules right, which also end unfinished uploads. Needs the right to read and write them. Rules of others are left alone; one that deletes what is to be kept makes the run fail.").
			Default(true).Advanced()).
		Field(service.NewBoolField(maintainFieldDryRun).
			Description("Whether to only report what would be deleted.").
			Default(false)).
		Field(service.NewInterpolatedStringField(maintainFieldNow).
			Description("The time that the run is of, RFC 3339: for tests. Empty is the clock on the wall.").
			Default("").Advanced()).
		Example("Every ten minutes", "", `
input:
  generate:
    interval: 10m
    mapping: root = {}
pipeline:
  processors:
    - maintain:
        raw:
          url: file:///var/lib/weir/raw
        dead_letters:
          url: file:///var/lib/weir/dead-letter
        rollups:
          url: sqlite:///var/lib/weir/rollups.db
        control:
          url: sqlite:///var/lib/weir/control.db
output:
  drop: {}
`)
}

// config is the processor's config.
type config struct {
	raw, deadLetters, rollups, control    string
	keepRaw, keepDeadLetters              time.Duration
	keepRollups, keepLedgers              time.Duration
	keepAuditLog, keepAlerts, keepReplays time.Duration
	compact, lifecycle, dryRun            bool
	now                                   *service.InterpolatedString
}

func newConfig(conf *service.ParsedConfig) (c config, err error) {
	for _, f := range []struct {
		of, name string
		to       any
	}{
		{maintainFieldRaw, maintainFieldURL, &c.raw}, {maintainFieldRaw, maintainFieldKeep, &c.keepRaw},
		{maintainFieldDeadLetters, maintainFieldURL, &c.deadLetters}, {maintainFieldDeadLetters, maintainFieldKeep, &c.keepDeadLetters},
		{maintainFieldRollups, maintainFieldURL, &c.rollups}, {maintainFieldRollups, maintainFieldKeep, &c.keepRollups},
		{maintainFieldRollups, maintainFieldLedgers, &c.keepLedgers}, {maintainFieldControl, maintainFieldURL, &c.control},
		{maintainFieldControl, maintainFieldAuditLog, &c.keepAuditLog}, {maintainFieldControl, maintainFieldAlerts, &c.keepAlerts},
		{maintainFieldControl, maintainFieldReplays, &c.keepReplays},
	} {
		switch to := f.to.(type) {
		case *string:
			*to, err = conf.FieldString(f.of, f.name)
		case *time.Duration:
			*to, err = conf.FieldDuration(f.of, f.name)
		}
		if err != nil {
			return c, err
		}
	}
	for _, f := range []struct {
		name string
		to   *bool
	}{{maintainFieldCompact, &c.compact}, {maintainFieldLifecycle, &c.lifecycle}, {maintainFieldDryRun, &c.dryRun}} {
		if *f.to, err = conf.FieldBool(f.name); err != nil {
			return c, err
		}
	}
	c.now, err = conf.FieldInterpolatedString(maintainFieldNow)
	return c, err
}
