// Package raw stores every event as a row of Parquet, by date, with the coordinates of
// its record in the log, and answers queries for single events.
package raw

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/conf"
	"weir/internal/platform/flow"
	"weir/internal/platform/meter"
	"weir/plugins/store/lake"
)

const (
	rawFieldMaxObjectRows = "max_object_rows"
	rawFieldRowGroupRows  = "row_group_rows"
	rawFieldBatching      = "batching"
)

func storeSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("0.1.0").
		Categories("Weir").
		Summary("Stores events as Parquet objects by date, one row per event, exactly as they were sent.").
		Description(`
Each batch becomes one object per UTC date of its events, below `+"`date=YYYY-MM-DD/`"+`, sorted by device and time. An object
appears whole or not at all, and the batch is acknowledged when all its objects are durable; memory is bounded by the batch, so
`+"`batching`"+` sets the size of objects.

Every object lists, in its own metadata, which records of the log its rows stand for and which records of its batch are proven
duplicates (metadata `+"`local_duplicate_of`"+`, from `+"`event_dedupe`"+`): that is what `+"`weir reconcile`"+` reads, and what a restarted process reads
back, so that records delivered again are skipped. Records of a replay that are not meant for the raw store (header
`+"`weir_target`"+`), or whose first delivery it holds, are skipped too. Everything skipped is counted.

Every message must be an event: `+"`event_dedupe`"+`, or another processor before this output, marks what is none, and `+"`reject_errored`"+` keeps
it away. Should one come through all the same, the rest of its batch is stored and its own input batch is retried, with the reason
in the log: nothing is dropped here.`).
		Fields(lake.SinkFields("file:///var/lib/weir/raw", "s3://telemetry/raw?region=eu-central-1")...).
		Field(service.NewIntField(rawFieldMaxObjectRows).
			Description("The most rows of one object. A batch with more rows for a date becomes several objects.").
			Default(262144).Advanced()).
		Field(service.NewIntField(rawFieldRowGroupRows).
			Description("The most rows of a row group: the unit that readers skip or read in parallel.").
			Default(131072).Advanced()).
		Field(service.NewBatchPolicyField(rawFieldBatching).
			Description("Collects messages into objects. Without a policy every incoming batch becomes objects of its own.")).
		Field(service.NewIntField("max_in_flight").
			Description("How many batches may be written at a time.").
			Default(4)).
		Example("Store a topic", "Five seconds of events, or 50,000 of them, make an object.", `
output:
  raw_store:
    url: file:///var/lib/weir/raw
    batching:
      count: 50000
      period: 5s
`)
}

// Register registers the output raw_store.
func Register(env *service.Environment) error {
	return flow.Store{
		Name: "raw_store", Spec: storeSpec(), Batching: rawFieldBatching, Is: "raw store", Up: "weir_raw_store_up",
		Failures: "weir_raw_store_failures_total",
		New: func(conf *service.ParsedConfig, res *service.Resources) (service.BatchOutput, error) {
			return newOutput(conf, res)
		},
	}.Register(env)
}

// output is the output raw_store.
type output struct {
	*lake.Sink
	maxRows int
	options lake.Options
	table   *lake.Table
	count   counters
	now     func() time.Time

	spare  atomic.Pointer[scratch] // memory for the next batch
	forget *time.Timer             // drops the spare memory when no batch comes
}

// spareFor is how long unused memory is kept for the next batch.
const spareFor = 30 * time.Second

func newOutput(parsed *service.ParsedConfig, res *service.Resources) (*output, error) {
	sink, err := lake.ReadSink(parsed, res)
	o := &output{Sink: sink, table: Table(), count: newCounters(res.Metrics()), now: time.Now}
	err = errors.Join(err, conf.Read(parsed, rawFieldMaxObjectRows, conf.Positive(&o.maxRows),
		rawFieldRowGroupRows, conf.Positive(&o.options.RowGroupRows)))
	o.forget = time.AfterFunc(spareFor, func() { o.spare.Store(nil) })
	return o, conf.Checked(parsed, err)
}

// Connect opens the store and reads which records were stored within recall.
func (o *output) Connect(ctx context.Context) error { return o.Sink.Connect(ctx, o.now()) }

// Close releases the store. Every batch that WriteBatch returned nil for is durable;
// there is nothing else to write.
func (o *output) Close(context.Context) error {
	o.Sink.Close()
	o.forget.Stop()
	return nil
}

type counters struct {
	rows, duplicates, recognised, untargeted, erased, rejected, objects, bytes *service.MetricCounter

	freshness *service.MetricTimer // per batch: the time since its oldest live event was received
}

func newCounters(m *service.Metrics) counters {
	return counters{
		rows:       meter.Counter(m, "weir_raw_rows_total"),
		duplicates: meter.Counter(m, "weir_raw_duplicates_total"), // proven by event_dedupe
		recognised: meter.Counter(m, "weir_raw_recognised_total"), // stored before, therefore skipped
		untargeted: meter.Counter(m, "weir_raw_untargeted_total"), // of a replay, for other stores
		erased:     meter.Counter(m, "weir_raw_erased_total"),     // of a device or fleet that was erased since
		rejected:   meter.Counter(m, "weir_raw_rejected_total"),   // not events
		objects:    meter.Counter(m, "weir_raw_objects_total"),
		bytes:      meter.Counter(m, "weir_raw_written_bytes_total"),
		freshness:  meter.Timer(m, "weir_raw_freshness_seconds"),
	}
}

var _ service.BatchOutput = (*output)(nil)
