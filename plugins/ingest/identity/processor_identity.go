// Package identity learns from events which ids belong to the same person, and adds to events whose they are.
//
// When a batch has passed, the facts of its events - which user claims which anonymous id, on which device each was
// seen - are committed in the store. Events that come again, in any order, change nothing. So a stream that reads the
// log has stored the facts of all events whose offsets it has committed. While the store is down, batches wait:
// nothing passes, and nothing becomes a dead letter. The processor has no state, so a crash leaves nothing behind.
package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/identity"
	"weir/internal/event"
	"weir/internal/platform/conf"
	"weir/internal/platform/flow"
	"weir/internal/platform/meter"
	"weir/internal/platform/sqldb"
)

const (
	fieldURL       = "url"
	fieldUser      = "user"
	fieldAnonymous = "anonymous"
	fieldInto      = "into"
	fieldNote      = "note"
	fieldTimeout   = "timeout"
)

func spec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Utility").
		Summary("Learns from events which anonymous id belongs to which user, and can write the person into events.").
		Description(`
An event with a user and an anonymous id says that both are the same person: somebody signed in. An anonymous id belongs to the first user who claims it, with all events that it ever had. Another user who claims it later, on a shared device, does not get it. Which user is the first is decided by the time of the events, not by the order in which they come. `+"`weir identity` and `/v1/identity`"+` return which ids belong together, now or at a version.

Nothing is learned from an event of a person who was erased after it was received, and `+"`raw_store`"+` after this processor does not store it either. Put it after `+"`event_dedupe`"+` into a stream that reads the log. While its store does not answer, events wait.

With `+"`into`"+`, the person is written into the event, for rules that come after it. Do not set it in a stream that stores events as they were sent.

A message that is not an event, or that another processor has failed, is left as it is.

### Metrics

`+"`weir_identity_claims_total{outcome=new|moved|ignored}` (`moved`: an anonymous id came to another user; `ignored`: too many claim one), `weir_identity_store_up` and `weir_identity_store_failures_total`"+`.`).
		Field(service.NewStringField(fieldURL).
			Description("The SQL store that has the aliases: the control store of weir.").
			Secret().Example("sqlite:///var/lib/weir/control.db")).
		Field(service.NewStringField(fieldUser).
			Description("The place of the user's id in events, a JSON pointer.").Default("/user/id")).
		Field(service.NewStringField(fieldAnonymous).
			Description("The place of the anonymous id in events, a JSON pointer.").Default("/user/anonymous_id")).
		Field(service.NewBoolField(fieldNote).
			Description("Whether to learn from events. It is enough that one stream does.").Default(true)).
		Field(service.NewStringField(fieldInto).
			Description("Where the person is written into the event: names with dots between them. An event that names "+
				"nobody is not changed. Empty: no event is changed.").
			Default("").Example("user.person")).
		Field(service.NewDurationField(fieldTimeout).
			Description("How long one answer of the store may take. After that it is asked again, until it answers.").
			Default("10s").Advanced()).
		Example("Beside the raw store", "What events say of who is who is noted before they count as stored.", `
pipeline:
  processors:
    - label: dedupe
      event_dedupe:
        seed_brokers: ["localhost:9092"]
        url: pebble:///var/lib/weir/claims
    - label: identity
      identity:
        url: sqlite:///var/lib/weir/control.db
`)
}

// Register adds the room's components.
func Register(env *service.Environment) error {
	return env.RegisterBatchProcessor("identity", spec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.BatchProcessor, error) {
			return newProcessor(conf, res)
		})
}

// processor is identity.
type processor struct {
	user, anonymous []string // the ways to the ids
	into            []string // nil: nowhere
	notes           bool
	by              string // the stream
	asking          flow.Asking
	claims          *service.MetricCounter
	store           *sqldb.Lazy[*identity.Store]
}

// The outcomes of a claim.
const (
	outcomeNew     = "new"
	outcomeMoved   = "moved"
	outcomeIgnored = "ignored"
)

func newProcessor(parsed *service.ParsedConfig, res *service.Resources) (*processor, error) {
	p := &processor{by: res.Label(),
		asking: flow.Asking{Store: "store of aliases", Log: res.Logger()}}
	var url, user, anonymous, into string
	way := func(text *string, to *[]string) any {
		return conf.Valid(text, func() (err error) { *to, err = event.WayTo(*text); return err })
	}
	err := conf.Read(parsed, fieldURL, sqldb.URL(&url), fieldUser, way(&user, &p.user),
		fieldAnonymous, way(&anonymous, &p.anonymous), fieldNote, &p.notes, fieldInto, &into,
		fieldTimeout, conf.Positive(&p.asking.Timeout))
	if into != "" {
		p.into = strings.Split(into, ".")
	}
	if err == nil && !p.notes && p.into == nil {
		err = errors.New("reading identity: it neither notes anything nor puts it anywhere: name a place in the field into")
	}
	if err := conf.Checked(parsed, err); err != nil {
		return nil, err
	}
	p.store = sqldb.NewLazy(res, url, identity.Open)
	m := res.Metrics()
	p.claims = meter.Counters(m, "weir_identity_claims_total", "outcome", outcomeNew, outcomeMoved, outcomeIgnored)
	p.asking.Failures = meter.Counter(m, "weir_identity_store_failures_total")
	p.asking.Up = meter.Gauge(m, "weir_identity_store_up")
	p.asking.Up.Set(1) // until it does not answer
	return p, nil
}

// sent is an event that names somebody.
type sent struct {
	msg  *service.Message
	seen identity.Seen
}

// id is who the event names: the user before the anonymous id.
func (s *sent) id() string {
	if s.seen.User != "" {
		return s.seen.User
	}
	return s.seen.Anonymous
}

// ProcessBatch notes what the events say, and changes those that it is to say it in,
// in place. It returns an error only if it was told to stop while it waited for the
// store: the batch comes again then.
func (p *processor) ProcessBatch(ctx context.Context, batch service.MessageBatch) ([]service.MessageBatch, error) {
	fleets := map[string][]sent{}
	var e event.Event
	for _, msg := range batch {
		one, err := p.read(msg, &e)
		if err != nil {
			return nil, err
		}
		if one.id() == "" {
			continue
		}
		fleet := event.FleetOf(msg)
		if len(fleets) == 0 {
			fleets[fleet] = make([]sent, 0, len(batch)) // nearly always all are of one
		}
		fleets[fleet] = append(fleets[fleet], one)
	}
	for fleet, events := range fleets {
		people, noted, err := p.ask(ctx, fleet, events)
		if err != nil {
			return nil, err
		}
		p.claims.Incr(int64(noted.Claims), outcomeNew)
		p.claims.Incr(int64(noted.Ignored), outcomeIgnored)
		for _, c := range noted.Changes {
			if c.Before != "" {
				p.claims.Incr(1, outcomeMoved)
			}
		}
		for _, i := range noted.Erased {
			events[i].msg.MetaSetMut(event.MetaErased, "1")
		}
		for i := range events {
			if person := people[events[i].id()]; person != "" {
				if err := p.put(events[i].msg, person); err != nil {
					return nil, err
				}
			}
		}
	}
	return []service.MessageBatch{batch}, nil
}

// read returns what an event says, nothing of what is none. The texts lie in the
// event's bytes; e is memory for reading it.
func (p *processor) read(msg *service.Message, e *event.Event) (one sent, err error) {
	if msg.GetError() != nil || event.Meta(msg, event.MetaDuplicateOf) != "" {
		return one, nil // a duplicate says nothing new
	}
	raw, err := msg.AsBytes()
	if err != nil {
		return one, fmt.Errorf("reading an event: %w", err)
	}
	if event.Parse(raw, e) != nil {
		return one, nil // whoever reads it next says what is wrong with it
	}
	one = sent{msg, identity.Seen{Device: e.Device, At: e.Time}}
	if received, ok := event.ReceivedAt(msg); ok {
		one.seen.Received = received
		if received.Before(e.Time) {
			one.seen.At = received // a clock that is ahead signs nobody in first
		}
	}
	one.seen.User, one.seen.Anonymous = idAt(e, p.user), idAt(e, p.anonymous)
	return one, nil
}

// idAt is the id that an event has somewhere, "" for none.
func idAt(e *event.Event, way []string) string {
	id := e.TextAt(way)
	if id == "" || identity.ValidID("id", id) != nil {
		return ""
	}
	return id
}

// ask asks the store until it answers, or the context ends.
func (p *processor) ask(ctx context.Context, fleet string, events []sent) (people map[string]string,
	noted identity.Noted, err error) {
	seen, ids := make([]identity.Seen, len(events)), make([]string, len(events))
	for i := range events {
		seen[i], ids[i] = events[i].seen, events[i].id()
	}
	err = p.asking.Until(ctx, func(ctx context.Context) error {
		store, err := p.store.Get(ctx)
		if err != nil {
			return err
		}
		if p.notes {
			if noted, err = store.Note(ctx, fleet, p.by, seen); err != nil {
				return err
			}
		}
		if p.into != nil {
			people, err = store.Resolve(ctx, fleet, ids, 0)
		}
		return err
	})
	return people, noted, err
}

// put puts into an event who it is of. What is in the way of it is left.
func (p *processor) put(msg *service.Message, person string) error {
	all, err := msg.AsStructuredMut()
	if err != nil {
		return fmt.Errorf("reading an event: %w", err)
	}
	at, ok := all.(map[string]any)
	for _, name := range p.into[:len(p.into)-1] {
		if !ok {
			return nil
		}
		if at[name] == nil {
			at[name] = map[string]any{}
		}
		at, ok = at[name].(map[string]any)
	}
	if ok {
		at[p.into[len(p.into)-1]] = person
		msg.SetStructuredMut(all)
	}
	return nil
}

// Close lets go of the store.
func (p *processor) Close(context.Context) error {
	p.store.Close()
	return nil
}

var _ service.BatchProcessor = (*processor)(nil)
