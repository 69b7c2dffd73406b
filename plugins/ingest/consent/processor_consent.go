// Package consent lets only those events pass whose subjects have agreed to the purposes of their stream.
//
// An event passes if every purpose was agreed to at the event's time and is agreed to now. For a subject of which no
// consent is stored, the policy of its region decides. Consents are read from the store for each batch and not cached:
// a committed withdrawal applies to all events judged after it, in every stream with the processor, also to events
// that are in the log already. While the store is down, batches wait: inputs stop reading the log, and the gate
// refuses events with Retry-After. Nothing passes meanwhile, and nothing becomes a dead letter.
//
// A denied event fails with the code consent_denied. So it becomes a dead letter and is accounted for like any other;
// of the event it keeps only the id and the time. The processor has no state, so a crash leaves nothing behind.
package consent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/consent"
	"weir/internal/event"
	"weir/internal/platform/conf"
	"weir/internal/platform/flow"
	"weir/internal/platform/meter"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/sqldb"
)

const (
	fieldURL       = "url"
	fieldPurposes  = "purposes"
	fieldSubject   = "subject"
	fieldUnknown   = "unknown"
	fieldUnknownIn = "unknown_in"
	fieldTimeout   = "timeout"
)

func spec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Utility").
		Summary("Lets an event pass if its subject has consented to its use.").
		Description(`
An event passes if its subject had consented to all of the `+"`purposes`"+` when it happened, and still does. `+"`weir consent`"+` and `+"`PUT /v1/consent`"+` record consents. For subjects without a record, `+"`unknown`"+` decides, or `+"`unknown_in`"+` if the metadata `+"`weir_region`"+` names a region.

A denied event fails with the code `+"`consent_denied`"+`, and everything in it but its `+"`event_id` and `timestamp`"+` is removed. Put this processor after `+"`schema_validate`"+` at ingest, and first in each stream that reads the log: there it stops events that were in the log when the subject withdrew. While the store does not answer, events wait: none passes, and none fails.

A message that is not an event, or that another processor has failed, is left as it is.

### Metrics

`+"`weir_consent_events_total{outcome=passed|denied}`, `weir_consent_store_up` and `weir_consent_store_failures_total`"+`.`).
		Field(service.NewStringField(fieldURL).
			Description("The SQL store that has the consents: the control store of weir.").
			Secret().Example("sqlite:///var/lib/weir/control.db")).
		Field(service.NewStringListField(fieldPurposes).
			Description("What the events are used for from here on. Each must be agreed to.").
			Example([]any{"analytics"})).
		Field(service.NewStringField(fieldSubject).
			Description("The subject, as the JSON pointer of a text or number in the event. If `privacy` replaces it by a "+
				"token, the token is the subject.").
			Default("/device_id").Example("/user/id")).
		Field(service.NewStringField(fieldUnknown).
			Description("What to do with events without a subject, or whose subject has no record: `deny` or `pass`.").
			Default(deny)).
		Field(service.NewStringMapField(fieldUnknownIn).
			Description("The same for some regions (ISO 3166: `US`, `US-CA`), for all purposes or for one (`ads/US`). A part "+
				"of a country takes precedence over the country.").
			Default(map[string]any{}).Example(map[string]any{"US": pass, "US-CA": deny, "ads/BR": pass})).
		Field(service.NewDurationField(fieldTimeout).
			Description("How long one answer of the store may take. After that it is asked again, until it answers.").
			Default("10s").Advanced()).
		Example("At ingest", "Analytics only with consent; in the US also without a record.", `
pipeline:
  processors:
    - label: validate
      schema_validate:
        url: file://schemas
        subject: user_event
    - label: consent
      consent:
        url: sqlite:///var/lib/weir/control.db
        purposes: [analytics]
        unknown_in: { US: pass }
`)
}

// Register adds the room's components.
func Register(env *service.Environment) error {
	return env.RegisterBatchProcessor("consent", spec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.BatchProcessor, error) {
			return newProcessor(conf, res)
		})
}

// reader reads what subjects of a fleet have said.
type reader func(ctx context.Context, fleet string, subjects []string) (consent.Histories, error)

// processor is consent.
type processor struct {
	policy *policy
	asking flow.Asking
	events *service.MetricCounter
	read   reader
	store  *sqldb.Lazy[*consent.Store]
}

// The outcomes of an event.
const (
	outcomePassed = "passed"
	outcomeDenied = "denied"
)

func newProcessor(parsed *service.ParsedConfig, res *service.Resources) (*processor, error) {
	made := &processor{asking: flow.Asking{Store: "store of consents", Log: res.Logger()}}
	var url string
	policy, wrong := policyOf(parsed)
	err := conf.Read(parsed, fieldURL, sqldb.URL(&url), fieldTimeout, conf.Positive(&made.asking.Timeout))
	if err := conf.Checked(parsed, errors.Join(err, wrong)); err != nil {
		return nil, err
	}
	made.policy, made.read = policy, made.histories
	made.store = sqldb.NewLazy(res, url, consent.Open)
	made.events = meter.Counters(res.Metrics(), "weir_consent_events_total", "outcome", outcomePassed, outcomeDenied)
	made.asking.Failures = meter.Counter(res.Metrics(), "weir_consent_store_failures_total")
	made.asking.Up = meter.Gauge(res.Metrics(), "weir_consent_store_up")
	made.asking.Up.Set(1) // until it does not answer
	return made, nil
}

// histories reads from the store, which is opened when it is first asked.
func (p *processor) histories(ctx context.Context, fleet string, subjects []string) (consent.Histories, error) {
	store, err := p.store.Get(ctx)
	if err != nil {
		return nil, err
	}
	return store.Histories(ctx, fleet, subjects)
}

// asking is an event whose subject's consent is asked for.
type asking struct {
	msg     *service.Message
	subject string
	at      time.Time
	id      string
	time    string
}

// ProcessBatch marks what is denied, in place. It returns an error, having marked
// nothing, only if it was told to stop while it waited for the store: the batch
// comes again then.
func (p *processor) ProcessBatch(ctx context.Context, batch service.MessageBatch) ([]service.MessageBatch, error) {
	fleets := map[string][]asking{}
	var e event.Event
	for _, msg := range batch {
		if msg.GetError() != nil {
			continue
		}
		raw, err := msg.AsBytes()
		if err != nil {
			return nil, fmt.Errorf("reading an event: %w", err)
		}
		if event.Parse(raw, &e) != nil {
			continue // whoever reads it next says what is wrong with it
		}
		at := e.Time
		if received, ok := event.ReceivedAt(msg); ok && received.Before(at) {
			at = received // a clock that is ahead knows no consent of tomorrow
		}
		fleet := event.FleetOf(msg)
		subject := e.TextAt(p.policy.subject)
		if consent.ValidSubject(subject) != nil {
			subject = "" // nobody can have said anything of it, and a store may refuse to be asked
		}
		fleets[fleet] = append(fleets[fleet], asking{msg, subject, at, e.ID, e.TimeText})
	}
	denied := map[*service.Message]*event.Rejection{}
	asked := 0
	for fleet, events := range fleets {
		said, err := p.wait(ctx, fleet, subjectsOf(events))
		if err != nil {
			return nil, err
		}
		asked += len(events)
		for i := range events {
			a := &events[i]
			if why := p.policy.judge(said, a.subject, event.Meta(a.msg, event.HeaderRegion), a.at); why != "" {
				denied[a.msg] = event.Reject(event.CodeConsentDenied, "", why)
			}
		}
	}
	for _, events := range fleets {
		for i := range events {
			if r := denied[events[i].msg]; r != nil {
				events[i].deny(r)
			}
		}
	}
	p.events.Incr(int64(asked-len(denied)), outcomePassed)
	p.events.Incr(int64(len(denied)), outcomeDenied)
	return []service.MessageBatch{batch}, nil
}

// deny fails the event, and leaves its id and its time of it: it may not be kept.
func (a *asking) deny(r *event.Rejection) {
	left := append([]byte(`{"`+event.FieldID+`":`), rawjson.AppendString(nil, a.id)...)
	left = append(left, `,"`+event.FieldTimestamp+`":`...)
	left = append(rawjson.AppendString(left, a.time), '}')
	a.msg.SetBytes(left)
	if _, judged := a.msg.MetaGetImmut(event.MetaOriginal); judged {
		event.KeepOriginal(a.msg, &left)
	}
	a.msg.MetaDelete(event.HeaderUnknownMetrics)
	a.msg.MetaDelete(event.MetaDevice)
	event.MarkRejected(a.msg, r)
}

func subjectsOf(events []asking) []string {
	subjects := make([]string, 0, len(events))
	for i := range events {
		if events[i].subject != "" {
			subjects = append(subjects, events[i].subject)
		}
	}
	slices.Sort(subjects)
	return slices.Compact(subjects)
}

// wait asks the store until it answers, or the context ends.
func (p *processor) wait(ctx context.Context, fleet string, subjects []string) (said consent.Histories, err error) {
	err = p.asking.Until(ctx, func(ctx context.Context) (err error) {
		said, err = p.read(ctx, fleet, subjects)
		return err
	})
	return said, err
}

// Close lets go of the store.
func (p *processor) Close(context.Context) error {
	p.store.Close()
	return nil
}

var _ service.BatchProcessor = (*processor)(nil)
