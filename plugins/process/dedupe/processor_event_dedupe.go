// Package dedupe decides, with the same result for every consumer group, which record of the log represents an event:
// the processor event_dedupe claims an event's identity (fleet and event_id) for the coordinates of its delivery.
//
// A crash leaves claims whose record was not written. That record is read again at the coordinates that hold the
// claim, and passes. If the claim has expired before a late redelivery, the same record makes it again; the raw
// store's coverage and the rollups' ledger then recognise what they already have.
package dedupe

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/conf"
	"weir/internal/platform/flow"
	"weir/internal/platform/kafka"
	"weir/internal/platform/meter"
	"weir/internal/platform/trace"
)

const (
	dedupeFieldURL     = "url"
	dedupeFieldTTL     = "ttl"
	dedupeFieldOnError = "on_error"
	dedupeFieldTimeout = "timeout"
	dedupeFieldMakeWay = "make_way"
	dedupeFieldAlso    = "also"
	dedupeFieldTopic   = "topic"

	onErrorPass  = "pass"
	onErrorStall = "stall"
)

func dedupeSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("0.1.0").
		Categories("Weir").
		Summary("Marks events that the log already holds at other coordinates. It drops and reorders nothing.").
		Description(`
For each event, `+"`fleet` and `event_id`"+` are claimed for the topic, partition and offset it was first delivered at, set if absent:

- absent: the event is claimed and passes;
- held by the same coordinates: a redelivery of the claimed record, after a crash or a rebalance; it passes;
- held by others: a duplicate. It is marked with the metadata `+"`local_duplicate_of`"+`, the coordinates of the record that counts. The sinks skip and count what is marked.

A claim names the log that it was made in, by the cluster's ID and the topic's: coordinates mean nothing in another log. A claim of another log - the topic was made anew, its servers were set up again, two of them share the store - is no claim: the event passes and takes its place. Which log a topic is is read from the brokers, again before an event is called a duplicate; while they cannot say, events wait.

All consumer groups that share a store agree on the record that counts. A record that was published again on purpose (a replay, a redrive) carries its first coordinates in `+"`weir_delivery`"+` and stands for them. Where these name another log (`+"`TOPIC@LOG/PARTITION/OFFSET`"+`) it stands for itself, and passes without a claim if the log is not known (`+"`?`"+`) or the raw store is none of its targets. Messages must come from a Kafka input.

A claim that has expired is made again by whoever comes next. If that is a late redelivery, the raw store and the rollups recognise it by its coordinates and its id: the TTL bounds how long a *second* record of the same event is caught here, and what slips through is still counted once by the rollups' ledger.

When the store is down, events pass, marked with `+"`local_unclaimed`"+`, and the store is probed by one batch at a time, less and less often, every five seconds at most. With `+"`on_error: stall`"+` they wait instead, and the queue buffers.

A record that is no event (it was produced past the gate) fails here with its reason, as errored message with code `+"`invalid_json` or `invalid_event`"+`. All groups read the same record, so let one of them account for it: the raw stream sends it to the dead letters, the others drop it with a `+"`switch`"+` case such as `+"`errored() && [\"invalid_json\",\"invalid_event\"].contains(@local_code)`"+`. The check is on what every event must have, so nothing else is dropped with it.

### Stores

`+"`redis://user:password@host:6379/0`"+` (or `+"`rediss://`"+`) takes one pipelined round trip a batch. Its options are `+"`pool_size`"+` (connections; ten a core), `+"`db`"+`, `+"`skip_verify`"+` of the server's certificate, and `+"`password`"+`, where the password is kept: `+"`password=vault://secret/data/weir/redis#password`"+`, read for each connection. `+"`pebble:///path`"+` is embedded, for one process; claims are synced to disk before they count, and expired ones are removed from it. `+"`memory://`"+` forgets at exit, for tests of configs.

### Metrics

`+"`weir_dedupe_events_total{verdict=claimed|claimed_before|duplicate|unclaimed|rejected}`, `weir_dedupe_store_failures_total`, `weir_dedupe_foreign_claims_total`"+` (of another log, replaced), `+"`weir_dedupe_searched_claims_total`"+` (that were looked for on disk, since no filter of Pebble's claims ruled them out), `+"`weir_dedupe_made_way_seconds_total`"+` (see `+"`make_way`"+`) and the gauge `+"`weir_dedupe_store_up`.").
		Fields(kafka.OptionalFields("Addresses of the brokers of the log that the messages come from. With none, and with "+
			"`memory://`, claims do not name their log.")...).
		Field(service.NewStringField(dedupeFieldURL).
			Description("Where claims are kept: `redis://`, `rediss://`, `pebble:///PATH` or `memory://`. All groups must "+
				"share it.").
			Secret().
			Example("redis://localhost:6379/0").Example("pebble:///var/lib/weir/claims")).
		Field(service.NewDurationField(dedupeFieldTTL).
			Description("How long a claim is kept. All streams of a process must agree on it.").
			Default("1h")).
		Field(service.NewStringEnumField(dedupeFieldOnError, onErrorPass, onErrorStall).
			Description("What happens to events while the store is down: `pass` lets them through unclaimed, `stall` makes "+
				"them wait until it is back.").
			Default(onErrorPass)).
		Field(service.NewDurationField(dedupeFieldTimeout).
			Description("How long one batch may wait for the store before it counts as down.").
			Default("1s").Advanced()).
		Field(service.NewObjectListField(dedupeFieldAlso,
			service.NewStringField(dedupeFieldTopic).
				Description("The topic that they were first delivered in.").Example("user-events"),
			service.NewStringField(dedupeFieldURL).Secret().
				Description("Where claims of the topic's events are kept: `redis://`, `rediss://`, `pebble:///PATH` or "+
					"`memory://`. Empty: with all others.").
				Default("").Example("pebble:///var/lib/weir/user-claims")).
			Description("Topics whose other groups keep their claims in a store of their own: their events are claimed "+
				"there, so that all groups of a topic agree, and who comes second finds the claim made.").
			Default([]any{}).Advanced()).
		Field(service.NewIntField(dedupeFieldMakeWay).
			Description("While 500 events or more wait for a verdict in the same process, processing is slowed down to this "+
				"many events a second: events are in the log, and are processed when the peak is over. 0: it is not slowed "+
				"down.").
			Default(15_000).Advanced()).
		Example("Before a sink", "A consumer group of its own reads, marks, and writes what is not marked.", `
pipeline:
  processors:
    - label: claim
      event_dedupe:
        seed_brokers: ["localhost:9092"]
        url: ${WEIR_CLAIMS_URL:pebble:///var/lib/weir/claims}
        ttl: 1h
`)
}

// Register registers the components of this package. Open stores are shared by all processors of the environment,
// whichever manager they belong to: `weir test` makes a new manager for every case and closes none, and Pebble locks
// its folder.
func Register(env *service.Environment) error {
	stores := &pool{open: map[string]*handle{}}
	return env.RegisterBatchProcessor("event_dedupe", dedupeSpec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.BatchProcessor, error) {
			return newProcessor(conf, res, stores)
		})
}

type processor struct {
	handle  *handle
	also    map[string]*handle // by topic: the store of its events, if it is not handle
	release []func() error
	timeout time.Duration
	stall   bool
	logs    logs // nil: claims name no log
	line    *flow.Line
	perItem time.Duration // how long processing may yield to requests, for each event
	log     *service.Logger
	trace   *trace.Provider
	events  sync.Pool // *event.Event

	verdicts *service.MetricCounter
	failures *service.MetricCounter
	madeWay  *service.MetricCounter
	replaced *service.MetricCounter
	searched *service.MetricCounter
	up       *service.MetricGauge
}

func newProcessor(parsed *service.ParsedConfig, res *service.Resources, stores *pool) (*processor, error) {
	var rawURL, onError string
	var ttl, timeout time.Duration
	var makeWay int
	if err := conf.Read(parsed, dedupeFieldURL, conf.URL(&rawURL, schemes()...),
		dedupeFieldTTL, conf.Positive(&ttl), dedupeFieldTimeout,
		conf.Positive(&timeout), dedupeFieldOnError, &onError, dedupeFieldMakeWay, conf.NotNegative(&makeWay)); err != nil {
		return nil, err
	}
	if ttl < time.Millisecond {
		return nil, fmt.Errorf("reading field %s: expected a millisecond or more", dedupeFieldTTL)
	}
	urls, err := alsoOf(parsed, rawURL)
	if err != nil {
		return nil, err
	}
	cluster, err := logOf(parsed, urls)
	for _, url := range urls {
		if err == nil {
			_, err = newStore(url, ttl, timeout, res.Logger()) // of its URL: it is not touched
		}
	}
	if err = conf.Checked(parsed, err); err != nil {
		return nil, err
	}
	p := &processor{
		timeout: timeout, stall: onError == onErrorStall, line: flow.Of(res), log: res.Logger(),
		trace:  trace.Of(res),
		events: sync.Pool{New: func() any { return new(event.Event) }},
		verdicts: meter.Counters(res.Metrics(), "weir_dedupe_events_total", "verdict",
			"claimed", "claimed_before", "duplicate", "unclaimed", "rejected"),
		failures: meter.Counter(res.Metrics(), "weir_dedupe_store_failures_total"),
		madeWay:  meter.Counter(res.Metrics(), "weir_dedupe_made_way_seconds_total"),
		replaced: meter.Counter(res.Metrics(), "weir_dedupe_foreign_claims_total"),
		searched: meter.Counter(res.Metrics(), "weir_dedupe_searched_claims_total"),
		up:       meter.Gauge(res.Metrics(), "weir_dedupe_store_up"),
	}
	if err := p.share(stores, res, urls, ttl); err != nil {
		return nil, err
	}
	if cluster != nil {
		p.logs = kafka.NewLogs(*cluster, "weir-dedupe")
	}
	p.up.Set(1) // until a claim fails
	if makeWay > 0 {
		// The engine runs a processor of this kind on every core.
		p.perItem = time.Second * time.Duration(runtime.GOMAXPROCS(0)) / time.Duration(makeWay)
	}
	return p, nil
}

// ProcessBatch marks the messages of the batch in place.
func (p *processor) ProcessBatch(ctx context.Context, batch service.MessageBatch) ([]service.MessageBatch, error) {
	if waited := p.line.LetPass(ctx, p.perItem*time.Duration(len(batch))); waited > 0 {
		p.madeWay.IncrFloat64(waited.Seconds())
	}
	defer p.trace.Batch("event_dedupe", batch).End(nil)
	for _, at := range p.byStore(p.read(batch)) {
		if claims := p.settle(ctx, at); claims != nil {
			p.mark(at.found, claims)
		} else {
			p.pass(at.found)
		}
	}
	return []service.MessageBatch{batch}, nil
}

// Close releases the stores. The last stream that does so closes them.
func (p *processor) Close(ctx context.Context) error {
	done := make(chan error, 1)
	go func() {
		if p.logs != nil {
			p.logs.Close()
		}
		done <- p.letGo()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("closing the claims store: %w", ctx.Err())
	}
}

var _ service.BatchProcessor = (*processor)(nil)
