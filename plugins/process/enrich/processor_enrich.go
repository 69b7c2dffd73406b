// Package enrich adds data of other systems to events.
//
// The contract. An event waits for its look-ups no longer than the deadline of its batch, whatever their sources do,
// and it always passes: the metadata weir_enrich_failed names the look-ups that failed for it, and a metric counts
// them. The number of concurrent queries of a source is bounded, and a key is queried once at a time. A source that
// fails again and again gets no queries for a while. Answers, also negative ones, are cached in memory; failures are
// not. A crash loses the cache, and nothing else.
package enrich

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/calls"
	"weir/internal/platform/conf"
	"weir/internal/platform/flow"
	"weir/internal/platform/geo"
	"weir/internal/platform/predicate"
	"weir/internal/platform/redisconn"
	"weir/internal/platform/sqldb"
)

const (
	fieldDeadline   = "deadline"
	fieldLookups    = "lookups"
	fieldName       = "name"
	fieldKey        = "key"
	fieldResult     = "result_map"
	fieldProcessors = "processors"
	fieldGeo        = "geo"
	fieldAgent      = "user_agent"
	fieldSQL        = "sql"
	fieldQuery      = "query"
	fieldRedis      = "redis"
	fieldHash       = "redis_hash"
	fieldTimeout    = "timeout"
	fieldInFlight   = "max_in_flight"
	fieldEntries    = "cache_entries"
	fieldKeep       = "cache_ttl"
	fieldKeepAbsent = "cache_ttl_absent"
	fieldFailures   = "failures"
)

func spec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Integration").
		Summary("Adds data of other systems to events, within a deadline. An event always passes, even if they do not "+
			"answer.").
		Description(`
Each look-up makes a key from an event, queries its source for the key, and writes the answer into the event. Sources are processors of the engine (`+"`http`"+` and others), a SQL store, a Redis, a database of network addresses in MaxMind's format, or built-in rules that read a user agent. An answer is JSON; an empty answer and `+"`null`"+` mean that there is none.

- Answers are cached for `+"`cache_ttl`"+`, and for `+"`cache_ttl_absent`"+` that there is no answer. Failures are never cached.
- A key is queried once at a time, however many events need it, and a source has at most `+"`max_in_flight`"+` queries at a time.
- After `+"`failures`"+` in a row, a source gets no queries for 0.1 s, then for longer, up to 5 s; after each pause a single query tries whether it answers again.
- A batch waits for all its look-ups together no longer than `+"`deadline`"+`. A query that is not finished by then goes on, and its answer is cached for later events.

The metadata `+"`weir_enriched`"+` names the look-ups that wrote into an event, with their versions: NAME@VERSION, separated by commas. The log keeps it with the event. The version is a hash of the look-up's config and, for a database of network addresses, of the time when that was built.

An event always passes. The metadata `+"`weir_enrich_failed`"+` has the names of the look-ups that failed for it, separated by commas. The log keeps it with the event. An event that another processor has failed is not changed, nor is one without the key.

For a message with the metadata `+"`local_enrich`"+`, which a replay job of the mode `+"`enrich`"+` makes from a stored event, only the look-up of that name is done, within a minute, and the metadata `+"`local_enriched`"+` has its outcome: `+"`found`, `absent`, `no_key` or `failed`"+`.

The engine's `+"`cached`, `branch` and `http`"+` differ: they fail the event, cache errors or nothing, query a hundred times for a hundred events of one key, and wait for each of these in turn.

### Metrics

`+"`weir_enrich_lookups_total{lookup,outcome=hit|found|absent|failed|skipped}`, `weir_enrich_failures_total{lookup}` and `weir_enrich_source_up{lookup}`"+`.`).
		Field(service.NewDurationField(fieldDeadline).
			Description("How long a batch waits for all of its look-ups together. Those without an answer by then count as "+
				"failed.").Default("100ms")).
		Field(service.NewObjectListField(fieldLookups,
			service.NewStringField(fieldName).Description("The name of the look-up, in metrics, `weir_enriched` and "+
				"`weir_enrich_failed`.").
				Example("profile"),
			service.NewInterpolatedStringField(fieldKey).
				Description("The key to look up. An event for which it is empty, or cannot be evaluated, is skipped.").
				Example(`${! this.user.id }`),
			service.NewBloblangField(fieldResult).
				Description("Writes the answer, which is `this`, into the event, which is `root`.").
				Example("root.context.profile = this"),
			service.NewProcessorListField(fieldProcessors).
				Description("The source: processors whose input is a message with the key, and whose output is the answer. "+
					"The answer must depend only on the key.").Default([]any{}),
			service.NewStringField(fieldGeo).
				Description("The source: the file of a database in MaxMind's format (.mmdb). The key is a network address, "+
					"the answer has `country` and `region`. The file is read again when it "+
					"changes.").Default("").Example("/var/lib/weir/country.mmdb"),
			service.NewBoolField(fieldAgent).
				Description("The source: built-in rules, without a query. The key is a user agent; the answer has what is "+
					"known of `browser`, `browser_version`, `os`, `os_version`, `model` and `kind` (`mobile`, `tablet`, "+
					"`desktop` or `bot`). A client can send any user agent, so do not rely on it.").Default(false),
			service.NewStringField(fieldSQL).
				Description("The source: a SQL store, `sqlite://PATH` or `postgres://…`, which is asked by "+
					"`query`.").Default("").Secret().
				Example("postgres://weir@db/crm"),
			service.NewStringField(fieldQuery).
				Description("The query for `sql`, with $1 for the key. The columns of its first row are the "+
					"answer.").Default("").
				Example("SELECT plan, since FROM customer WHERE id = $1"),
			service.NewStringField(fieldRedis).
				Description("The source: the URL of a Redis. The value of the key is the answer, as "+
					"JSON.").Default("").Secret().
				Example("redis://cache:6379/0").Example("rediss://weir@cache?password=vault://secret/data/weir/redis#password"),
			service.NewBoolField(fieldHash).
				Description("Whether the values in `redis` are hashes: their fields are the answer, each a "+
					"string.").Default(false),
			service.NewDurationField(fieldTimeout).Description("How long one query may take. After it the query counts as "+
				"failed.").Default("2s"),
			service.NewIntField(fieldInFlight).Description("The maximum number of queries of the source at a time. Further "+
				"ones wait until the deadline.").Default(32),
			service.NewIntField(fieldEntries).Description("The maximum number of cached answers, in memory; 0 caches none. "+
				"Above it, the answer that has not been used for longest is removed.").
				Default(100_000).Advanced(),
			service.NewDurationField(fieldKeep).Description("How long an answer is cached.").Default("5m"),
			service.NewDurationField(fieldKeepAbsent).Description("How long it is cached that there is no "+
				"answer.").Default("30s"),
			service.NewIntField(fieldFailures).
				Description("The number of failures in a row after which the source gets no queries for a "+
					"while.").Default(5).Advanced(),
		).Description("The look-ups. Each has exactly one source. They write in this order, and each sees what the "+
			"previous ones have written. Their keys are made from the event as it came in.")).
		Example("Where a client is, and its customer's plan", "A profile over HTTP; 404 means that there is none.", `
pipeline:
  processors:
    - label: enrich
      enrich:
        lookups:
          - name: region
            key: ${! this.context.ip }
            geo: /var/lib/weir/country.mmdb
            result_map: root.context.country = this.country
          - name: device
            key: ${! this.context.user_agent }
            user_agent: true
            result_map: root.context.device = this
          - name: profile
            key: ${! this.user.id }
            result_map: root.context.plan = this.plan
            processors:
              - label: ask
                http:
                  url: http://profiles:8000/v1/${! content().string().escape_url_query() }
                  verb: GET
                  retries: 0
                  successful_on: [ 404 ]
              - label: none
                mapping: root = if @http_status_code == 404 { null }
`)
}

// Register adds the room's components.
func Register(env *service.Environment) error {
	return env.RegisterBatchProcessor("enrich", spec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.BatchProcessor, error) {
			return newProcessor(conf, res)
		})
}

// processor is enrich.
type processor struct {
	deadline time.Duration
	lookups  []*named
	keys     keys
	outcomes *service.MetricCounter

	stop        context.CancelFunc
	backgrounds sync.WaitGroup
	closers     []func(context.Context) error
}

// named is a look-up with its config.
type named struct {
	*lookup
	name   string
	key    *service.InterpolatedString
	text   string          // of the key
	tag    string          // its name and version, as events have it: see version.go
	expr   *predicate.Expr // the key, compiled to read an event's bytes; nil: the engine evaluates it
	result *bloblang.Executor
	splice splice // the result_map, compiled to edit an event's bytes; nil: the engine evaluates it

	geo, sql, query, redis string
	hash, agent            bool
}

func newProcessor(parsed *service.ParsedConfig, res *service.Resources) (*processor, error) {
	p := &processor{}
	err := conf.Read(parsed, fieldDeadline, conf.Positive(&p.deadline))
	list, lerr := parsed.FieldObjectList(fieldLookups)
	err = errors.Join(err, lerr)
	for _, one := range list {
		n, wrong := readLookup(one)
		n.expr = p.keys.compile(n.text)
		if slices.ContainsFunc(p.lookups, func(other *named) bool { return other.name == n.name }) {
			wrong = errors.Join(wrong, fmt.Errorf("two look-ups are called %q", n.name))
		}
		p.lookups, err = append(p.lookups, n), errors.Join(err, wrong)
	}
	if err == nil && len(list) == 0 {
		err = errors.New("expected at least one look-up")
	}
	if err := conf.Checked(parsed, err); err != nil {
		return nil, err
	}
	background, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.outcomes = res.Metrics().NewCounter("weir_enrich_lookups_total", "lookup", "outcome")
	failures := res.Metrics().NewCounter("weir_enrich_failures_total", "lookup")
	up := res.Metrics().NewGauge("weir_enrich_source_up", "lookup")
	burst := flow.NewBurst(30*time.Second, func(text string) { res.Logger().Warn(text) })
	for i, n := range p.lookups {
		for _, name := range outcomeNames {
			p.outcomes.Incr(0, n.name, name)
		}
		failures.Incr(0, n.name)
		up.Set(1, n.name)
		n.now, n.background, n.backgrounds = time.Now, background, &p.backgrounds
		n.failed = func(err error) {
			failures.Incr(1, n.name)
			burst.Note(n.name, fmt.Sprintf("the look-up %s fails, its events pass without it: %s", n.name, told(err)))
		}
		n.opened = func(is bool) {
			state := int64(1)
			if is {
				state = 0
			}
			up.Set(state, n.name)
		}
		ask, err := p.source(list[i], n, res)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("opening the look-up %s: %w", n.name, err), p.Close(background))
		}
		n.lookup = newLookup(ask, n.limits)
	}
	return p, nil
}

func readLookup(parsed *service.ParsedConfig) (*named, error) {
	n := &named{lookup: &lookup{}}
	var mapping string
	err := conf.Read(parsed, fieldName, conf.Valid(&n.name, func() error { return validName(n.name) }), fieldKey, &n.key,
		fieldKey, &n.text, fieldResult, &mapping,
		fieldGeo, &n.geo, fieldAgent, &n.agent, fieldSQL, sqldb.MaybeURL(&n.sql), fieldQuery, &n.query,
		fieldRedis, conf.MaybeURL(&n.redis, redisconn.Schemes()...), fieldHash, &n.hash,
		fieldTimeout, conf.Positive(&n.timeout), fieldInFlight, conf.Between(&n.inFlight, 1, 10_000),
		fieldEntries, conf.NotNegative(&n.entries), fieldKeep, conf.NotNegative(&n.keep),
		fieldKeepAbsent, conf.NotNegative(&n.keepAbsent), fieldFailures, conf.Positive(&n.failures))
	var rerr error
	n.result, rerr = parsed.FieldBloblang(fieldResult)
	n.splice = spliceOf(mapping)
	children, cerr := parsed.FieldAnyList(fieldProcessors)
	version, verr := n.version(mapping, children)
	n.tag = n.name + "@" + version
	sources := 0
	for _, is := range []bool{n.geo != "", n.agent, n.sql != "", n.redis != "", len(children) > 0} {
		if is {
			sources++
		}
	}
	var wrong error
	switch {
	case sources != 1:
		wrong = fmt.Errorf("the look-up %q has %d sources: expected one of %s, %s, %s, %s and %s", n.name, sources,
			fieldProcessors, fieldGeo, fieldAgent, fieldSQL, fieldRedis)
	case n.hash && n.redis == "":
		wrong = fmt.Errorf("the look-up %q: %s is of %s", n.name, fieldHash, fieldRedis)
	case (n.sql != "") != (n.query != ""):
		wrong = fmt.Errorf("the look-up %q: %s and %s go together", n.name, fieldSQL, fieldQuery)
	}
	return n, errors.Join(err, rerr, cerr, verr, wrong)
}

// validName keeps names to what a label and a list of them hold.
func validName(name string) error {
	bad := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' }
	if name == "" || len(name) > 32 || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("%q: expected 1 to 32 lower-case letters, digits and '_'", name)
	}
	return nil
}

// source opens what a look-up asks.
func (p *processor) source(parsed *service.ParsedConfig, n *named, res *service.Resources) (source, error) {
	switch {
	case n.geo != "":
		file, err := geo.Open(n.geo, func(err error) {
			if err != nil {
				res.Logger().Errorf("look-up %s: the last database of addresses stays in force: %v", n.name, err)
			}
		})
		if err != nil {
			return nil, err
		}
		p.closers = append(p.closers, func(context.Context) error { file.Close(); return nil })
		return ofAddresses(file), nil
	case n.agent:
		return ofAgents, nil
	case n.sql != "":
		shared := &sharedStore{res: res, url: n.sql}
		p.closers = append(p.closers, shared.close)
		return ofSQL(n.query, shared.open), nil
	case n.redis != "":
		conns, err := redisconn.Open(n.redis, n.timeout)
		if err != nil {
			return nil, err
		}
		conns.Kind, conns.Meter = callGet, calls.Of(res, "redis", redisconn.CallConnect, callGet)
		p.closers = append(p.closers, func(context.Context) error { return conns.Close() })
		return ofRedis(conns, n.hash), nil
	}
	processors, err := parsed.FieldProcessorList(fieldProcessors)
	for _, one := range processors {
		p.closers = append(p.closers, one.Close)
	}
	return ofProcessors(processors), err
}

// sharedStore is a SQL store that is opened when it is first asked.
type sharedStore struct {
	res *service.Resources
	url string

	mu      sync.Mutex
	db      *sqldb.DB
	release func()
}

func (s *sharedStore) open(ctx context.Context) (db *sqldb.DB, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		s.db, s.release, err = sqldb.Shared(ctx, s.res, s.url)
	}
	return s.db, err
}

func (s *sharedStore) close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.release != nil {
		s.release()
	}
	s.db, s.release = nil, nil
	return nil
}

// wanted is what one look-up is to say of one event.
type wanted struct {
	msg    *service.Message
	of     *named
	place  int // of the look-up
	is     answer
	hit    bool
	flight *flight
	err    error
}

// ProcessBatch puts answers into the events of a batch, in place. It fails no
// event, and returns no error.
func (p *processor) ProcessBatch(ctx context.Context, batch service.MessageBatch) ([]service.MessageBatch, error) {
	ctx, cancel := context.WithTimeout(ctx, p.patience(batch))
	defer cancel()
	var all []wanted
	counts := make([]counted, len(p.lookups))
	for _, msg := range batch {
		if msg.GetError() != nil {
			continue
		}
		again := event.Meta(msg, event.MetaEnrich)
		reader := p.keys.read(msg)
		for i, n := range p.lookups {
			if again != "" && n.name != again {
				continue
			}
			key := n.keyOf(msg, reader)
			if key == "" {
				counts[i][outcomeSkipped]++
				if again != "" {
					msg.MetaSetMut(event.MetaEnriched, outcomeSkipped.later())
				}
				continue
			}
			w := wanted{msg: msg, of: n, place: i}
			w.is, w.hit, w.flight, w.err = n.start(ctx, key)
			all = append(all, w)
		}
		p.keys.giveBack(reader)
	}
	for i := range all {
		counts[all[i].place][all[i].settle(ctx)]++
	}
	p.count(counts)
	return []service.MessageBatch{batch}, nil
}

// laterLeast is how long look-ups have at least that are asked again for stored events:
// nobody waits for those.
const laterLeast = time.Minute

// patience is how long a batch waits for its look-ups.
func (p *processor) patience(batch service.MessageBatch) time.Duration {
	if len(batch) > 0 && event.Meta(batch[0], event.MetaEnrich) != "" {
		return max(p.deadline, laterLeast)
	}
	return p.deadline
}

// settle waits for the answer, and writes it into the event, or notes that it is
// not there.
func (w *wanted) settle(ctx context.Context) outcome {
	if w.flight != nil {
		w.is, w.err = w.flight.wait(ctx)
	}
	if w.err == nil && !w.is.absent {
		if w.err = w.write(); w.err != nil {
			w.of.failed(w.err)
		} else {
			w.note()
		}
	}
	became := w.became()
	if event.Meta(w.msg, event.MetaEnrich) != "" {
		w.msg.MetaSetMut(event.MetaEnriched, became.later())
	}
	return became
}

// became is what became of the look-up; a failure is noted in the event.
func (w *wanted) became() outcome {
	switch {
	case w.err != nil:
		failed := event.AppendItem([]byte(event.Meta(w.msg, event.HeaderEnrichFailed)), w.of.name)
		w.msg.MetaSetMut(event.HeaderEnrichFailed, string(failed))
		return outcomeFailed
	case w.is.absent:
		return outcomeAbsent
	case w.hit:
		return outcomeHit
	}
	return outcomeFound
}

// write puts the answer into the event, whole or not at all.
func (w *wanted) write() error {
	if sent, err := w.msg.AsBytes(); err == nil {
		if made, ok := w.of.splice.apply(sent, w.is.raw); ok {
			w.msg.SetBytes(made)
			return nil
		}
	}
	made, err := w.msg.Copy().BloblangMutateFrom(w.of.result, service.NewMessage(w.is.raw))
	if err != nil { // whose text may quote the event
		return ownError{errors.New("an answer does not fit its " + fieldResult + ": try it with weir blobl")}
	}
	if made == nil {
		return ownError{errors.New(fieldResult + " deletes the event: it may only change it")}
	}
	raw, err := made.AsBytes()
	if err != nil {
		return ownError{errors.New("what " + fieldResult + " makes is no JSON")}
	}
	w.msg.SetBytes(raw)
	return nil
}

// Close ends what is on its way, and lets go of the sources.
func (p *processor) Close(ctx context.Context) error {
	p.stop()
	done := make(chan struct{})
	go func() { p.backgrounds.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("closing look-ups: %w", ctx.Err())
	}
	var err error
	for _, release := range p.closers {
		err = errors.Join(err, release(ctx))
	}
	p.closers = nil
	return err
}

var _ service.BatchProcessor = (*processor)(nil)
