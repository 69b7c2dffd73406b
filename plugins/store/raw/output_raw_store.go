// Package raw keeps every event as a row of Parquet, by date, with the
// coordinates of the record it came in, and answers queries for single events.
package raw

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/conf"
	"weir/internal/platform/flow"
	"weir/internal/platform/meter"
	"weir/plugins/store/lake"
)

const (
	rawFieldURL           = "url"
	rawFieldRecall        = "recall"
	rawFieldTimeout       = "timeout"
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
		Field(service.NewStringField(rawFieldURL).Secret().
			Description("The store: `file:///abs/dir`, `s3://bucket/prefix?region=…` or `mem://`.").
			Examples("file:///var/lib/weir/raw", "s3://telemetry/raw?region=eu-central-1")).
		Field(service.NewDurationField(rawFieldRecall).
			Description("How long after it was written a record may be delivered again: the retention of the log, and some "+
				"more. What was written longer ago is not recognised; a reader still sees it once.").
			Default("5h").Advanced()).
		Field(service.NewDurationField(rawFieldTimeout).
			Description("How long writing one object may take.").
			Default("1m").Advanced()).
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

// Register adds the room's components.
func Register(env *service.Environment) error {
	return flow.Store{
		Name: "raw_store", Spec: storeSpec(), Batching: rawFieldBatching, Is: "raw store", Up: "weir_raw_store_up",
		New: func(conf *service.ParsedConfig, res *service.Resources) (service.BatchOutput, error) {
			return newOutput(conf, res)
		},
	}.Register(env)
}

// output is raw_store.
type output struct {
	url     string
	recall  time.Duration
	timeout time.Duration
	maxRows int
	options lake.Options
	table   *lake.Table
	res     *service.Resources
	count   counters
	now     func() time.Time

	spare atomic.Pointer[scratch] // for the next batch

	store   *lake.Store
	release func()
	memory  *lake.Memory
}

func newOutput(parsed *service.ParsedConfig, res *service.Resources) (*output, error) {
	o := &output{table: Table(), res: res, count: newCounters(res.Metrics()), now: time.Now}
	err := conf.Read(parsed, rawFieldURL, lake.URL(&o.url), rawFieldRecall, conf.NotNegative(&o.recall),
		rawFieldTimeout, conf.Positive(&o.timeout), rawFieldMaxObjectRows, conf.Positive(&o.maxRows),
		rawFieldRowGroupRows, conf.Positive(&o.options.RowGroupRows))
	if err == nil {
		err = lake.CheckURL(o.url)
	}
	return o, conf.Checked(parsed, err)
}

// Connect opens the store and reads what was written to it within recall.
func (o *output) Connect(ctx context.Context) error {
	if o.store == nil {
		store, release, err := lake.Shared(ctx, o.res, o.url)
		if err != nil {
			return err
		}
		o.store, o.release = store, release
	}
	memory := lake.NewMemory(o.store, o.recall)
	if err := memory.Load(ctx, o.now()); err != nil {
		return fmt.Errorf("reading which records are stored: %w", err)
	}
	o.memory = memory
	return nil
}

// Close releases the store. Every batch that WriteBatch returned nil for is
// durable; nothing else is held.
func (o *output) Close(context.Context) error {
	if o.release != nil {
		o.release()
		o.store, o.release = nil, nil
	}
	return nil
}

type counters struct {
	rows, duplicates, recognised, untargeted, erased, rejected, objects, bytes *service.MetricCounter

	freshness *service.MetricTimer // a batch: since its oldest live event was received
}

func newCounters(m *service.Metrics) counters {
	return counters{
		rows:       meter.Counter(m, "weir_raw_rows_total"),
		duplicates: meter.Counter(m, "weir_raw_duplicates_total"), // proven by event_dedupe
		recognised: meter.Counter(m, "weir_raw_recognised_total"), // stored before, skipped
		untargeted: meter.Counter(m, "weir_raw_untargeted_total"), // of a replay, for others
		erased:     meter.Counter(m, "weir_raw_erased_total"),     // of a device or fleet that was erased since
		rejected:   meter.Counter(m, "weir_raw_rejected_total"),   // no events
		objects:    meter.Counter(m, "weir_raw_objects_total"),
		bytes:      meter.Counter(m, "weir_raw_written_bytes_total"),
		freshness:  m.NewTimer("weir_raw_freshness_seconds"),
	}
}

var _ service.BatchOutput = (*output)(nil)
