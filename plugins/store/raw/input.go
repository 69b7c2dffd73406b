package raw

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/text"
	"weir/plugins/store/lake"
)

const (
	rawFieldFrom       = "from"
	rawFieldTo         = "to"
	rawFieldFleet      = "fleet"
	rawFieldDevices    = "devices"
	rawFieldMetric     = "metric"
	rawFieldTargets    = "targets"
	rawFieldBatchSize  = "batch_size"
	rawFieldParallel   = "parallel"
	rawFieldCheckpoint = "checkpoint"
	rawFieldName       = "name"
)

// ahead is how many batches may wait for their acknowledgement.
const ahead = 64

func replaySpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("0.1.0").
		Categories("Weir").
		Summary("Reads events from the raw store, to be processed again, and ends when it has read them all.").
		Description(`
Events come as they were sent, each once, hour by hour, within an hour by device and time. What folders, object names, statistics
and bloom filters rule out is not read; how much was is told at the end, in the log and in metrics. Memory is bounded by the
objects of the hours being read.

Each message carries the headers of its first delivery and its coordinates (`+"`weir_delivery`"+`), by which every consumer recognises it, and
`+"`weir_target`"+` when targets are given. Metadata `+"`local_device`"+` is the device, the record key.

With a checkpoint the input goes on, after a crash or a restart, behind what was acknowledged last: at most the batches in flight
come again. One that had ended ends at once.`).
		Field(service.NewStringField(rawFieldURL).Secret().
			Description("The raw store: `file:///abs/dir` or `s3://bucket/prefix?region=…`.").
			Example("file:///var/lib/weir/raw")).
		Field(service.NewStringField(rawFieldFrom).
			Description("The first effective time wanted, RFC 3339.").Example("2026-11-20T00:00:00Z")).
		Field(service.NewStringField(rawFieldTo).
			Description("The first effective time not wanted any more, RFC 3339.").Example("2026-11-21T00:00:00Z")).
		Field(service.NewStringField(rawFieldFleet).
			Description("Only events of this fleet; empty means all.").Default("")).
		Field(service.NewStringListField(rawFieldDevices).
			Description("Only events of these devices; empty means all.").Default([]any{})).
		Field(service.NewStringField(rawFieldMetric).
			Description("Only events that have this metric; empty means all.").Default("")).
		Field(service.NewStringListField(rawFieldTargets).
			Description("The processing groups that are to handle the events, of `raw`, `rollup` and `detect`; empty means all.").Default([]any{})).
		Field(service.NewIntField(rawFieldBatchSize).
			Description("How many events make a batch.").
			Default(500).LintRule(`root = if this < 1 { "must be at least 1" }`).Advanced()).
		Field(service.NewIntField(rawFieldParallel).
			Description("How many hours are read at a time; 0 means one per core.").
			Default(0).LintRule(`root = if this < 0 { "must not be negative" }`).Advanced()).
		Field(service.NewStringField(rawFieldCheckpoint).Secret().
			Description("A SQL store to keep the position in: `sqlite://PATH` or `postgres://…`; empty means to begin anew at every start.").
			Default("")).
		Field(service.NewStringField(rawFieldName).
			Description("The name of this replay in the checkpoint store.").
			Default("replay")).
		Field(service.NewAutoRetryNacksToggleField()).
		Example("Process a day again", "Consumers count nothing twice, so it may be run as often as wanted.", `
input:
  raw_replay:
    url: file:///var/lib/weir/raw
    from: 2026-11-20T00:00:00Z
    to: 2026-11-21T00:00:00Z
    targets: [ rollup ]
    checkpoint: sqlite:///var/lib/weir/control.db
    name: day-20
`)
}

func registerReplay(env *service.Environment) error {
	return env.RegisterBatchInput("raw_replay", replaySpec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.BatchInput, error) {
			in, err := newReplay(conf, res)
			if err != nil {
				return nil, err
			}
			return service.AutoRetryNacksBatchedToggled(conf, in)
		})
}

// replay is raw_replay.
type replay struct {
	conf    replayConf
	res     *service.Resources
	events  *service.MetricCounter
	scanned *service.MetricCounter

	store   *lake.Store
	release func()
	saved   *checkpoint

	mu      sync.Mutex
	emitted *Position     // the last event handed to the engine
	batches <-chan loaded // of the running scan; nil when none runs
	stop    context.CancelFunc
	slots   chan struct{} // batches in flight
}

// loaded is a batch read from the store, or how the reading ended.
type loaded struct {
	batch service.MessageBatch
	last  Position
	err   error // ErrEndOfInput when all is read
}

func newReplay(conf *service.ParsedConfig, res *service.Resources) (*replay, error) {
	c, err := parseReplay(conf)
	if err != nil {
		return nil, err
	}
	return &replay{conf: c, res: res, slots: make(chan struct{}, ahead),
		events:  res.Metrics().NewCounter("weir_raw_replayed_events_total"),
		scanned: res.Metrics().NewCounter("weir_raw_scanned_rows_total"),
	}, nil
}

// Connect opens the stores and starts reading behind the last event emitted, or
// behind the checkpoint. The engine calls it again after a failed read.
func (in *replay) Connect(ctx context.Context) error {
	if in.store == nil {
		store, release, err := lake.Shared(ctx, in.res, in.conf.url)
		if err != nil {
			return err
		}
		in.store, in.release = store, release
	}
	if in.saved == nil {
		saved, err := openCheckpoint(ctx, in.res, in.conf)
		if err != nil {
			return err
		}
		in.saved = saved
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.stop != nil {
		in.stop()
	}
	q := in.conf.query
	if q.After = in.emitted; q.After == nil {
		q.After = in.saved.position()
	}
	batches := make(chan loaded, 2)
	scanning, stop := context.WithCancel(context.Background())
	in.batches, in.stop = batches, stop
	go in.scan(scanning, q, batches)
	return nil
}

// scan reads events into batches until it has read them all or failed.
func (in *replay) scan(ctx context.Context, q Query, out chan<- loaded) {
	defer close(out)
	send := func(l loaded) error {
		select {
		case out <- l:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if in.saved.ended() {
		_ = send(loaded{err: service.ErrEndOfInput})
		return
	}
	var next loaded
	var last *Row
	stats, err := NewReader(in.store).Scan(ctx, q, func(r *Row) error {
		msg, err := in.message(r)
		if err != nil {
			return err
		}
		last = r
		if next.batch = append(next.batch, msg); len(next.batch) < in.conf.batchSize {
			return nil
		}
		full := next
		full.last = PositionOf(last)
		next = loaded{batch: make(service.MessageBatch, 0, in.conf.batchSize)}
		return send(full)
	})
	in.scanned.Incr(stats.Rows)
	if err == nil && len(next.batch) > 0 {
		next.last = PositionOf(last)
		err = send(next)
	}
	if err == nil {
		in.res.Logger().Infof("Replay %q has read %d events: %d objects and %d row groups read, %d days and %d objects skipped by name, %d row groups by statistics and bloom filters, %d rows decoded, %d repeats passed over",
			in.conf.name, stats.Events, stats.Objects, stats.Groups, stats.DaysSkipped, stats.ObjectsSkipped, stats.GroupsSkipped, stats.Rows, stats.Repeats)
		err = service.ErrEndOfInput
	}
	_ = send(loaded{err: err}) // cancelled: nobody waits
}

func (in *replay) message(r *Row) (*service.Message, error) {
	raw, err := r.AppendJSON(make([]byte, 0, 384))
	if err != nil {
		return nil, err
	}
	msg := service.NewMessage(raw)
	set := func(key, value string) {
		if value != "" {
			msg.MetaSetMut(key, value)
		}
	}
	set(event.HeaderFleet, r.Fleet)
	if r.ReceivedAt != 0 {
		set(event.HeaderReceivedAt, time.UnixMicro(r.ReceivedAt).UTC().Format(event.TimeFormat))
	}
	set(event.HeaderSchema, r.Schema)
	set(event.HeaderFlags, r.Flags)
	set(event.HeaderUnknownMetrics, r.Unknown)
	if r.Delivery != noRecord {
		set(event.HeaderDelivery, r.Delivery.String())
	}
	set(event.HeaderTarget, in.conf.targets)
	set(event.MetaDevice, r.Device)
	return msg, nil
}

// ReadBatch returns the next batch. Its acknowledgement moves the checkpoint.
func (in *replay) ReadBatch(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	in.mu.Lock()
	batches := in.batches
	in.mu.Unlock()
	if batches == nil {
		return nil, nil, service.ErrNotConnected
	}
	select {
	case in.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	var l loaded
	select {
	case l = <-batches:
	case <-ctx.Done():
		<-in.slots
		return nil, nil, ctx.Err()
	}
	if l.batch == nil {
		<-in.slots
		return nil, nil, in.ended(l.err)
	}
	in.mu.Lock()
	in.emitted = &l.last
	in.mu.Unlock()
	acked := in.saved.pending(l.last, len(l.batch))
	return l.batch, func(ctx context.Context, err error) error {
		defer func() { <-in.slots }()
		if err != nil {
			return nil // only without auto_replay_nacks: the checkpoint stays before it
		}
		in.events.Incr(int64(len(l.batch)))
		return acked(ctx)
	}, nil
}

func (in *replay) ended(err error) error {
	if errors.Is(err, service.ErrEndOfInput) {
		in.saved.allRead()
		return err
	}
	in.mu.Lock()
	in.batches = nil
	in.mu.Unlock()
	if err != nil {
		in.res.Logger().Errorf("Reading the raw store failed, and goes on behind the last event read: %v", err)
	}
	return service.ErrNotConnected
}

// Close ends the reading and saves the checkpoint. The engine calls it when
// every batch has been acknowledged, or it gave up on them.
func (in *replay) Close(ctx context.Context) error {
	in.mu.Lock()
	if in.stop != nil {
		in.stop()
	}
	in.batches = nil
	in.mu.Unlock()
	var err error
	if in.saved != nil {
		err = in.saved.close(ctx)
	}
	if in.release != nil {
		in.release()
		in.release, in.store = nil, nil
	}
	return err
}

// replayConf is the input's configuration.
type replayConf struct {
	url, checkpoint, name, targets string
	query                          Query
	batchSize                      int
}

func parseReplay(conf *service.ParsedConfig) (c replayConf, err error) {
	for field, to := range map[string]*string{rawFieldURL: &c.url, rawFieldFleet: &c.query.Fleet, rawFieldMetric: &c.query.Metric,
		rawFieldCheckpoint: &c.checkpoint, rawFieldName: &c.name} {
		if *to, err = conf.FieldString(field); err != nil {
			return c, err
		}
	}
	for field, to := range map[string]*time.Time{rawFieldFrom: &c.query.From, rawFieldTo: &c.query.To} {
		at, err := conf.FieldString(field)
		if err != nil {
			return c, err
		}
		t, ok := text.ParseTime(at)
		if !ok {
			return c, fmt.Errorf("field %s: %q is no time: expected RFC 3339 with a zone, such as 2026-11-20T00:00:00Z", field, at)
		}
		*to = t
	}
	if !c.query.From.Before(c.query.To) {
		return c, fmt.Errorf("field %s: expected a time before %s", rawFieldFrom, rawFieldTo)
	}
	if c.query.Devices, err = conf.FieldStringList(rawFieldDevices); err != nil {
		return c, err
	}
	targets, err := conf.FieldStringList(rawFieldTargets)
	if err != nil {
		return c, err
	}
	var list []byte
	for _, target := range targets {
		if !slices.Contains([]string{event.TargetRaw, event.TargetRollup, event.TargetDetect}, target) {
			return c, fmt.Errorf("field %s: %q is not one of raw, rollup, detect", rawFieldTargets, target)
		}
		list = event.AppendItem(list, target)
	}
	c.targets = string(list)
	if c.query.Parallel, err = conf.FieldInt(rawFieldParallel); err != nil {
		return c, err
	}
	if c.batchSize, err = conf.FieldInt(rawFieldBatchSize); err != nil {
		return c, err
	}
	if c.batchSize < 1 || c.query.Parallel < 0 {
		return c, fmt.Errorf("%s must be at least 1, and %s not negative", rawFieldBatchSize, rawFieldParallel)
	}
	return c, nil
}

var _ service.BatchInput = (*replay)(nil)
