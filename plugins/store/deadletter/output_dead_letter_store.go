// Package deadletter stores messages that failed, with the reason and their bytes, by date and
// stage. A failure has the same id in every delivery.
package deadletter

import (
	"context"
	"errors"
	"maps"
	"math"
	"path"
	"slices"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"golang.org/x/sync/errgroup"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/conf"
	"weir/internal/platform/flow"
	"weir/internal/platform/kafka"
	"weir/internal/platform/meter"
	"weir/plugins/store/lake"
)

const deadLetterFieldBatching = "batching"

// failedInFolder is the key of the folder level below the date. It must not be a column's name:
// readers that make columns of folders (Arrow, Hive, Trino) refuse a folder that repeats one. Older
// versions wrote stageFolder; both are read.
const (
	failedInFolder = "failed_in"
	stageFolder    = "stage"
)

// stageOf returns the stage in the name of an object's folder.
func stageOf(o lake.Object) string {
	if stage := o.Tag(failedInFolder); stage != "" {
		return stage
	}
	return o.Tag(stageFolder)
}

func outputSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("0.1.0").
		Categories("Weir").
		Summary("Stores dead letters as Parquet objects by date and stage.").
		Description(`
Takes the envelopes that `+"`dead_letter`"+` makes. Each batch becomes one object per date and stage, below
`+"`date=YYYY-MM-DD/failed_in=STAGE/`"+`; an object appears whole or not at all, and the batch is acknowledged when all its objects are durable.
Each object lists in its metadata the records it stores and the records they came from. Dead letters that the log delivers
again are recognised and skipped. A message that is no envelope is stored too, with stage `+"`dead_letter`"+`.`).
		Fields(lake.SinkFields("file:///var/lib/weir/dead-letter")...).
		Fields(kafka.OptionalFields("Addresses of the brokers of the log that the dead letters come from, to note with "+
			"each which log that is. With none, that is not noted.")...).
		Field(service.NewBatchPolicyField(deadLetterFieldBatching).
			Description("Collects messages into objects. Without a policy every incoming batch becomes objects of its own.")).
		Field(service.NewIntField("max_in_flight").
			Description("How many batches may be written at a time.").
			Default(2)).
		Example("Keep the dead-letter topic", "", `
output:
  dead_letter_store:
    url: file:///var/lib/weir/dead-letter
    batching:
      count: 10000
      period: 5s
`)
}

// Register registers the components of this package.
func Register(env *service.Environment) error {
	err := env.RegisterProcessor("dead_letter", processorSpec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.Processor, error) {
			return newProcessor(conf, res)
		})
	if err != nil {
		return err
	}
	return flow.Store{
		Name: "dead_letter_store", Spec: outputSpec(), Batching: deadLetterFieldBatching, Is: "dead-letter store",
		Up: "weir_dead_letter_store_up", Failures: "weir_dead_letter_store_failures_total",
		New: func(conf *service.ParsedConfig, res *service.Resources) (service.BatchOutput, error) {
			return newOutput(conf, res)
		},
	}.Register(env)
}

// output is the component dead_letter_store.
type output struct {
	*lake.Sink
	table *lake.Table
	logs  *naming
	now   func() time.Time

	rows, recognised, objects, bytes *service.MetricCounter
	freshness                        *service.MetricTimer
}

func newOutput(parsed *service.ParsedConfig, res *service.Resources) (*output, error) {
	m := res.Metrics()
	sink, err := lake.ReadSink(parsed, res)
	o := &output{
		Sink: sink, table: Table(), now: time.Now,
		rows:       meter.Counters(m, "weir_dead_letter_rows_total", "stage", stages()...),
		recognised: meter.Counter(m, "weir_dead_letter_recognised_total"), // stored before, skipped
		objects:    meter.Counter(m, "weir_dead_letter_objects_total"),
		bytes:      meter.Counter(m, "weir_dead_letter_written_bytes_total"),
		freshness:  meter.Timer(m, "weir_dead_letter_freshness_seconds"),
	}
	logs, wrong := newNaming(parsed, res.Logger())
	o.logs = logs
	return o, conf.Checked(parsed, errors.Join(err, wrong))
}

// Connect opens the store, and reads which records were stored within recall.
func (o *output) Connect(ctx context.Context) error { return o.Sink.Connect(ctx, o.now()) }

// WriteBatch stores a batch. When it returns nil, every dead letter of the batch is durable. After
// an error some may be: a retry recognizes and skips their records.
func (o *output) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	if o.Memory == nil {
		return service.ErrNotConnected
	}
	now := o.now()
	spans := lake.SpansOf(len(batch), func(i int) (event.Coordinates, bool) {
		c, _, ok := event.CoordinatesOf(batch[i])
		return c, ok
	})
	if err := o.Memory.Prepare(ctx, now, spans); err != nil {
		return err
	}
	logs, err := o.logsOf(ctx, spans)
	if err != nil {
		return err
	}
	tombstones := o.Memory.Tombstones()
	folders := map[string][]*Row{}
	recognised := int64(0)
	var erased lake.Collector
	for _, msg := range batch {
		if c, _, ok := event.CoordinatesOf(msg); ok && o.Memory.Has(c, event.LoggedAt(msg)) {
			recognised++
			continue
		}
		r, err := newRow(msg, now, logs)
		if err != nil {
			return err
		}
		if r.erased(tombstones) {
			if r.Record != nil {
				erased.Erased(*r.Record)
			}
			if r.Origin != nil {
				erased.Erased(*r.Origin) // its dead letter is not stored
			}
			continue
		}
		folder := path.Join(lake.DateFolder(time.UnixMicro(r.FailedAt)), failedInFolder+"="+r.Stage)
		folders[folder] = append(folders[folder], r)
	}
	if err := o.flush(ctx, tombstones, now, folders, erased.Coverage()); err != nil {
		return err
	}
	o.recognised.Incr(recognised)
	oldest := int64(math.MaxInt64)
	for _, rows := range folders {
		o.rows.Incr(int64(len(rows)), rows[0].Stage)
		for _, r := range rows {
			oldest = min(oldest, r.failed())
		}
	}
	if oldest < math.MaxInt64 {
		o.freshness.Timing(o.now().Sub(time.UnixMicro(oldest)).Nanoseconds())
	}
	return nil
}

// failed returns the time from which the delay of a dead letter is measured: the receipt, for an
// event that the gate refused; the failure, for a record, which may have been in the log for
// hours.
func (r *Row) failed() int64 {
	if r.ReceivedAt != 0 && r.Origin == nil {
		return r.ReceivedAt
	}
	return r.FailedAt
}

// logsOf returns the names of the logs of a batch's topics.
func (o *output) logsOf(ctx context.Context, spans map[lake.Partition]lake.Span) (map[string]string, error) {
	out := map[string]string{}
	for p := range spans {
		out[p.Topic] = ""
	}
	topics := slices.Collect(maps.Keys(out))
	names, err := o.logs.of(ctx, topics...)
	for i, topic := range topics {
		out[topic] = names[i]
	}
	return out, err
}

// flush writes an object for each folder. The coverage of records without a row (settled) is
// written with one of them, or, if there is no row at all, in an object of its own.
func (o *output) flush(ctx context.Context, tombstones *tombstone.Set, now time.Time, folders map[string][]*Row,
	settled lake.Coverage) error {
	if len(folders) == 0 {
		if settled.Empty() {
			return nil
		}
		return o.put(ctx, tombstones, lake.NewName(path.Join(lake.DuplicatesFolder, lake.DateFolder(now)), now, now, now),
			nil, settled)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for folder, rows := range folders {
		slices.SortFunc(rows, (*Row).before)
		var c lake.Collector
		for _, r := range rows {
			r.cover(&c)
		}
		coverage := c.Coverage()
		coverage.Merge(settled)
		settled = lake.Coverage{}
		name := lake.NewName(folder, now, time.UnixMicro(rows[0].FailedAt), time.UnixMicro(rows[len(rows)-1].FailedAt))
		g.Go(func() error { return o.put(ctx, tombstones, name, rows, coverage) })
	}
	return g.Wait()
}

// cover adds the records that a dead letter accounts for.
func (r *Row) cover(c *lake.Collector) {
	if r.Record != nil {
		c.Stored(*r.Record)
	}
	if r.Origin != nil {
		c.Origin(*r.Origin)
	}
}

func (o *output) put(ctx context.Context, tombstones *tombstone.Set, name lake.Name, rows []*Row,
	coverage lake.Coverage) error {
	size, err := o.Put(ctx, tombstones, name, o.table, len(rows), lake.Options{}, &coverage, columns(rows))
	if err != nil {
		return err
	}
	o.objects.Incr(1)
	o.bytes.Incr(size)
	return nil
}

// Close closes the store. There is no unwritten data.
func (o *output) Close(context.Context) error {
	if o.Store != nil {
		o.logs.close()
	}
	o.Sink.Close()
	return nil
}

var _ service.BatchOutput = (*output)(nil)
