package rollup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/conf"
	"weir/internal/platform/flow"
	"weir/internal/platform/meter"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
	"weir/plugins/store/lake"
)

const (
	rollupFieldURL       = "url"
	rollupFieldRetention = "retention"
	rollupFieldCache     = "cache"
	rollupFieldWrite     = "write_every"
	rollupFieldOldURL    = "old_url"
	rollupFieldHot       = "hot"
	rollupFieldMove      = "move_every"
	rollupFieldSettle    = "settle"
	rollupFieldRefresh   = "refresh"
	rollupFieldTimeout   = "timeout"
	rollupFieldBatching  = "batching"
)

func storeSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Services").
		Summary("Merges windows into rollups of one minute, one hour and one day, counting each event once.").
		Description(`
It takes the messages that the processor `+"`rollup`"+` makes. A batch is one transaction: acknowledged means durable, and an error means that nothing was counted. An outage of the database is an error; the input delivers the batch again.

A window of a device is one row: its metrics packed side by side, and the ids of the events that it counts, its ledger. Only events that the ledger lacks are added, so a batch may be delivered any number of times, in any order, to any number of writers: a row's version tells a writer that another was there first, and it reads and merges again.

Hours are made from minutes, and days from hours, by replacing: when an hour is over, every `+"`refresh`"+` while it is not, and when late events changed it. Queries over the API compute what is not rolled yet, so they never lag.

A batch goes into a journal, which costs next to nothing, and rows are written from memory, a few at a time: each `+"`write_every`"+` after the first event that it lacks, and all when no batch has come for 5 s. What weir answers never lags: from SQLite it has the rows written that it reads, from PostgreSQL, where each process has a part of the journal, it reads all parts with the rows. What a crash leaves in the journal, the next process finds there; in PostgreSQL another one writes it after half a minute. Windows older than a day are rows of PostgreSQL at once.

Minutes that are older than `+"`hot`"+` move to `+"`old_url`"+`, as Parquet by day: a window of three metrics takes less than 150 bytes there, and about 900 as a row. They go once their ledgers are dropped, which the processor `+"`retention`"+` does, so those of a held fleet stay rows. Everything of weir reads them where they are; a late event or a rebuild makes a window a row again, which moves later. One process moves at a time.

To read with SQL or Grafana there are the views `+"`rollup_1m`, `rollup_1h` and `rollup_1d`"+`, with one line per metric: `+"`fleet, device_id, metric, bucket, count, sum, min, max, avg, m2, p50, p95, last, last_at`"+`. Of minutes they show those that are rows; the others have the same columns in Parquet.

With `+"`postgres://`"+`, minutes and hours are TimescaleDB hypertables where the extension is installed in the database when the tables are made, else native partitions by time.

### Metrics

`+"`weir_rollup_events_total{outcome}`"+` (`+"`counted`; `duplicate`: the ledger has it; `sealed`: replayed into a window whose ledger is gone, which only a rebuild can correct; `expired`: older than `retention`; `erased`: of a device or fleet that was erased since it was received"+`), `+"`weir_rollup_rows_total` (written), `weir_rollup_read_rows_total`, `weir_rollup_evicted_rows_total` (for which `cache` had no room), `weir_rollup_memory_rows`, `weir_rollup_conflicts_total`, `weir_rollup_rolls_total` and `weir_rollup_moved_windows_total` (to `old_url`)").
		Field(service.NewStringField(rollupFieldURL).
			Description("The database: `sqlite://PATH` or `postgres://user:password@host/database`.").Secret().
			Example("sqlite:///var/lib/weir/rollups.db").Example("postgres://weir@localhost/weir")).
		Field(service.NewDurationField(rollupFieldRetention).
			Description("How long rollups are kept, in whole days of their own time: older events are not counted. The "+
				"processor `retention` is what deletes; give both the same time.").
			Default("17520h")).
		Field(service.NewIntField(rollupFieldCache).
			Description("How many windows are kept in memory at most, about 1.5 KiB each. A window leaves it soon after its "+
				"minute, so memory follows the devices that send; twice their number is enough. Where it is not, "+
				"`weir_rollup_evicted_rows_total` rises, windows are read before they are merged, and rows are written "+
				"before `write_every`.").
			Default(DefaultLimits().Cache).Advanced()).
		Field(service.NewDurationField(rollupFieldWrite).
			Description("How late those who read the database with SQL see rows; what weir answers never lags. "+
				"Rows are also written when no batch has come for 5 s, when the journal has 64 MiB, when `cache` is full and "+
				"when weir stops. With a minute here, a row is written once; with ten seconds, and devices that report as "+
				"often, six times. `0s` writes rows with every batch.").
			Default("1m").Advanced()).
		Field(service.NewStringField(rollupFieldOldURL).Secret().
			Description("Where minutes move that are older than `hot`: `file:///abs/dir` or `s3://bucket/prefix?region=…`, "+
				"below the folders `rollup_1m` and `rollup_sum`. The database remembers it, so nobody else needs to be told. "+
				"When it changes, the "+
				"objects must be there already. Empty moves nothing; what was moved stays where it is.").
			Default("").Example("file:///var/lib/weir/rollups").Example("s3://weir-rollups?region=eu-central-1")).
		Field(service.NewDurationField(rollupFieldHot).
			Description("How old minutes are, in whole days, when they move to `old_url`. Their ledgers must be dropped by "+
				"then, seven days after their last change if `retention` says nothing else.").
			Default("168h")).
		Field(service.NewDurationField(rollupFieldMove).
			Description("How long after one look for minutes to be moved the next begins.").
			Default("10m").Advanced()).
		Field(service.NewDurationField(rollupFieldSettle).
			Description("How long after its end an hour is rolled. What comes later is rolled device by device.").
			Default("2m").Advanced()).
		Field(service.NewDurationField(rollupFieldRefresh).
			Description("How often an hour that is not over is rolled, for those who read the views.").
			Default("15m").Advanced()).
		Field(service.NewDurationField(rollupFieldTimeout).
			Description("How long one batch may wait for the database before it counts as failed and is delivered again.").
			Default("2m").Advanced()).
		Field(service.NewBatchPolicyField(rollupFieldBatching)).
		Example("Roll up a topic", "Windows are merged every two seconds; bad records go elsewhere.", `
output:
  fallback:
    - reject_errored:
        rollup_store:
          url: postgres://weir@localhost/weir
          batching:
            count: 50000
            period: 2s
            processors:
              - rollup: {}
    - drop: {}
`)
}

type output struct {
	url     string
	limits  Limits
	policy  rollPolicy
	timeout time.Duration
	res     *service.Resources

	mover mover

	events, rows, read, evicted, conflicts, rolled *service.MetricCounter
	moved                                          *service.MetricCounter
	held                                           *service.MetricGauge
	freshness                                      *service.MetricTimer

	counting sync.Mutex
	counted  usage // what the metrics have counted already

	mu      sync.Mutex // held by Close until the upkeep has ended
	store   *Store
	release func()
	tending *flow.Task
	moving  *flow.Task
}

func newOutput(parsed *service.ParsedConfig, res *service.Resources) (service.BatchOutput, service.BatchPolicy, int,
	error) {
	o := &output{res: res}
	var batching service.BatchPolicy
	if err := conf.Checked(parsed, conf.Read(parsed, rollupFieldBatching, &batching, rollupFieldURL, sqldb.URL(&o.url),
		rollupFieldRetention, conf.Positive(&o.limits.Keep),
		rollupFieldWrite, conf.NotNegative(&o.limits.WriteEvery), rollupFieldSettle, conf.Positive(&o.policy.Settle),
		rollupFieldOldURL, conf.Valid(lake.MaybeURL(&o.mover.url), o.mover.lasts),
		rollupFieldHot, conf.Positive(&o.mover.hot), rollupFieldMove, conf.Positive(&o.mover.every),
		rollupFieldRefresh, conf.Positive(&o.policy.Refresh), rollupFieldTimeout, conf.Positive(&o.timeout),
		rollupFieldCache, conf.Positive(&o.limits.Cache))); err != nil {
		return nil, batching, 0, err
	}
	m := res.Metrics()
	o.events = m.NewCounter("weir_rollup_events_total", "outcome")
	for n := range outcomes {
		o.events.Incr(0, n.String())
	}
	o.rows = meter.Counter(m, "weir_rollup_rows_total")
	o.read = meter.Counter(m, "weir_rollup_read_rows_total")
	o.evicted = meter.Counter(m, "weir_rollup_evicted_rows_total")
	o.held = meter.Gauge(m, "weir_rollup_memory_rows")
	o.freshness = meter.Timer(m, "weir_rollup_freshness_seconds")
	o.conflicts = meter.Counter(m, "weir_rollup_conflicts_total")
	o.moved = meter.Counter(m, "weir_rollup_moved_windows_total")
	o.rolled = meter.Counter(m, "weir_rollup_rolls_total")
	// One batch at a time: batches of one store would wait for each other.
	return flow.Hold(o, "rollup store", "weir_rollup_store_up", meter.Counter(m, "weir_rollup_store_failures_total"), res),
		batching, 1, nil
}

// Connect opens the database and starts the upkeep. In SQLite it first writes to rows what
// a crash has left in the journal.
func (o *output) Connect(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.store != nil {
		return nil
	}
	store, release, err := sqldb.SharedAs(ctx, o.res, o.url, func(ctx context.Context, db *sqldb.DB) (*Store, error) {
		return Open(ctx, db, o.limits)
	})
	if err != nil {
		return err
	}
	if !store.parted { // a crash may have left entries in the journal
		if err := store.WriteOut(ctx); err != nil {
			release()
			return err
		}
	}
	o.store, o.release, o.counted = store, release, store.Use()
	o.tending, o.moving = flow.Start(o.upkeep), flow.Start(o.moveOld)
	return nil
}

// WriteBatch returns nil when every event of the batch is durable in the rollups or was counted
// before. After an error nothing was counted, unless the connection broke at the commit; the
// retry finds out.
func (o *output) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	o.mu.Lock()
	store := o.store
	o.mu.Unlock()
	if store == nil {
		return service.ErrNotConnected
	}
	windows := make([]*Window, 0, len(batch))
	for _, msg := range batch {
		w, err := windowOf(msg)
		if err != nil {
			return err
		}
		windows = append(windows, w)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	res, err := store.Add(ctx, windows, time.Now())
	if res.Conflicts > 0 {
		o.conflicts.Incr(int64(res.Conflicts))
	}
	if err != nil {
		return err
	}
	if oldest, ok := oldestOf(windows); ok {
		o.freshness.Timing(time.Since(oldest).Nanoseconds())
	}
	for n, count := range res.Events {
		if count > 0 {
			o.events.Incr(int64(count), outcome(n).String())
		}
	}
	o.count(store)
	return nil
}

// oldestOf returns when the oldest live event of some windows was received. Replayed events say
// nothing about how fresh the rollups are.
func oldestOf(windows []*Window) (time.Time, bool) {
	var oldest string
	for _, w := range windows {
		for i := range w.events {
			// All times have the layout event.TimeFormat, some with more digits, and sort as texts.
			if e := &w.events[i]; !e.replayed && e.received != "" && (oldest == "" || e.received < oldest) {
				oldest = e.received
			}
		}
	}
	return text.ParseTime(oldest)
}

// count updates the metrics of rows.
func (o *output) count(store *Store) {
	o.counting.Lock()
	defer o.counting.Unlock()
	use := store.Use()
	o.rows.Incr(use.Written - o.counted.Written)
	o.read.Incr(use.Read - o.counted.Read)
	o.evicted.Incr(use.Evicted - o.counted.Evicted)
	o.held.Set(int64(use.Held))
	o.counted = use
}

// windowOf returns the window in a message: the processor's Window, or decoded from JSON.
func windowOf(msg *service.Message) (*Window, error) {
	if msg.HasStructured() {
		if v, err := msg.AsStructured(); err == nil {
			if w, ok := v.(*Window); ok {
				return w, nil
			}
		}
	}
	raw, err := msg.AsBytes()
	if err != nil {
		return nil, err
	}
	w := &Window{}
	if err := w.UnmarshalJSON(raw); err != nil {
		return nil, fmt.Errorf("%w: put the processor rollup last into the output's batching.processors", err)
	}
	return w, nil
}

// Close ends the upkeep, writes the unwritten rows, and releases the database. When writing
// fails the rows are still in the journal.
func (o *output) Close(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.store == nil {
		return nil
	}
	if err := errors.Join(o.moving.End(ctx), o.tending.End(ctx)); err != nil {
		return err
	}
	err := o.store.leave(ctx)
	if err != nil {
		err = fmt.Errorf("writing rollups: they are in the journal, and written at the next start: %w", err)
	}
	o.release()
	o.store = nil
	return err
}
