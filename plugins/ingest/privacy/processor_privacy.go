// Package privacy takes personal data out of events before anything keeps them.
//
// The contract. `privacy` stands between the gate and `schema_validate`, and looks
// at every event that comes in, at those too that the gate has refused: what lies
// behind it - the log, the stores, dead letters with their original bytes, the
// texts of errors, metrics that name fields - is made of its bytes alone. It waits
// for the first schemas where it follows some, and for nothing else, so an event
// costs it time in proportion to its bytes and no more: what presses on the gate is still the log. It marks and
// drops no message, and changes no verdict: an event that it made another thing
// of is judged as it then is.
//
// It is a function of bytes, fleet, config, schemas and key: an event that is sent twice
// comes out as the same bytes. A second pass changes nothing. An event_id that is a
// UUID is never touched, so a repeat is known as a duplicate whatever the config
// was meanwhile. A device_id that holds personal data is hashed as a whole, under
// the newest key: the events of one device stay together until the key changes.
//
// What it does not change stays as the device sent it, to the byte: numbers keep
// their text, members their order and space. What was JSON is JSON afterwards.
// A crash leaves nothing behind: it has no state.
package privacy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/conf"
	"weir/internal/platform/meter"
	"weir/internal/platform/pii"
	"weir/internal/platform/secret"
	"weir/plugins/ingest/registry"
)

const (
	fieldAction  = "action"
	fieldActions = "actions"
	fieldFields  = "fields"
	fieldNames   = "names"
	fieldRegions = "phone_regions"
	fieldKeys    = "keys"

	fieldKeysRefresh = "keys_refresh"

	fieldSchemas  = "schemas"
	fieldURL      = "url"
	fieldAPIKey   = "api_key"
	fieldSubject  = "subject"
	fieldRefresh  = "refresh"
	fieldCacheDir = "cache_dir"
)

func spec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Utility").
		Summary("Takes personal data out of events, before anything keeps them.").
		Description(`
Put it before `+"`schema_validate`"+`: then the log, the stores, the dead letters with their original bytes and the texts of errors have what it leaves, and nothing else. It looks at every event, at those too that an earlier component has failed. It drops and reorders nothing, and an event that has nothing personal passes as it is, to the byte.

Personal data is found

- by patterns, in every string and name of a field, in JSON within strings and in URLs: `+"`email`"+`, `+"`phone`"+`, `+"`card`"+` (issuer, length and check digit), `+"`iban`"+` (country, length and check digits), `+"`ip`"+` (IPv4 and IPv6) and `+"`ssn`"+` (US), with full-width and other digits, characters without width, percent and HTML escapes,
- by names of fields: those above, and `+"`name`, `address`, `birth`, `document` and `secret`"+`,
- by place, as `+"`fields`"+` says, and the keyword `+"`x-pii`"+` of `+"`schemas`"+`.

It finds no names of people in running text, and nothing in pictures, archives or base64. Numbers in `+"`metrics`"+` are readings, and stay.

What becomes of it is one of

- `+"`mask`"+`: a mark of its kind, such as `+"`[email]`"+`,
- `+"`hash`"+`: a token such as `+"`pii-email-k1-…`"+`: HMAC-SHA-256 under the fleet's key, the same for all writings of one value,
- `+"`tokenise`"+`: a token such as `+"`tok-email-k1-…`"+`, which whoever has the key can turn back; it is as long as the value,
- `+"`drop`"+`: the member goes, or the text out of its string,
- `+"`keep`"+`: it stays.

A number that goes becomes a string. A `+"`device_id`"+` that holds personal data is hashed as a whole; without a key it is masked, and the event refused.

docs/privacy.md has the rules in full.

### Metrics

`+"`weir_privacy_found_total{type}` and `weir_privacy_events_total{outcome=clean|changed}`"+`. No metric and no line of the log has a value.`).
		Field(service.NewStringEnumField(fieldAction, actionNames...).
			Description("What becomes of personal data, whatever kind it is.").Default("mask")).
		Field(service.NewStringMapField(fieldActions).
			Description("What becomes of some kinds of it, by kind.").
			Example(map[string]any{"email": "hash", "ip": "drop", "secret": "drop"}).Default(map[string]any{})).
		Field(service.NewStringMapField(fieldFields).
			Description("What becomes of fields, whatever they hold: an action or a kind, by JSON pointer. `*` stands for each "+
				"member or element. `keep` keeps all of a field, whatever is in it.").
			Example(map[string]any{"/context/ip": "drop", "/payload/*/owner": "hash", "/user/contact": "email"}).
			Default(map[string]any{})).
		Field(service.NewBoolField(fieldNames).
			Description("Whether names of fields count. Without, there are patterns and `fields`.").Default(true)).
		Field(service.NewStringListField(fieldRegions).
			Description("Whose phone numbers are known as they are written at home: AT, AU, BE, BR, CH, DE, DK, ES, FR, "+
				"GB, IN, IT, JP, NL, NO, NZ, US. International ones (+49 …) are known in any case.").
			Default([]any{"US", "GB", "DE", "FR"})).
		Field(service.NewStringField(fieldKeys).
			Description("The keys of `hash` and `tokenise`: `ID:SECRET`, newest first, between blanks, or where they are kept: "+
				"`file:///PATH`, `vault://PATH#FIELD`. An id has up to 8 lower-case letters and digits, a secret 16 characters "+
				"or more. The newest writes; its id is in each token. Fleets have keys of their own, made of it. Those "+
				"that are kept elsewhere may change while weir runs.").
			Default("").Secret().Example("file:///run/secrets/weir-privacy")).
		Field(service.NewDurationField(fieldKeysRefresh).
			Description("How often keys that are kept elsewhere are read again.").Default("30s").Advanced()).
		Field(service.NewObjectField(fieldSchemas,
			service.NewStringField(fieldURL).Description("Where the schemas are, as of `schema_validate`. Empty follows none.").
				Default("").Secret().Example("file://schemas"),
			service.NewStringField(fieldAPIKey).Description("The API key for a registry over HTTP. Empty sends none.").
				Default("").Secret().Advanced(),
			service.NewStringField(fieldSubject).Description("The subject whose versions say what is personal.").
				Default("user_event"),
			service.NewDurationField(fieldRefresh).Description("How often the store is asked for new versions.").
				Default("2s").Advanced(),
			service.NewStringField(fieldCacheDir).Description("A folder that keeps the last known schemas for a restart.").
				Default("").Advanced(),
		).Description("Schemas whose keyword `x-pii` says what becomes of a field, as `fields` does: `\"x-pii\": "+
			"\"email\"`, `\"drop\"`. That of any version holds for events of all. While none was ever known, events wait.")).
		Example("Before validation", "E-mail addresses stay countable; addresses of networks go.", `
pipeline:
  processors:
    - label: privacy
      privacy:
        actions: { email: hash, ip: drop }
        fields: { /context/session: hash }
        keys: k2:nine-words-that-nobody-else-knows k1:the-words-of-last-year
    - label: validate
      schema_validate:
        url: file://schemas
`)
}

// Register adds the room's components.
func Register(env *service.Environment) error {
	return env.RegisterBatchProcessor("privacy", spec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.BatchProcessor, error) {
			return newProcessor(conf, res)
		})
}

// processor is privacy.
type processor struct {
	policy  *policy
	schemas *annotated // nil: no schema is followed
	found   *service.MetricCounter
	events  *service.MetricCounter
	walkers sync.Pool // *walker

	ring     atomic.Pointer[ring]
	unfollow func() // stops following the keys; nil: they stand in the config
}

// The outcomes of an event.
const (
	outcomeClean   = "clean"
	outcomeChanged = "changed"
)

func newProcessor(parsed *service.ParsedConfig, res *service.Resources) (*processor, error) {
	p, keys, err := policyOf(parsed)
	follow, unread := following(parsed)
	var every time.Duration
	unread = errors.Join(unread, conf.Read(parsed, fieldKeysRefresh, conf.Positive(&every)))
	if err := conf.Checked(parsed, errors.Join(err, unread)); err != nil {
		return nil, err
	}
	made := &processor{
		policy: p,
		found:  meter.Counters(res.Metrics(), "weir_privacy_found_total", "type", kindNames[:]...),
		events: meter.Counters(res.Metrics(), "weir_privacy_events_total", "outcome", outcomeClean, outcomeChanged),
	}
	if p.keys == nil {
		if err := made.fetchKeys(keys, every, res.Logger()); err != nil {
			return nil, fmt.Errorf("reading field %s: %w", fieldKeys, err)
		}
	} else {
		made.ring.Store(newRing(p.keys))
	}
	if follow.URL != "" {
		live, err := registry.Follow(*follow, res)
		if err != nil {
			made.stop()
			return nil, err
		}
		made.schemas = &annotated{live: live, p: p, log: res.Logger()}
	}
	return made, nil
}

// following reads which schemas are followed.
func following(parsed *service.ParsedConfig) (*registry.Following, error) {
	f := &registry.Following{}
	in := func(field string) string { return fieldSchemas + "." + field }
	err := conf.Read(parsed, in(fieldURL), registry.MaybeURL(&f.URL), in(fieldAPIKey), conf.Secret(&f.APIKey),
		in(fieldSubject), &f.Subject,
		in(fieldRefresh), conf.Positive(&f.Every), in(fieldCacheDir), &f.CacheDir)
	return f, err
}

// policyOf reads a config. Keys that are kept elsewhere are left to fetchKeys.
func policyOf(parsed *service.ParsedConfig) (p *policy, keys string, err error) {
	p = &policy{fields: &node{}}
	var all string
	var actions, fields map[string]string
	var codes []string
	if err := conf.Read(parsed, fieldAction, &all, fieldActions, &actions, fieldFields, &fields, fieldNames, &p.names,
		fieldRegions, &codes, fieldKeys, conf.Secret(&keys)); err != nil {
		return nil, "", err
	}
	var wrong []error
	note := func(field string, err error) {
		if err != nil {
			wrong = append(wrong, fmt.Errorf("reading field %s: %w", field, err))
		}
	}
	everything, err := parseAction(all)
	note(fieldAction, err)
	for k := range p.actions {
		p.actions[k] = everything
	}
	for name, says := range actions {
		a, err := parseAction(says)
		k := slices.Index(kindNames[:], name)
		if k < 0 {
			err = fmt.Errorf("%q is no kind: expected one of %v", name, kindNames)
		} else {
			p.actions[k] = a
		}
		note(fieldActions, err)
	}
	p.says = fields
	note(fieldFields, p.into(p.fields))
	p.fields.spread()
	p.finder, err = pii.New(codes)
	note(fieldRegions, err)
	if !secret.Kept(keys) {
		note(fieldKeys, p.take(keys))
	}
	return p, keys, errors.Join(wrong...)
}

// take reads the keys.
func (p *policy) take(keys string) (err error) {
	if p.keys, err = parseKeys(keys); err != nil {
		return err
	}
	return p.checkKeys()
}

// fetchKeys takes the keys from where they are kept, and follows them there.
// Without them nothing starts: an event that has to wait for a key would have to be
// kept until then. Who starts without any stays so.
func (p *processor) fetchKeys(setting string, every time.Duration, log *service.Logger) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	keys, err := secret.Value(ctx, setting)
	if err != nil {
		return err
	}
	if err := p.policy.take(keys); err != nil {
		return err
	}
	if p.ring.Store(newRing(p.policy.keys)); len(p.policy.keys.keys) == 0 {
		return nil
	}
	p.unfollow, err = p.followKeys(setting, keys, every, log)
	return err
}

// stop stops following the keys.
func (p *processor) stop() {
	if p.unfollow != nil {
		p.unfollow()
	}
}

// ProcessBatch masks the messages of the batch in place.
func (p *processor) ProcessBatch(ctx context.Context, batch service.MessageBatch) ([]service.MessageBatch, error) {
	root, unknown := p.rules(ctx)
	if unknown != nil { // it was told to stop; what goes on goes on without a value
		root = &node{any: &node{rule: &rule{kindField, actionMask, true}}}
	}
	w, _ := p.walkers.Get().(*walker)
	if w == nil {
		w = &walker{p: p.policy, known: map[string]named{}}
	}
	defer p.walkers.Put(w)
	w.root = root
	changed, keys := 0, p.ring.Load()
	fleet, known := "", false
	for _, msg := range batch {
		if f := event.FleetOf(msg); !known || f != fleet {
			fleet, known = f, true
			w.keys = keys.of(fleet)
		}
		did, err := w.message(msg)
		if err != nil {
			return nil, fmt.Errorf("reading an event: %w", err)
		}
		if did {
			changed++
		}
		if unknown != nil && msg.GetError() == nil {
			msg.SetError(unknown)
		}
	}
	p.count(w, len(batch), changed)
	return []service.MessageBatch{batch}, nil
}

// count hands what was found to the engine, once a batch.
func (p *processor) count(w *walker, events, changed int) {
	for k, n := range w.found {
		if n > 0 {
			p.found.Incr(n, kind(k).String())
		}
	}
	w.found = [kinds]int64{}
	if changed > 0 {
		p.events.Incr(int64(changed), outcomeChanged)
	}
	if clean := events - changed; clean > 0 {
		p.events.Incr(int64(clean), outcomeClean)
	}
}

// rules returns where rules for fields begin now.
func (p *processor) rules(ctx context.Context) (*node, error) {
	if p.schemas == nil {
		return p.policy.fields, nil
	}
	return p.schemas.rules(ctx)
}

// Close stops following the keys and the schemas.
func (p *processor) Close(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if p.stop(); p.schemas != nil {
			p.schemas.live.Close()
		}
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("closing the sources of keys and schemas: %w", ctx.Err())
	}
}

var _ service.BatchProcessor = (*processor)(nil)
