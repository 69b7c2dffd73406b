package erasure

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/hold"
	"weir/internal/control/identity"
	"weir/internal/lifecycle"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/conf"
	"weir/internal/platform/flow"
	"weir/internal/platform/meter"
	"weir/internal/platform/sqldb"
	"weir/plugins/operate/recount"
	"weir/plugins/store/lake"
)

const (
	erasureFieldControl    = "control"
	erasureFieldRaw        = "raw"
	erasureFieldDeadLetter = "dead_letter"
	erasureFieldRollups    = "rollups"
	erasureFieldSettle     = "settle"
	erasureFieldLog        = "log_retention"
	erasureFieldClaims     = "claims_ttl"
	erasureFieldUpcast     = "upcast"
	erasureFieldAlso       = "also"
)

// bound is the time within which an erasure is done while its stores answer, plus a second for each rate bytes of
// objects, all of which may have to be rewritten.
const (
	bound = 15 * time.Minute
	rate  = 5 << 20
)

func inputSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Weir").
		Summary("Carries out erasures: everything that was received of a device, a person or a fleet leaves every store.").
		Description(`
Erasures are requested with `+"`POST /v1/erasures` of the api, or `weir erase`"+`. Any number of processes may run this input on one control
store: an erasure belongs to one of them at a time, and another takes it over when that one is gone. It has these steps, each of which can be
repeated: tombstones are written to every store, by which writers refuse events that arrive later; everything that is stored is deleted; after
`+"`settle`"+`, what writers had begun to write before they read the tombstones is deleted; later events that shared a window of rollups with erased ones are counted
again; the files of SQLite stores are rewritten. It ends within 15 minutes and a second for each 5 MB of
objects, as long as its stores answer, and is tried again until it succeeds.

A fleet under legal hold is not erased: `+"`POST`"+` is refused, and a hold that comes while an erasure runs stops it until it is released.

Each message is the receipt of an erasure that has ended. The control store keeps it, without the name of the device.

### Metrics

`+"`weir_erasure_ended_total{state=done|refused}`, `weir_erasure_failures_total` (steps that are tried again) and the gauge `weir_erasure_overdue_jobs`"+`.`).
		Field(service.NewStringField(erasureFieldControl).
			Description("The SQL store of erasures, groups, alerts, baselines and replays: `sqlite://PATH` or "+
				"`postgres://…`.").Secret().
			Example("sqlite://data/control.db")).
		Field(service.NewStringField(erasureFieldRaw).Secret().
			Description("The store of raw events.").Example("file://data/raw")).
		Field(service.NewStringField(erasureFieldDeadLetter).Secret().
			Description("The store of dead letters.").Example("file://data/dead-letter")).
		Field(service.NewStringField(erasureFieldRollups).
			Description("The SQL store of rollups.").Secret().
			Example("sqlite://data/rollups.db")).
		Field(service.NewObjectListField(erasureFieldAlso,
			service.NewStringField(erasureFieldRaw).Secret().
				Description("Their store of events.").Example("file://data/user-raw"),
			service.NewStringField(erasureFieldDeadLetter).Secret().
				Description("Their store of dead letters.").Example("file://data/user-dead-letter")).
			Description("Further stores of events, which are not rolled up: erasures apply to them as well. "+
				"`configs/people` has events about people there.").
			Default([]any{}).Advanced()).
		Field(service.NewDurationField(erasureFieldSettle).
			Description("How long after the tombstones the second pass begins. Not less than two minutes: writers read "+
				"tombstones once a minute, and may be writing for another.").
			Default("125s").Advanced()).
		Field(service.NewDurationField(erasureFieldLog).
			Description("The longest retention of the log's topics, for the receipt: a record of the log cannot be deleted "+
				"alone.").
			Default("168h").Advanced()).
		Field(service.NewDurationField(erasureFieldClaims).
			Description("How long claims of event ids are kept, for the receipt.").
			Default("1h").Advanced()).
		Field(service.NewBloblangField(erasureFieldUpcast).
			Description("The mapping of events in the rollup stream, before they are counted.").
			Optional()).
		Example("Carry out erasures", "No message is sent: receipts are read over the api.", `
input:
  erasure_jobs:
    control: sqlite://data/control.db
    raw: file:///var/lib/weir/raw
    dead_letter: file:///var/lib/weir/dead-letter
    rollups: sqlite://data/rollups.db
output:
  drop: {}
`)
}

// Register registers the components of this package, which erase from the stores of the list.
func Register(env *service.Environment, list lifecycle.List) error {
	return env.RegisterInput("erasure_jobs", inputSpec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.Input, error) {
			in, err := newInput(conf, res, list)
			if err != nil {
				return nil, err
			}
			return service.AutoRetryNacks(in), nil
		})
}

// input is erasure_jobs.
type input struct {
	res                 *service.Resources
	list                lifecycle.List
	urls                map[lifecycle.Place]string
	also                []map[lifecycle.Place]string // object stores besides those
	settle, log, claims time.Duration
	upcast              *bloblang.Executor // nil: stored events are counted as they are
	poll                time.Duration
	count               *service.MetricCounter
	failures            *service.MetricCounter
	overdue             *service.MetricGauge
	receipts            chan *Erasure

	mu      sync.Mutex
	working *flow.Task // nil before Connect and after Close
	places  *lifecycle.Places
}

func newInput(parsed *service.ParsedConfig, res *service.Resources, list lifecycle.List) (*input, error) {
	in := &input{res: res, list: list, poll: time.Second, receipts: make(chan *Erasure, 64),
		count:    meter.Counters(res.Metrics(), "weir_erasure_ended_total", "state", string(Done), string(Refused)),
		failures: meter.Counter(res.Metrics(), "weir_erasure_failures_total"),
		overdue:  meter.Gauge(res.Metrics(), "weir_erasure_overdue_jobs"),
	}
	var control, raw, deadLetter, rollups string
	err := conf.Read(parsed, erasureFieldControl, sqldb.URL(&control), erasureFieldRaw, lake.URL(&raw),
		erasureFieldDeadLetter, lake.URL(&deadLetter),
		erasureFieldRollups, sqldb.URL(&rollups), erasureFieldSettle, &in.settle, erasureFieldLog,
		conf.NotNegative(&in.log), erasureFieldClaims, conf.NotNegative(&in.claims))
	if err != nil {
		return nil, err
	}
	in.urls = map[lifecycle.Place]string{lifecycle.Control: control, lifecycle.Raw: raw, lifecycle.DeadLetters: deadLetter,
		lifecycle.Rollups: rollups}
	also, err := parsed.FieldObjectList(erasureFieldAlso)
	if err != nil {
		return nil, err
	}
	for _, at := range also {
		var events, letters string
		if err := conf.Read(at, erasureFieldRaw, lake.URL(&events), erasureFieldDeadLetter,
			lake.URL(&letters)); err != nil {
			return nil, err
		}
		in.also = append(in.also, map[lifecycle.Place]string{lifecycle.Raw: events, lifecycle.DeadLetters: letters,
			lifecycle.Control: control, lifecycle.Rollups: rollups})
	}
	if in.settle < lake.EraseSettle {
		return nil, fmt.Errorf("reading field %s: expected %s or more: a writer may need as long to know of a tombstone",
			erasureFieldSettle, lake.EraseSettle)
	}
	if parsed.Contains(erasureFieldUpcast) {
		if in.upcast, err = parsed.FieldBloblang(erasureFieldUpcast); err != nil {
			return nil, err
		}
	}
	return in, conf.Checked(parsed, nil)
}

// Connect opens the stores and begins to execute erasures.
func (in *input) Connect(ctx context.Context) (err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.working != nil {
		return nil
	}
	in.places = lifecycle.NewPlaces(in.res, in.urls)
	defer func() {
		if err != nil {
			in.places.Close()
		}
	}()
	r := &runner{owner: uuid.NewString(), settle: in.settle, log: in.log, claims: in.claims,
		logger: in.res.Logger(), now: time.Now, scrubs: map[*sqldb.DB]time.Time{}}
	if err := in.open(ctx, r); err != nil {
		return err
	}
	in.working = flow.Start(func(ctx context.Context) { in.work(ctx, r) })
	return nil
}

// open opens the stores of the list. Their tables exist when it returns nil.
func (in *input) open(ctx context.Context, r *runner) error {
	control, err := in.places.SQL(ctx, lifecycle.Control)
	if err != nil {
		return err
	}
	rollups, err := in.places.SQL(ctx, lifecycle.Rollups)
	if err != nil {
		return err
	}
	raw, release, err := lake.Shared(ctx, in.res, in.urls[lifecycle.Raw])
	if err != nil {
		return err
	}
	in.places.OnClose(release)
	if r.store, err = OpenStore(ctx, control); err != nil {
		return err
	}
	if r.holds, err = hold.Open(ctx, control); err != nil {
		return err
	}
	people, err := identity.Open(ctx, control)
	if err != nil {
		return err
	}
	r.people = func(ctx context.Context, fleet, person string) (*identity.Person, error) {
		return people.Person(ctx, fleet, person, 0)
	}
	for _, kind := range in.list {
		store, err := kind.Open(ctx, in.places)
		if err != nil {
			return err
		}
		r.stores = append(r.stores, named{store, kind.Name, kind.Place.SQL()})
	}
	for _, urls := range in.also {
		if err := in.beside(ctx, r, lifecycle.NewPlaces(in.res, urls)); err != nil {
			return err
		}
	}
	r.recount = func(ctx context.Context, t tombstone.Target) (int64, error) {
		return recount.Later(ctx, raw, rollups, in.upcast, t)
	}
	r.tables, err = in.list.Databases(ctx, in.places)
	return err
}

// beside opens the object stores at other places, and puts them before the databases: the audit log is erased last.
func (in *input) beside(ctx context.Context, r *runner, at *lifecycle.Places) error {
	in.places.OnClose(at.Close)
	var opened []named
	for _, kind := range in.list {
		if kind.Place.SQL() {
			continue
		}
		store, err := kind.Open(ctx, at)
		if err != nil {
			return err
		}
		opened = append(opened, named{store, "other " + kind.Name, false})
	}
	r.stores = append(opened, r.stores...)
	return nil
}

// work executes one step after the other.
func (in *input) work(ctx context.Context, r *runner) {
	for ctx.Err() == nil {
		e, err := r.store.take(ctx, r.owner)
		if err == nil && e == nil {
			var late int64
			if late, err = r.store.overdue(ctx); err == nil {
				in.overdue.Set(late)
			}
		}
		if err != nil && ctx.Err() == nil {
			in.res.Logger().Warnf("%v", err)
		}
		if e == nil {
			pause(ctx, in.poll)
			continue
		}
		if err := r.carry(ctx, e); err != nil && ctx.Err() == nil {
			in.res.Logger().Warnf("erasure %s was let go: %v", e.ID, err)
			continue
		}
		switch {
		case e.phase == ended:
			in.count.Incr(1, string(e.State))
			in.res.Logger().Infof("erasure %s has ended: %s", e.ID, e.State)
			select {
			case in.receipts <- e:
			default: // receipts are stored anyway, even if nobody reads them
			}
		case e.Error != "":
			in.failures.Incr(1)
			in.res.Logger().Warnf("erasure %s: %s", e.ID, e.Error)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// Read returns the receipt of the next erasure that has ended.
func (in *input) Read(ctx context.Context) (*service.Message, service.AckFunc, error) {
	in.mu.Lock()
	connected := in.working != nil
	in.mu.Unlock()
	if !connected {
		return nil, nil, service.ErrNotConnected
	}
	select {
	case e := <-in.receipts:
		raw, err := json.Marshal(e)
		if err != nil {
			return nil, nil, fmt.Errorf("writing a receipt: %w", err)
		}
		return service.NewMessage(raw), func(context.Context, error) error { return nil }, nil
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// Close stops after the current piece of work; the step is repeated later.
func (in *input) Close(ctx context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.working == nil {
		return nil
	}
	if err := in.working.End(ctx); err != nil {
		return fmt.Errorf("closing the erasures: a step has not stopped: %w", err)
	}
	in.places.Close()
	in.working = nil
	return nil
}

var _ service.Input = (*input)(nil)
