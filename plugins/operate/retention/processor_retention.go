// Package retention runs all stores' retention on one clock: it merges small objects, deletes what
// is old enough in every store, except what a hold protects, and returns the space to the system.
// After a crash, the next run does the rest.
package retention

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/lifecycle"
	"weir/internal/platform/conf"
	"weir/internal/platform/flow"
	"weir/internal/platform/kafka"
	"weir/internal/platform/meter"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
	"weir/plugins/process/dedupe"
	"weir/plugins/store/lake"
)

const (
	fieldURL       = "url"
	fieldClaims    = "claims"
	fieldOld       = "old_rollups"
	fieldOnly      = "only"
	fieldLog       = "log"
	fieldCompact   = "compact"
	fieldLifecycle = "lifecycle"
	fieldDryRun    = "dry_run"
	fieldNow       = "now"
)

// place describes the object of fields for one place.
type place struct {
	lifecycle.Place
	description, example string
}

func places() []place {
	return []place{
		{lifecycle.Raw, "Raw events.", "file:///var/lib/weir/raw"},
		{lifecycle.DeadLetters, "Dead letters.", "file:///var/lib/weir/dead-letter"},
		{lifecycle.Rollups, "Rollups.", "sqlite:///var/lib/weir/rollups.db"},
		{lifecycle.Control, "The control store. It also has the holds.", "sqlite:///var/lib/weir/control.db"},
	}
}

// spec has a field for each time to keep that a store of the list declares.
func spec(list lifecycle.List) *service.ConfigSpec {
	s := service.NewConfigSpec().
		Version("1.0.0").
		Categories("Weir").
		Summary("Maintains all stores: merges small objects, deletes what is old enough, and frees its space.").
		Description(`
Each message is one run, and is replaced by its report in JSON: what was deleted from each store, what is kept only because of a hold, and what failed. If a
store fails, the others are maintained nevertheless, and the message is errored. Runs may overlap, stop anywhere and be repeated.

Nothing of a fleet under a hold is deleted (` + "`weir hold`, `PUT /v1/holds/{fleet}`" + `). Holds are read before every deletion;
while they cannot be read, nothing is deleted. Nothing is deleted for a day, either, after the clock has jumped ahead by more than seven days since
the last run, or if the last run was that long ago: the run fails with that reason. Rows whose fleet is not known stay while any fleet is held.

Raw events and dead letters are deleted by the day, when the whole day is old enough; what was written in the last 24 hours always stays. If
their store is S3, the lifecycle rules of the bucket are maintained as well: they delete two days later, in case weir does not run any more, and nothing
while a fleet is held.

### Metrics

` + "`weir_retention_removed_rows_total{store}`, `weir_retention_removed_objects_total{store}`, `weir_retention_removed_bytes_total{store}`, " +
			"`weir_retention_merged_objects_total{store}`, `weir_retention_freed_bytes_total{store}`" + ` (of SQLite files), and of the last run
` + "`weir_retention_held_rows{store}`, `weir_retention_held_fleets`, `weir_retention_failing_stores`, `weir_retention_success_timestamp_seconds`" +
			` (since 1970; 0 while there was none). At the start and with each run it measures
` + "`weir_retention_stored_bytes{store}`, `weir_retention_stored_rows{store}`, `weir_retention_disk_free_bytes{store}`.")
	for _, p := range places() {
		s = s.Field(service.NewObjectField(string(p.Place), append([]*service.ConfigField{urlField(p)},
			keepFields(list, p.Place)...)...).
			Description(p.description))
	}
	return s.
		Field(service.NewStringField(fieldOld).Secret().Default("").
			Description("The store of old minutes, as `old_url` of `rollup_store`: all objects there are measured, also those "+
				"that are replaced and not deleted yet. Empty: only those that the rollups name.").
			Example("s3://bucket/rollups?region=eu-west-1").Advanced()).
		Field(service.NewStringField(fieldClaims).Secret().Default("").
			Description("The store of claims, as the URL of `event_dedupe`. It is measured, and nothing in it is deleted. "+
				"Empty: it is not measured.").Example("redis://localhost:6379/0").Advanced()).
		Fields(kafka.OptionalFields("Addresses of the brokers of the log, whose topics are measured. With none, they are "+
			"not.")...).
		Field(service.NewStringListField(fieldOnly).
			Description("Which stores are maintained: `raw`, `dead_letters`, `rollups`, `control`. Empty: all. "+
				"If there are two logs with separate retention, leave the stores that both share to one of the runs.").
			Default([]any{}).Advanced()).
		Field(service.NewStringField(fieldLog).
			Description("The log of the raw events and dead letters: `telemetry` or `user-events`. Outcomes of dead letters, "+
				"which are in the control store, are deleted by the retention of their log.").
			Default(event.LogTelemetry).Advanced()).
		Field(service.NewBoolField(fieldCompact).
			Description("Whether to merge small objects, which changes no answer.").
			Default(true)).
		Field(service.NewBoolField(fieldLifecycle).
			Description("Where a store is S3: whether to keep the bucket's lifecycle rules right, which also end unfinished "+
				"uploads. "+
				"Needs the right to read and write them. Rules of others are left alone; one that deletes what is to be kept "+
				"makes the run fail.").
			Default(true).Advanced()).
		Field(service.NewBoolField(fieldDryRun).
			Description("Whether to only report what would be deleted.").
			Default(false)).
		Field(service.NewInterpolatedStringField(fieldNow).
			Description("For tests: the time of the run, in RFC 3339, instead of the clock.").
			Default("").Advanced()).
		Example("Every ten minutes", "", `
input:
  generate:
    interval: 10m
    mapping: root = {}
pipeline:
  processors:
    - retention:
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

func urlField(p place) *service.ConfigField {
	if p.SQL() {
		return service.NewStringField(fieldURL).Secret().
			Description("The SQL store: `sqlite://PATH` or `postgres://…`.").Example(p.example)
	}
	return service.NewStringField(fieldURL).Secret().
		Description("The store: `file:///abs/dir` or `s3://bucket/prefix?region=…`.").Example(p.example)
}

func keepFields(list lifecycle.List, at lifecycle.Place) (fields []*service.ConfigField) {
	for _, kind := range list {
		for _, k := range kind.Keep {
			if k.Place == at && k.Default != "" {
				fields = append(fields, service.NewDurationField(k.Field).Default(k.Default).
					Description(k.Description+" `0s` keeps them for good."))
			}
		}
	}
	return fields
}

// config is the processor's parsed configuration.
type config struct {
	urls                       map[lifecycle.Place]string
	old, claims                string                                       // "": they are not measured
	log                        *kafka.Cluster                               // nil: it is not measured
	keeps                      map[lifecycle.Place]map[string]time.Duration // by field
	only                       []string                                     // places; none: all
	ofLog                      string
	compact, lifecycle, dryRun bool
	now                        *service.InterpolatedString
}

func newConfig(parsed *service.ParsedConfig, list lifecycle.List) (c config, err error) {
	c.urls, c.keeps = map[lifecycle.Place]string{}, map[lifecycle.Place]map[string]time.Duration{}
	for _, p := range places() {
		var url string
		of := lake.URL(&url)
		if p.SQL() {
			of = sqldb.URL(&url)
		}
		if err := conf.Read(parsed, string(p.Place)+"."+fieldURL, of); err != nil {
			return c, err
		}
		c.urls[p.Place], c.keeps[p.Place] = url, map[string]time.Duration{}
	}
	for _, kind := range list {
		for _, k := range kind.Keep {
			var keep time.Duration
			if err := conf.Read(parsed, string(k.Place)+"."+k.Field, conf.NotNegative(&keep)); err != nil {
				return c, err
			}
			c.keeps[k.Place][k.Field] = keep
		}
	}
	if err := conf.Read(parsed, fieldOnly, &c.only, fieldLog, &c.ofLog); err != nil {
		return c, err
	}
	if _, err := event.LogOf(c.ofLog); err != nil {
		return c, fmt.Errorf("field %s: %w", fieldLog, err)
	}
	for _, name := range c.only {
		if !slices.ContainsFunc(places(), func(p place) bool { return string(p.Place) == name }) {
			return c, fmt.Errorf("field %s: %q is none of raw, dead_letters, rollups, control", fieldOnly, name)
		}
	}
	switch cluster, err := kafka.FromParsed(parsed); {
	case err == nil:
		c.log = &cluster
	case !errors.Is(err, kafka.ErrNoBroker):
		return c, err
	}
	return c, conf.Read(parsed, fieldCompact, &c.compact, fieldLifecycle, &c.lifecycle, fieldDryRun, &c.dryRun, fieldNow,
		&c.now, fieldClaims, dedupe.MaybeURL(&c.claims), fieldOld, lake.MaybeURL(&c.old))
}

// orders tells whether a place is maintained.
func (c *config) orders(at lifecycle.Place) bool {
	return len(c.only) == 0 || slices.Contains(c.only, string(at))
}

// keepsOf tells whether a store is maintained: this depends on the places of its times to keep,
// which may differ from the place where its data is.
func (c *config) keepsOf(kind lifecycle.Kind) bool {
	return slices.ContainsFunc(kind.Keep, func(k lifecycle.Keep) bool { return c.orders(k.Place) })
}

// Register registers the processor, for the stores of the list.
func Register(env *service.Environment, list lifecycle.List) error {
	if err := list.Check(); err != nil {
		return fmt.Errorf("listing the stores: %w", err)
	}
	construct := func(conf *service.ParsedConfig, res *service.Resources) (service.Processor, error) {
		return newProcessor(conf, res, list)
	}
	if err := env.RegisterProcessor("retention", spec(list), construct); err != nil {
		return err
	}
	return env.RegisterProcessor("maintain", spec(list).Deprecated().
		Summary("The former name of the processor `retention`, which takes the same fields."), construct)
}

// processor is the component retention.
type processor struct {
	config
	list lifecycle.List
	res  *service.Resources

	rows, objects, bytes, merged, freed *service.MetricCounter
	heldRows, held, failing, succeeded  *service.MetricGauge
	stored, storedRows, free            *service.MetricGauge // by store
	measuring                           sync.Mutex
	objectRows                          map[string]map[string]int64 // store -> object -> its number of rows
	failed                              string                      // error of the last measurement; "": none

	stop       context.CancelFunc // stops what began with the processor
	background sync.WaitGroup
}

func newProcessor(parsed *service.ParsedConfig, res *service.Resources, list lifecycle.List) (*processor, error) {
	c, err := newConfig(parsed, list)
	if err = conf.Checked(parsed, err); err != nil {
		return nil, err
	}
	m := res.Metrics()
	var objects, shares []string // the stores of objects, and the labels of what is reported
	for _, kind := range list {
		if !kind.Place.SQL() {
			objects = append(objects, kind.Name)
		}
		switch {
		case len(kind.Keep) == 0:
		case len(kind.Shares) > 0:
			shares = append(shares, kind.Shares...)
		default:
			shares = append(shares, kind.Name)
		}
	}
	r := &processor{
		config: c, list: list, res: res,
		rows:    meter.Counters(m, "weir_retention_removed_rows_total", "store", shares...),
		objects: meter.Counters(m, "weir_retention_removed_objects_total", "store", objects...),
		bytes:   meter.Counters(m, "weir_retention_removed_bytes_total", "store", objects...),
		merged:  meter.Counters(m, "weir_retention_merged_objects_total", "store", objects...),
		freed: meter.Counters(m, "weir_retention_freed_bytes_total", "store",
			string(lifecycle.Rollups), string(lifecycle.Control)),
		heldRows:   meter.Gauges(m, "weir_retention_held_rows", "store", shares...),
		held:       meter.Gauge(m, "weir_retention_held_fleets"),
		stored:     m.NewGauge("weir_retention_stored_bytes", "store"),
		storedRows: m.NewGauge("weir_retention_stored_rows", "store"),
		objectRows: map[string]map[string]int64{},
		free:       m.NewGauge("weir_retention_disk_free_bytes", "store"),
		failing:    meter.Gauge(m, "weir_retention_failing_stores"),            // of the last run of this process
		succeeded:  meter.Gauge(m, "weir_retention_success_timestamp_seconds"), // 0: never, as far as this process knows
	}
	var life context.Context
	life, r.stop = context.WithCancel(context.Background())
	if at, static := r.now.Static(); static && at == "" && !r.dryRun {
		r.room() // a missing value would look like a full disk
		r.background.Go(func() { r.begin(life) })
	}
	return r, nil
}

// begin sets what is known before the first run, which may be far away.
func (r *processor) begin(ctx context.Context) {
	at := lifecycle.NewPlaces(r.res, r.urls)
	defer at.Close()
	if control, err := at.SQL(ctx, lifecycle.Control); err == nil { // else a run reports it
		if last, err := succeededAt(ctx, control); err == nil && !last.IsZero() {
			r.succeeded.Set(last.Unix())
		}
	}
	r.measure(ctx)
}

// Process does one run and replaces the message by its report. What the report says is deleted is
// deleted durably.
func (r *processor) Process(ctx context.Context, msg *service.Message) (service.MessageBatch, error) {
	now, wall, err := r.clock(msg)
	if err != nil {
		return nil, err
	}
	report, err := r.run(flow.WithAside(ctx, flow.Of(r.res)), now, wall && !r.dryRun)
	r.count(report)
	if wall && !r.dryRun {
		r.measure(ctx)
	}
	raw, encoding := json.Marshal(report)
	if encoding != nil {
		return nil, fmt.Errorf("writing the report: %w", encoding)
	}
	msg.SetBytes(raw)
	if err != nil {
		msg.SetError(err) // the message still has the report of what was done
		r.res.Logger().Errorf("keeping the stores in order is tried again: %v", err)
	}
	return service.MessageBatch{msg}, nil
}

// clock returns the time of the run, and whether it is that of the real clock.
func (r *processor) clock(msg *service.Message) (now time.Time, wall bool, err error) {
	at, err := r.now.TryString(msg)
	if err != nil {
		return now, false, fmt.Errorf("reading field %s: %w", fieldNow, err)
	}
	if at == "" {
		return time.Now(), true, nil
	}
	now, ok := text.ParseTime(at)
	if !ok {
		return now, false, fmt.Errorf("reading field %s: %q is no RFC 3339 time with a zone", fieldNow, at)
	}
	return now, false, nil
}

func (r *processor) count(report *Report) {
	r.held.Set(int64(len(report.Held)))
	r.failing.Set(int64(report.Failed()))
	if report.Failed() == 0 {
		r.succeeded.Set(time.Now().Unix())
	}
	for _, s := range report.Stores {
		r.heldRows.Set(s.Kept, s.Store)
		if !report.DryRun {
			r.rows.Incr(s.Rows, s.Store)
		}
		if s.Place == "" { // rows alone
			continue
		}
		r.merged.Incr(int64(s.Merged), s.Store)
		if !report.DryRun {
			r.objects.Incr(int64(s.Objects), s.Store)
			r.bytes.Incr(s.Bytes, s.Store)
		}
	}
	for _, f := range report.Freed {
		r.freed.Incr(f.Bytes, f.Store)
	}
}

// Close stops what began with the processor and waits for it. A run opens and closes what it needs
// itself.
func (r *processor) Close(context.Context) error {
	r.stop()
	r.background.Wait()
	return nil
}

var _ service.Processor = (*processor)(nil)
