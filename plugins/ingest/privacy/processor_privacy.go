// Package privacy takes personal data out of events before anything keeps them.
//
// The processor privacy stands between the gate and schema_validate, and reads every incoming event, including those
// that the gate has refused. All that comes after it is made of its output alone: the log, the stores, the original
// bytes of dead letters, the texts of errors, and metrics with names of fields. It waits for the first schemas if it
// follows some, and for nothing else. The time for an event is proportional to its size. It marks and drops no message
// and sets no verdict: schema_validate judges the event as it is after the change.
//
// The output is a function of the event's bytes, the fleet, the config, the schemas and the keys, so an event that is
// sent twice yields the same bytes. A second pass changes nothing. An event_id that is a UUID is never changed, so a
// duplicate is recognised even if the config has changed in between. A device_id with personal data is hashed as a
// whole, under the newest key: the events of a device have the same device_id until the key changes.
//
// All other bytes stay as the device sent them: numbers keep their text, members their order and spacing. Output for
// JSON is JSON. The processor has no state, so a crash leaves nothing behind.
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
Put it before `+"`schema_validate`"+`: then the log, the stores, the dead letters with their original bytes and the texts of errors have only its output. It reads every event, including those that an earlier component has failed. It drops and reorders nothing. An event without personal data passes unchanged, to the byte.

Personal data is found

- by patterns, in every string and every name of a field, in JSON within strings and in URLs: `+"`email`"+`, `+"`phone`"+`, `+"`card`"+` (issuer, length and check digit), `+"`iban`"+` (country, length and check digits), `+"`ip`"+` (IPv4 and IPv6) and `+"`ssn`"+` (US), also with full-width and other digits, zero-width characters, percent and HTML escapes,
- by names of fields: those above, and `+"`name`, `address`, `birth`, `document` and `secret`"+`,
- by place, as `+"`fields`"+` and the keyword `+"`x-pii`"+` of `+"`schemas`"+` say.

It does not find names of people in running text, nor anything in pictures, archives or base64. Numbers in `+"`metrics`"+` are readings, and are not changed.

What is found is changed by one of these actions:

- `+"`mask`"+`: it is replaced by a mark of its kind, such as `+"`[email]`"+`,
- `+"`hash`"+`: it is replaced by a token such as `+"`pii-email-k1-…`"+`, an HMAC-SHA-256 under the fleet's key, which is the same for all spellings of a value,
- `+"`tokenise`"+`: it is replaced by a token such as `+"`tok-email-k1-…`"+`, which can be turned back with the key, and shows the length of the value,
- `+"`drop`"+`: the member is removed, or the text from its string,
- `+"`keep`"+`: it is not changed.

A number that is replaced becomes a string. A `+"`device_id`"+` with personal data is hashed as a whole; without a key it is masked, and the event is refused.

docs/privacy.md has all rules.

### Metrics

`+"`weir_privacy_found_total{type}` and `weir_privacy_events_total{outcome=clean|changed}`"+`. Metrics and log lines never have a value.`).
		Field(service.NewStringEnumField(fieldAction, actionNames...).
			Description("The action for personal data of all kinds that `actions` does not name.").Default("mask")).
		Field(service.NewStringMapField(fieldActions).
			Description("Actions for single kinds of personal data, by kind.").
			Example(map[string]any{"email": "hash", "ip": "drop", "secret": "drop"}).Default(map[string]any{})).
		Field(service.NewStringMapField(fieldFields).
			Description("Actions or kinds for fields, whatever their values are, by JSON pointer. `*` stands for each "+
				"member or element. `keep` leaves the whole field unchanged, even if it has personal data.").
			Example(map[string]any{"/context/ip": "drop", "/payload/*/owner": "hash", "/user/contact": "email"}).
			Default(map[string]any{})).
		Field(service.NewBoolField(fieldNames).
			Description("Whether personal data is also found by names of fields. If not, only patterns, `fields` and "+
				"`schemas` find it.").Default(true)).
		Field(service.NewStringListField(fieldRegions).
			Description("Countries whose phone numbers are found in their national form: AT, AU, BE, BR, CH, DE, DK, ES, "+
				"FR, GB, IN, IT, JP, NL, NO, NZ, US. International numbers (+49 …) are always found.").
			Default([]any{"US", "GB", "DE", "FR"})).
		Field(service.NewStringField(fieldKeys).
			Description("The keys of `hash` and `tokenise`: `ID:SECRET`, newest first, separated by blanks, or the place "+
				"that has them: `file:///PATH` or `vault://PATH#FIELD`. An id has up to 8 lower-case letters and digits, a "+
				"secret has 16 characters or more. The newest key is used for new tokens, which have its id. The key of each "+
				"fleet is derived from it. Keys in a file or in Vault may change while weir runs.").
			Default("").Secret().Example("file:///run/secrets/weir-privacy")).
		Field(service.NewDurationField(fieldKeysRefresh).
			Description("How often keys in a file or in Vault are read again.").Default("30s").Advanced()).
		Field(service.NewObjectField(fieldSchemas,
			service.NewStringField(fieldURL).Description("The URL of the schemas, as `url` of `schema_validate`. Empty: no "+
				"schemas are used.").
				Default("").Secret().Example("file://schemas"),
			service.NewStringField(fieldAPIKey).Description("The API key for a registry over HTTP. Empty: none is sent.").
				Default("").Secret().Advanced(),
			service.NewStringField(fieldSubject).Description("The subject whose versions say which fields have personal "+
				"data.").
				Default("user_event"),
			service.NewDurationField(fieldRefresh).Description("How often the store is asked for new versions.").
				Default("2s").Advanced(),
			service.NewStringField(fieldCacheDir).Description("A folder that keeps the last known schemas for a restart "+
				"while their store is down. Empty: none are kept.").
				Default("").Advanced(),
		).Description("Schemas whose keyword `x-pii` gives the action or the kind of a field, as `fields` does: "+
			"`\"x-pii\": \"email\"`, `\"x-pii\": \"drop\"`. The keyword of one version applies to events of all versions. "+
			"Until the first schemas are known, events wait.")).
		Example("Before validation", "E-mail addresses are hashed, so that they can be counted; network addresses are removed.", `
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
