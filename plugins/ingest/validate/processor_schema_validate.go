// Package validate judges events by the schema of their firmware.
package validate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/conf"
	"weir/internal/platform/text"
	"weir/internal/platform/trace"
	"weir/plugins/ingest/registry"
)

const (
	schemaFieldURL        = "url"
	schemaFieldAPIKey     = "api_key"
	schemaFieldSubject    = "subject"
	schemaFieldRefresh    = "refresh"
	schemaFieldCacheDir   = "cache_dir"
	schemaFieldClockAhead = "clock_ahead_tolerance"
	schemaFieldLateAfter  = "late_after"
	schemaFieldMaxAge     = "max_age"
	schemaFieldFleetAge   = "max_age_of_fleets"
)

func validateSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Utility").
		Summary("Judges events by the schema of their firmware. It marks, and drops or reorders nothing.").
		Description(`
The field `+"`device_firmware_version`"+` chooses the schema: each version of the subject carries the firmware it describes as a range of semantic versions in the keyword `+"`x-weir-firmware`"+`, such as `+"`>=2.0.0 <3.0.0`"+`. Alternatives are separated by `+"`||`"+`; where ranges overlap, the newest version wins; a pre-release belongs to the version it precedes.

A valid event gets the metadata

- `+"`weir_schema`"+`: subject and version, `+"`telemetry/2`"+`,
- `+"`weir_flags`"+`, if there are any: `+"`clock_ahead`, `late`"+`,
- `+"`weir_unknown_metrics`"+`, if there are any: names of metrics that the schema does not declare. They are kept, and not aggregated,
- `+"`local_device`"+`: the device, for use as the record key.

An event that is not valid fails with its reason as errored message, which carries a code and the JSON pointers of everything that is wrong:

- `+"`invalid_json`"+`: not JSON, or with a duplicate key, a number beyond a double, invalid UTF-8 or too many levels,
- `+"`invalid_event`"+`: without what every event must have,
- `+"`unknown_firmware`"+`: no schema is registered for its firmware,
- `+"`schema_violation`"+`: not what its schema says,
- `+"`stale`"+`: valid, and further from the time it was received than `+"`max_age`"+`,
- `+"`blocked`"+`: valid, and of a device or user whose events are refused for a time.

Formats are asserted. A `+"`$ref`"+` to another document is never followed.

While there is no schema at all (the store is down and was never reached), events wait. Once there are some, they stay in force whatever becomes of the store; with `+"`cache_dir`"+` also across a restart. A version that is registered later is in force within a few `+"`refresh`"+` intervals.

### Performance

A schema is compiled to a plan that reads the event's bytes once: well under a microsecond for a valid event, without allocation. Plans know types, required, properties, additionalProperties, bounds of numbers, strings, arrays and objects, multipleOf, enum, const, pattern, formats, items, `+"`$ref` and allOf"+`. A schema that uses anything else, and any event that a plan does not accept, is left to github.com/santhosh-tekuri/jsonschema, some 20 µs an event.

### Metrics

`+"`weir_schema_events_total{schema,verdict}`, `weir_schema_flagged_total{flag}`, `weir_schema_unknown_names_total{place=metrics|event,name}`"+` (the first hundred names, then `+"`(other)`"+`), the gauge `+"`weir_schema_versions_loaded{subject}`"+` and, with `+"`blocks`, `weir_block_age_seconds`.").
		Field(service.NewStringField(schemaFieldURL).
			Description("Where the schemas are. `file://DIR` has files `SUBJECT/v1.json`, `SUBJECT/v2.json` and so on (or "+
				"`v1.json` where DIR is the subject's own). `sqlite://PATH` and `postgres://…` are the store of a registry, "+
				"which is made and seeded with the shipped schemas if it is empty. `http://` and `https://` are a registry with "+
				"Confluent's API, weir's (`http://HOST:PORT/registry`) or another; a user and password may stand in the URL.").
			Secret().
			Example("file://schemas").Example("sqlite:///var/lib/weir/control.db").Example("https://registry.example.com")).
		Field(service.NewStringField(schemaFieldAPIKey).
			Description("The API key for a registry over HTTP, sent as bearer token. Empty sends none.").
			Default("").Secret().Advanced()).
		Field(service.NewStringField(schemaFieldSubject).
			Description("The subject whose versions are schemas of events.").
			Default("telemetry")).
		Field(service.NewDurationField(schemaFieldRefresh).
			Description("How often the store is asked for new versions.").
			Default("2s").Advanced()).
		Field(service.NewStringField(schemaFieldCacheDir).
			Description("A folder that keeps the last known schemas for a restart while their store is down. Empty keeps none.").
			Default("").Advanced()).
		Field(service.NewDurationField(schemaFieldClockAhead).
			Description("How far an event's timestamp may be ahead of the time it was received before it is flagged "+
				"`clock_ahead`, and aggregated at its received time.").
			Default("5m")).
		Field(service.NewDurationField(schemaFieldLateAfter).
			Description("How old an event may be when received before it is flagged `late`.").
			Default("10m")).
		Field(service.NewStringField(schemaFieldMaxAge).
			Description("How far an event's timestamp may be from the time it was received, in either direction, such as "+
				"`24h`. One that is further fails as `stale`. Empty takes all: telemetry counts however late it is.").
			Default("").Example("24h")).
		Field(service.NewStringMapField(schemaFieldFleetAge).
			Description("The same for some fleets, by name; empty takes all of a fleet.").
			Default(map[string]any{}).Example(map[string]any{"acme": "72h", "museum": ""}).Advanced()).
		Field(blocksField()).
		Example("At ingest", "Events that are not valid are routed by their error.", `
pipeline:
  processors:
    - label: validate
      schema_validate:
        url: file://schemas

output:
  fallback:
    - reject_errored:
        stdout: {}
    - drop: {}
`)
}

// Register registers the components of this package.
func Register(env *service.Environment) error {
	if err := env.RegisterProcessor("schema_support", supportSpec(), newSupport); err != nil {
		return err
	}
	return env.RegisterBatchProcessor("schema_validate", validateSpec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.BatchProcessor, error) {
			return newValidator(conf, res)
		})
}

type validator struct {
	live       *registry.Live
	rules      atomic.Pointer[rules] // of the latest set
	clockAhead time.Duration
	lateAfter  time.Duration
	ages       *ages
	blocks     *blocks
	tally      *tally
	trace      *trace.Provider
	judges     sync.Pool // *judge, of any rules
}

func newValidator(parsed *service.ParsedConfig, res *service.Resources) (*validator, error) {
	p := &validator{tally: newTally(res.Metrics()), trace: trace.Of(res)}
	f := registry.Following{Changed: p.tally.loaded}
	err := conf.Read(parsed, schemaFieldURL, registry.URL(&f.URL),
		schemaFieldAPIKey, &f.APIKey, schemaFieldSubject, &f.Subject,
		schemaFieldCacheDir, &f.CacheDir, schemaFieldRefresh, conf.Positive(&f.Every),
		schemaFieldClockAhead, conf.Positive(&p.clockAhead), schemaFieldLateAfter, conf.Positive(&p.lateAfter))
	var wrong error
	p.ages, wrong = agesOf(parsed)
	follow, unread := readBlocks(parsed)
	err = errors.Join(err, wrong, unread)
	if err = conf.Checked(parsed, err); err != nil {
		return nil, err
	}
	if p.live, err = registry.Follow(f, res); err != nil {
		return nil, err
	}
	p.blocks = follow(res)
	return p, nil
}

// ProcessBatch marks the messages of the batch in place. It returns an error, having marked
// nothing, only if it was told to stop while waiting for the first schemas or the first list of
// blocks.
func (p *validator) ProcessBatch(ctx context.Context, batch service.MessageBatch) ([]service.MessageBatch, error) {
	defer p.trace.Batch("schema_validate", batch).End(nil)
	set, err := p.live.Current(ctx)
	if err == nil {
		err = p.blocks.ready(ctx)
	}
	if err != nil {
		return nil, err
	}
	r := p.rulesOf(set)
	j, _ := p.judges.Get().(*judge)
	if j == nil || j.rules != r {
		j = newJudge(r)
	}
	defer p.judges.Put(j)
	count := p.tally.batch()
	m := marker{now: time.Now(), clockAhead: p.clockAhead, lateAfter: p.lateAfter, ages: p.ages,
		blocks: p.blocks}
	originals := make([][]byte, len(batch))
	for i, msg := range batch {
		if msg.GetError() != nil {
			continue // another processor has failed it already
		}
		raw, err := msg.AsBytes()
		if err != nil {
			msg.SetError(fmt.Errorf("reading the event: %w", err))
			continue
		}
		v := j.judge(raw)
		flags := m.mark(msg, &v)
		if v.Rejection == nil {
			originals[i] = raw
			event.KeepOriginal(msg, &originals[i])
		}
		count.add(&v, flags)
	}
	count.done()
	return []service.MessageBatch{batch}, nil
}

// rulesOf makes the plans of each set once, or a few times if several callers ask at once.
func (p *validator) rulesOf(set *registry.Set) *rules {
	r := p.rules.Load()
	if r == nil || r.set != set {
		r = rulesOf(set)
		p.rules.Store(r)
	}
	return r
}

// Close passes on the last counts, and stops following the schemas and the blocks.
func (p *validator) Close(ctx context.Context) error {
	p.tally.tell()
	done := make(chan struct{})
	go func() { p.live.Close(); p.blocks.close(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("closing the schema store: %w", ctx.Err())
	}
}

// marker writes verdicts onto messages.
type marker struct {
	now                   time.Time // for messages without a received time
	clockAhead, lateAfter time.Duration
	ages                  *ages
	blocks                *blocks

	receivedText string // the messages of a request share it
	received     time.Time

	// The last values, boxed for metadata: most events have the same again.
	schema       *planned
	schemaValue  any
	unknown      string
	unknownValue any
	buf          []byte
}

// mark writes the verdict to the message and returns the flags it set. It rejects a valid event
// that is too far from the time it was received, or whose device or user is blocked.
func (m *marker) mark(msg *service.Message, v *verdict) (flags string) {
	received := m.now
	if v.Rejection == nil {
		received = m.receivedAt(msg)
		v.Rejection = m.ages.refuse(event.FleetOf(msg), v.Time, received)
	}
	if v.Rejection == nil {
		v.Rejection = m.blocks.refuse(msg, v.Device, m.now)
	}
	if v.Rejection != nil {
		event.MarkRejected(msg, v.Rejection)
		return ""
	}
	if v.Schema != m.schema {
		m.schema, m.schemaValue = v.Schema, v.Schema.name
	}
	msg.MetaSetMut(event.HeaderSchema, m.schemaValue)
	msg.MetaSetMut(event.MetaDevice, v.Device)
	switch {
	case v.Time.After(received.Add(m.clockAhead)):
		flags = event.FlagClockAhead
	case v.Time.Before(received.Add(-m.lateAfter)):
		flags = event.FlagLate
	}
	if flags != "" {
		msg.MetaSetMut(event.HeaderFlags, flags)
	}
	if len(v.Metrics) > 0 {
		m.buf = m.buf[:0]
		for _, name := range v.Metrics {
			m.buf = event.AppendItem(m.buf, string(name))
		}
		if m.unknownValue == nil || m.unknown != string(m.buf) {
			m.unknown = string(m.buf)
			m.unknownValue = m.unknown
		}
		msg.MetaSetMut(event.HeaderUnknownMetrics, m.unknownValue)
	}
	return flags
}

func (m *marker) receivedAt(msg *service.Message) time.Time {
	stamp := event.Meta(msg, event.HeaderReceivedAt)
	if stamp == "" {
		return m.now
	}
	if stamp != m.receivedText {
		t, ok := text.ParseInstant(stamp)
		if !ok {
			return m.now
		}
		m.receivedText, m.received = stamp, t
	}
	return m.received
}

var _ service.BatchProcessor = (*validator)(nil)
