package quality

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/conf"
	"weir/internal/platform/meter"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
	"weir/plugins/ingest/registry"
	"weir/plugins/store/lake"
)

const (
	fieldRaw     = "raw"
	fieldLetters = "dead_letters"
	fieldControl = "control"
	fieldSchemas = "schemas"
	fieldSubject = "subject"
	fieldNow     = "now"
)

func spec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Weir").
		Summary("Computes the quality of stored events by hour, and profiles of their fields.").
		Description(`
Each message is one run, and is replaced by its report in JSON. A run computes the hours for which objects are stored that were not
included before, the newest hours first, from ten minutes after the end of an hour. An hour that gets late events is computed again as a whole,
so its numbers are exact, whatever was delivered twice. Merging the objects of an hour does not cause that, because the rows stay
the same. Duplicates are counted until an hour and a half after the end of an hour. Of several processes one computes at a time.

It keeps no text of an event, no value of a field that a schema marks as personal data (`+"`x-pii`"+`), and no name of a field that is
personal data itself.

### Metrics

`+"`weir_quality_profiles_total`, `weir_quality_score_ratio{part}`"+` (of all fleets, of the last 24 hours).`).
		Field(service.NewStringField(fieldRaw).Secret().
			Description("The store of raw events: `file://DIR` or `s3://BUCKET?…`.").Example("file://data/raw")).
		Field(service.NewStringField(fieldLetters).Secret().
			Description("The store of dead letters. Empty: rejected events are not counted.").
			Example("file://data/dead-letter").Default("")).
		Field(service.NewStringField(fieldControl).Secret().
			Description("The SQL store of the results: `sqlite://PATH` or `postgres://…`.").
			Example("sqlite://data/control.db")).
		Field(service.NewStringField(fieldSchemas).Secret().
			Description("Where schemas are, as for `schema_validate`. While they cannot be read, nothing is computed.").
			Example("sqlite://data/control.db")).
		Field(service.NewStringField(fieldSubject).Default("telemetry").
			Description("The subject of the schemas: the source of the events, as `GET /v1/quality?source=` has it.")).
		Field(service.NewStringField(fieldNow).Advanced().
			Description("For tests: which hours are over as of this time, in RFC 3339, instead of the clock.").Default("")).
		Example("Every ten minutes", "", `
input:
  generate:
    interval: 10m
    mapping: root = {}
pipeline:
  processors:
    - data_quality:
        raw: file:///var/lib/weir/raw
        control: sqlite:///var/lib/weir/control.db
        schemas: sqlite:///var/lib/weir/control.db
output:
  drop: {}
`)
}

// Register adds the room's component.
func Register(env *service.Environment) error {
	return env.RegisterProcessor("data_quality", spec(),
		func(parsed *service.ParsedConfig, res *service.Resources) (service.Processor, error) {
			return newProcessor(parsed, res)
		})
}

type processor struct {
	raw, letters, control, schemas, subject string
	mu                                      sync.Mutex // one run at a time
	job                                     job
	owner                                   string
	at                                      func() time.Time // by which hours are over
	res                                     *service.Resources
	hours                                   *service.MetricCounter
	score                                   *service.MetricGauge
}

func newProcessor(parsed *service.ParsedConfig, res *service.Resources) (*processor, error) {
	p := &processor{res: res, owner: uuid.NewString(), at: time.Now}
	var now string
	err := conf.Read(parsed, fieldRaw, lake.URL(&p.raw), fieldLetters, lake.MaybeURL(&p.letters),
		fieldControl, sqldb.URL(&p.control), fieldSchemas, &p.schemas, fieldSubject, &p.subject, fieldNow, &now)
	if err = conf.Checked(parsed, err); err != nil {
		return nil, err
	}
	if now != "" {
		at, ok := text.ParseTime(now)
		if !ok {
			return nil, fmt.Errorf("reading field %s: %q is no RFC 3339 time with a zone", fieldNow, now)
		}
		p.at = func() time.Time { return at }
	}
	m := res.Metrics()
	p.hours = meter.Counter(m, "weir_quality_profiles_total")
	p.score = m.NewGauge("weir_quality_score_ratio", "part")
	return p, nil
}

// Process does one run, and makes its report the message.
func (p *processor) Process(ctx context.Context, msg *service.Message) (service.MessageBatch, error) {
	report, err := p.run(ctx)
	raw, encoding := text.JSON(report)
	if encoding != nil {
		return nil, fmt.Errorf("writing the report: %w", encoding)
	}
	msg.SetBytes(raw)
	if err != nil {
		msg.SetError(err)
		p.res.Logger().Errorf("computing data quality is tried again: %v", err)
	}
	return service.MessageBatch{msg}, nil
}

func (p *processor) run(ctx context.Context) (report report, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	db, release, err := sqldb.Shared(ctx, p.res, p.control)
	if err != nil {
		return report, err
	}
	defer release()
	store, err := Open(ctx, db)
	if err != nil {
		return report, err
	}
	set, err := registry.LoadSet(ctx, registry.Place{URL: p.schemas}, p.subject)
	if err != nil {
		return report, fmt.Errorf("reading which fields hold personal data: %w", err)
	}
	j := &p.job // which remembers objects
	j.Store, j.Source, j.Owner, j.Hidden, j.Now, j.At = store, p.subject, p.owner, hiddenBy(set), time.Now, p.at
	events, done, err := lake.Shared(ctx, p.res, p.raw)
	if err != nil {
		return report, err
	}
	defer done()
	j.Events = events
	if p.letters != "" {
		letters, done, err := lake.Shared(ctx, p.res, p.letters)
		if err != nil {
			return report, err
		}
		defer done()
		j.Letters = letters
	}
	report, err = j.Run(ctx)
	p.hours.Incr(int64(report.Hours))
	if err != nil {
		return report, err
	}
	return report, p.tell(ctx, store)
}

// tell sets the gauges.
func (p *processor) tell(ctx context.Context, store *Store) error {
	to := p.at().UTC().Truncate(time.Hour)
	now, then := newSums(), newSums()
	if err := store.Hours(ctx, p.subject, "", to.Add(-rangeStandard), to, now.add); err != nil {
		return err
	}
	if err := store.Hours(ctx, p.subject, "", to.Add(-week-rangeStandard), to.Add(-week), then.add); err != nil {
		return err
	}
	s := scoreOf(now.all.Profile, then.all.Profile, now.all.account)
	for part, v := range map[string]*float64{"complete": s.Complete, "valid": s.Valid, "timely": s.Timely,
		"unique":     s.Unique,
		"consistent": s.Consistent} {
		if v != nil {
			p.score.SetFloat64(*v, part)
		}
	}
	return nil
}

// Close has nothing to close: a run opens what it needs.
func (p *processor) Close(context.Context) error { return nil }

var _ service.Processor = (*processor)(nil)
