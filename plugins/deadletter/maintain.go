package deadletter

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/plugins/event"
	"weir/plugins/lake"
)

const (
	deadLetterFieldKeep      = "keep"
	deadLetterFieldHeld      = "held_fleets"
	deadLetterFieldCompact   = "compact"
	deadLetterFieldLifecycle = "lifecycle"
	deadLetterFieldDryRun    = "dry_run"
	deadLetterFieldNow       = "now"
)

func maintainSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("0.1.0").
		Categories("Weir").
		Summary("Keeps the dead-letter store in order: merges small objects, and deletes dead letters that are old enough.").
		Description(`
Each message is one run, and is replaced by a JSON report of what was done. Small objects are merged by the hour, which changes no
answer; days that ended longer than `+"`keep`"+` ago are deleted, but for the rows of held fleets. Runs may overlap, stop anywhere and be
repeated. A run that fails leaves the message errored.`).
		Field(service.NewStringField(deadLetterFieldURL).
			Description("The store: `file:///abs/dir` or `s3://bucket/prefix?region=…`.").
			Example("file:///var/lib/weir/dead-letter")).
		Field(service.NewDurationField(deadLetterFieldKeep).
			Description("How long a day's dead letters are kept after it ended; 0s keeps them for good. What was written in the last 24 hours always stays.").
			Default("720h")).
		Field(service.NewInterpolatedStringField(deadLetterFieldHeld).
			Description("Fleets whose rows are not deleted, however old; comma-separated.").
			Default("")).
		Field(service.NewBoolField(deadLetterFieldCompact).
			Description("Whether to merge small objects.").
			Default(true)).
		Field(service.NewBoolField(deadLetterFieldLifecycle).
			Description("Where the store is S3: whether to keep the bucket's lifecycle rules right, which end unfinished uploads, and expire objects some days after the time to keep, should weir not run any more. Needs the right to read and write them. Rules of others are left alone.").
			Default(true).Advanced()).
		Field(service.NewBoolField(deadLetterFieldDryRun).
			Description("Whether to only report what would be deleted.").
			Default(false)).
		Field(service.NewInterpolatedStringField(deadLetterFieldNow).
			Description("The time that the run is of, RFC 3339.").
			Default("${! now() }").Advanced()).
		Example("Every ten minutes", "", `
input:
  generate:
    interval: 10m
    mapping: root = {}
pipeline:
  processors:
    - dead_letter_maintain:
        url: file:///var/lib/weir/dead-letter
        keep: 720h
output:
  drop: {}
`)
}

// maintain is dead_letter_maintain.
type maintain struct {
	url       string
	res       *service.Resources
	duty      lake.Duty
	held, now *service.InterpolatedString

	merged, removed *service.MetricCounter
}

func newMaintain(conf *service.ParsedConfig, res *service.Resources) (*maintain, error) {
	m := &maintain{
		res: res, duty: lake.Duty{Table: Table()},
		merged:  res.Metrics().NewCounter("weir_dead_letter_merged_objects_total"),
		removed: res.Metrics().NewCounter("weir_dead_letter_expired_rows_total"),
	}
	var err error
	if m.url, err = conf.FieldString(deadLetterFieldURL); err != nil {
		return nil, err
	}
	if m.duty.Retention.Keep, err = conf.FieldDuration(deadLetterFieldKeep); err != nil {
		return nil, err
	}
	if m.duty.Compact, err = conf.FieldBool(deadLetterFieldCompact); err != nil {
		return nil, err
	}
	if m.duty.Lifecycle, err = conf.FieldBool(deadLetterFieldLifecycle); err != nil {
		return nil, err
	}
	if m.duty.Retention.DryRun, err = conf.FieldBool(deadLetterFieldDryRun); err != nil {
		return nil, err
	}
	if m.held, err = conf.FieldInterpolatedString(deadLetterFieldHeld); err != nil {
		return nil, err
	}
	if m.now, err = conf.FieldInterpolatedString(deadLetterFieldNow); err != nil {
		return nil, err
	}
	return m, nil
}

// Process does one run. What it deleted is deleted for good when it returns.
func (m *maintain) Process(ctx context.Context, msg *service.Message) (service.MessageBatch, error) {
	text, err := m.now.TryString(msg)
	if err != nil {
		return nil, fmt.Errorf("reading field %s: %w", deadLetterFieldNow, err)
	}
	now, ok := event.ParseTime(text)
	if !ok {
		return nil, fmt.Errorf("reading field %s: %q is no time", deadLetterFieldNow, text)
	}
	duty := m.duty
	held, err := m.held.TryString(msg)
	if err != nil {
		return nil, fmt.Errorf("reading field %s: %w", deadLetterFieldHeld, err)
	}
	duty.Retention.Held = event.Items(held)
	store, release, err := lake.Shared(ctx, m.res, m.url)
	if err != nil {
		return nil, err
	}
	defer release()
	report, err := duty.Do(ctx, store, now)
	m.merged.Incr(int64(report.Merged))
	if !report.DryRun {
		m.removed.Incr(report.Retention.Rows)
	}
	if err != nil {
		return nil, fmt.Errorf("maintaining the dead-letter store: %w", err)
	}
	raw, err := json.Marshal(report)
	if err != nil {
		return nil, fmt.Errorf("writing the report: %w", err)
	}
	msg.SetBytes(raw)
	return service.MessageBatch{msg}, nil
}

func (m *maintain) Close(context.Context) error { return nil }

var _ service.Processor = (*maintain)(nil)
