// Package rollup counts every event once, in the one-minute window of its device, and computes
// hours and days from the minutes. The processor `rollup` turns a batch of events into windows;
// the output `rollup_store` merges these into a SQL database, each event at most once; Handler
// answers queries.
//
// A crash leaves either nothing of a batch or all of it. The records are read from the log again,
// and the ledger in each row has the ids of the events that it has counted.
package rollup

import (
	"context"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/conf"
	"weir/internal/platform/flow"
	"weir/internal/platform/meter"
	"weir/internal/platform/trace"
)

func rollupSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Mapping").
		Summary("Turns a batch of events into one message per device and minute, for the output `rollup_store`.").
		Description(`
Put it last into the `+"`batching.processors`"+` of a `+"`rollup_store`"+`, and nowhere else: there the engine acknowledges the batch as a whole. It has no state.

An event counts at its `+"`timestamp`"+`, or at `+"`weir_received_at`"+` when it is flagged `+"`clock_ahead`"+`. These are left out, and counted in `+"`weir_rollup_skipped_total`"+` by reason:

- `+"`duplicate`"+`: messages that `+"`event_dedupe`"+` marked with `+"`local_duplicate_of`"+`;
- `+"`not_targeted`"+`: replayed events for other consumer groups (`+"`weir_target`"+`);
- `+"`unknown_metric`"+`: readings named in `+"`weir_unknown_metrics`"+`, which the event's schema does not know (the event itself counts);
- `+"`errored`"+`: messages that an earlier processor has failed: route them with `+"`reject_errored`"+` around the output;
- `+"`invalid`"+`: messages that are not events, or have no fleet. They are logged with their coordinates.

The output gets the messages in memory, without encoding. As JSON, as in `+"`weir test`"+`, one is:

    {"fleet":"acme","device_id":"pump-7","bucket":"2026-11-21T09:30:00Z","events":[
      {"id":"8b2a…","at":"2026-11-21T09:30:10.25Z","metrics":{"cpu_temp":41.5}}]}
`).
		Example("Roll up a topic", "Windows are merged every two seconds.", `
output:
  rollup_store:
    url: sqlite://data/rollups.db
    batching:
      count: 50000
      period: 2s
      processors:
        - label: windows
          rollup: {}
`)
}

// Reasons for which a message or a reading is left out.
const (
	skipDuplicate     = "duplicate"
	skipNotTargeted   = "not_targeted"
	skipUnknownMetric = "unknown_metric"
	skipErrored       = "errored"
	skipInvalid       = "invalid"
)

type processor struct {
	log     *service.Logger
	trace   *trace.Provider
	skipped *service.MetricCounter
}

func newProcessor(parsed *service.ParsedConfig, res *service.Resources) (service.BatchProcessor, error) {
	if err := conf.Checked(parsed, nil); err != nil {
		return nil, err
	}
	return &processor{log: res.Logger(), trace: trace.Of(res), skipped: meter.Counters(res.Metrics(),
		"weir_rollup_skipped_total", "reason", skipDuplicate, skipNotTargeted, skipUnknownMetric, skipErrored,
		skipInvalid)}, nil
}

// tally counts what a batch leaves out, by reason.
type tally struct {
	duplicate, notTargeted, unknownMetric, errored, invalid int
}

// ProcessBatch returns the windows of the batch. If there are none it returns no batch, and the
// engine acknowledges the messages, of which nothing is to be stored.
func (p *processor) ProcessBatch(_ context.Context, batch service.MessageBatch) ([]service.MessageBatch, error) {
	var t tally
	c := NewCollector(len(batch))
	var e event.Event
	var loop flow.Yielder
	for i, msg := range batch {
		if i%64 == 0 {
			loop.Yield()
		}
		p.add(c, &e, msg, &t)
	}
	p.report(&t)
	windows := c.Windows()
	if len(windows) == 0 {
		return nil, nil
	}
	out := make(service.MessageBatch, len(windows))
	for i, w := range windows {
		out[i] = service.NewMessage(nil)
		out[i].SetStructuredMut(w)
	}
	if traces := p.trace.ParentsOf(batch); traces != nil { // the store takes all windows in one batch
		out[0].MetaSetMut(trace.Header, traces)
	}
	return []service.MessageBatch{out}, nil
}

func (p *processor) add(c *Collector, e *event.Event, msg *service.Message, t *tally) {
	switch {
	case msg.GetError() != nil:
		t.errored++
		return
	case event.Meta(msg, event.MetaDuplicateOf) != "":
		t.duplicate++
		return
	}
	target := event.Meta(msg, event.HeaderTarget)
	if target != "" && !event.HasFlag(target, event.TargetRollup) {
		t.notTargeted++
		return
	}
	raw, err := msg.AsBytes()
	fleet := event.FleetOf(msg)
	if err == nil && fleet == "" {
		err = event.Reject(event.CodeInvalidEvent, "", "the header "+event.HeaderFleet+" is missing")
	}
	if err == nil {
		err = event.Parse(raw, e)
	}
	var at time.Time
	if err == nil {
		at, err = countsAt(msg, e)
	}
	if err != nil {
		t.invalid++
		record, _, _ := event.CoordinatesOf(msg)
		p.log.Errorf("leaving out record %s%s: %v; send such records to the dead letters with event_dedupe "+
			"and reject_errored", record, event.OfRequest(msg), err)
		return
	}
	t.unknownMetric += c.Add(fleet, e, at, event.Meta(msg, event.HeaderUnknownMetrics),
		event.Meta(msg, event.HeaderReceivedAt), target != "")
}

func countsAt(msg *service.Message, e *event.Event) (time.Time, error) {
	if !event.HasFlag(event.Meta(msg, event.HeaderFlags), event.FlagClockAhead) {
		return e.At(time.Time{}, false), nil
	}
	received, ok := event.ReceivedAt(msg)
	if !ok {
		return received, event.Reject(event.CodeInvalidEvent, "", "flagged "+event.FlagClockAhead+", but the header "+
			event.HeaderReceivedAt+" is missing")
	}
	return e.At(received, true), nil
}

func (p *processor) report(t *tally) {
	for _, r := range [...]struct {
		n      int
		reason string
	}{
		{t.duplicate, skipDuplicate}, {t.notTargeted, skipNotTargeted}, {t.unknownMetric, skipUnknownMetric},
		{t.errored, skipErrored}, {t.invalid, skipInvalid},
	} {
		if r.n > 0 {
			p.skipped.Incr(int64(r.n), r.reason)
		}
	}
}

// Close implements service.BatchProcessor.
func (p *processor) Close(context.Context) error { return nil }
