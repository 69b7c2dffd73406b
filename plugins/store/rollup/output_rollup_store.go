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
Its messages are those that the processor `+"`rollup`"+` makes. A batch is one transaction: when it is acknowledged it is durable, and after an error nothing of it was counted. An outage of the database is an error, after which the input delivers the batch again.

A window of a device is one row, which has the sums of its metrics and the ids of the events that it counts, the ledger. Only events that are not in the ledger are added, so a batch may be delivered any number of times, in any order, to any number of writers. The version of a row tells a writer that another one has changed it in the meantime: then it reads the row and merges again.

An hour is computed from its minutes, and a day from its hours, each time as a whole: when the hour is over, every `+"`refresh`"+` before that, and when late events have changed it. Queries over the API compute what is not up to date in these rows, so their results never lag.

A batch is written to a journal, which is cheap. The rows are written from memory later, a few at a time: each row `+"`write_every`"+` after the first event that it lacks, and all rows when no batch has come for 5 s. Queries over the API never lag: with SQLite, the rows that they need are written first; with PostgreSQL, where each process has a part of the journal, they read all parts with the rows. After a crash, the next process reads the journal; with PostgreSQL, another process writes its rows after half a minute. In PostgreSQL, windows older than a day are written as rows at once.

Minutes that are older than `+"`hot`"+` are moved to `+"`old_url`"+`, as Parquet by day: a window of three metrics takes less than 150 bytes there, and about 900 as a row. A window is moved once the processor `+"`retention`"+` has dropped its ledger, so windows of a fleet under a legal hold stay rows. All queries of weir read both. A late event or a rebuild makes a window a row again, which is moved later. One process moves at a time.

For SQL and Grafana there are the views `+"`rollup_1m`, `rollup_1h` and `rollup_1d`"+`, with one line per metric: `+"`fleet, device_id, metric, bucket, count, sum, min, max, avg, m2, p50, p95, last, last_at`"+`. The view of minutes has those that are rows; the moved ones have the same columns in Parquet.

With `+"`postgres://`"+`, minutes and hours are TimescaleDB hypertables if the extension is installed in the database when the tables are created, else native partitions by time.

### Metrics

`+"`weir_rollup_events_total{outcome}`"+` (`+"`counted`; `duplicate`: the ledger has it already; `sealed`: replayed into a window whose ledger was dropped, which only a rebuild can correct; `expired`: older than `retention`; `erased`: of a device or fleet that was erased since it was received"+`), `+"`weir_rollup_rows_total` (written), `weir_rollup_read_rows_total`, `weir_rollup_evicted_rows_total` (removed from memory because `cache` was full), `weir_rollup_memory_rows`, `weir_rollup_conflicts_total`, `weir_rollup_rolls_total` and `weir_rollup_moved_windows_total` (to `old_url`)").
		Field(service.NewStringField(rollupFieldURL).
			Description("The database: `sqlite://PATH` or `postgres://user:password@host/database`.").Secret().
			Example("sqlite:///var/lib/weir/rollups.db").Example("postgres://weir@localhost/weir")).
		Field(service.NewDurationField(rollupFieldRetention).
			Description("How long rollups are kept, in whole days by the time of their events. Older events are not "+
				"counted. The processor `retention` deletes the rollups: give both the same time.").
			Default("17520h")).
		Field(service.NewIntField(rollupFieldCache).
			Description("The maximum number of windows in memory, about 1.5 KiB each. A window is removed soon after its "+
				"minute, so twice the number of devices that send is enough. If there are more windows, "+
				"`weir_rollup_evicted_rows_total` rises, windows are read before they are merged, and rows are written "+
				"before `write_every`.").
			Default(DefaultLimits().Cache).Advanced()).
		Field(service.NewDurationField(rollupFieldWrite).
			Description("How long after an event its row is written: so long SQL queries of the database lag, but not "+
				"queries over the API. Rows are also written when no batch has come for 5 s, when the journal has 64 MiB, "+
				"when `cache` is full and when weir stops. With 1m, a row is written once; with 10s, and a device that "+
				"reports every 10 s, six times. `0s` writes rows with every batch.").
			Default("1m").Advanced()).
		Field(service.NewStringField(rollupFieldOldURL).Secret().
			Description("Where minutes older than `hot` are moved to: `file:///abs/dir` or `s3://bucket/prefix?region=…`, "+
				"into the folders `rollup_1m` and `rollup_sum` there. The database keeps this URL, so other components and "+
				"commands know it. Before you change it, copy the objects to the new place. Empty: nothing is moved, and "+
				"moved minutes stay where they are.").
			Default("").Example("file:///var/lib/weir/rollups").Example("s3://weir-rollups?region=eu-central-1")).
		Field(service.NewDurationField(rollupFieldHot).
			Description("The age in whole days at which minutes are moved to `old_url`. A minute is moved only after its "+
				"ledger was dropped, by default seven days after its last change: see the processor `retention`.").
			Default("168h")).
		Field(service.NewDurationField(rollupFieldMove).
			Description("How long to wait after each search for minutes to move.").
			Default("10m").Advanced()).
		Field(service.NewDurationField(rollupFieldSettle).
			Description("How long after its end an hour is computed. Later events make it be computed again, only for "+
				"their devices.").
			Default("2m").Advanced()).
		Field(service.NewDurationField(rollupFieldRefresh).
			Description("How often an hour that is not over is computed, for SQL queries of the views.").
			Default("15m").Advanced()).
		Field(service.NewDurationField(rollupFieldTimeout).
			Description("How long one batch may wait for the database before it counts as failed and is delivered again.").
			Default("2m").Advanced()).
		Field(service.NewBatchPolicyField(rollupFieldBatching)).
		Example("Roll up a topic", "Windows are merged every two seconds; failed records are dropped.", `
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
