package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
	"weir/plugins/ingest/registry"
	"weir/plugins/operate/replay"
	"weir/plugins/store/deadletter"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
	"weir/plugins/store/rollup"
)

// replaySources lets the replay room read and write the stores of others.
func replaySources() replay.Sources {
	return replay.Sources{
		Events: func(store *lake.Store) replay.Events { return storedEvents{store} },
		DeadLetters: func(ctx context.Context, store *lake.Store, control *sqldb.DB) (replay.DeadLetters, error) {
			outcomes, err := deadletter.OpenOutcomes(ctx, control)
			return deadLetters{store, outcomes}, err
		},
		Rollups: func(ctx context.Context, db *sqldb.DB) (replay.Rollups, error) {
			store, err := rollup.Open(ctx, db, rollup.DefaultLimits())
			return rollups{store}, err
		},
		Schemas: func(ctx context.Context, url string) (replay.Schemas, error) {
			set, err := registry.LoadSet(ctx, registry.Place{URL: url}, "telemetry")
			return schemas{set}, err
		},
	}
}

// schemas are those of events.
type schemas struct{ *registry.Set }

func (s schemas) Unknown(e replay.Stored) string {
	r := e.(storedEvent).row
	return s.UnknownMetrics(r.Firmware, r.Metrics, r.Unknown)
}

// storedEvents is the raw store.
type storedEvents struct{ store *lake.Store }

func (s storedEvents) Scan(ctx context.Context, r replay.Range, after json.RawMessage, each func(replay.Stored) error) error {
	q := raw.Query{From: r.From, To: r.To, Fleet: r.Fleet, Devices: r.Devices}
	if len(after) > 0 {
		if err := json.Unmarshal(after, &q.After); err != nil {
			return fmt.Errorf("reading where the replay was: %w", err)
		}
	}
	_, err := raw.NewReader(s.store).Scan(ctx, q, func(row *raw.Row) error { return each(storedEvent{row}) })
	return err
}

// Count adds up what objects say of themselves, as far as they lie in the
// range; for devices, what their indexes say.
func (s storedEvents) Count(ctx context.Context, r replay.Range) (n int64, err error) {
	if len(r.Devices) > 0 {
		return raw.NewReader(s.store).Estimate(ctx, raw.Query{From: r.From, To: r.To, Fleet: r.Fleet, Devices: r.Devices})
	}
	objects, err := s.store.Objects(ctx, lake.Select{From: r.From, To: r.To})
	if err != nil {
		return 0, err
	}
	err = s.store.Footers(ctx, objects, func(f lake.Footer) error {
		whole := f.Max.Sub(f.Min)
		inside := minTime(f.Max, r.To).Sub(maxTime(f.Min, r.From))
		if whole <= 0 || inside >= whole {
			n += f.Rows
		} else {
			n += int64(float64(f.Rows) * inside.Seconds() / whole.Seconds())
		}
		return nil
	})
	return n, err
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

type storedEvent struct{ row *raw.Row }

func (e storedEvent) Message() (*service.Message, error) {
	r := e.row
	value, err := r.AppendJSON(make([]byte, 0, 384))
	if err != nil {
		return nil, err
	}
	msg := service.NewMessage(value)
	set := func(name, value string) {
		if value != "" {
			msg.MetaSetMut(name, strings.Clone(value)) // a row's texts are its object's memory
		}
	}
	set(event.HeaderFleet, r.Fleet)
	if r.ReceivedAt != 0 {
		set(event.HeaderReceivedAt, time.UnixMicro(r.ReceivedAt).UTC().Format(event.TimeFormat))
	}
	set(event.HeaderSchema, r.Schema)
	set(event.HeaderFlags, r.Flags)
	set(event.HeaderUnknownMetrics, r.Unknown)
	if e.Logged() {
		set(event.HeaderDelivery, r.Delivery.String())
	}
	set(event.MetaDevice, r.Device)
	return msg, nil
}

func (e storedEvent) Logged() bool { return e.row.Delivery.Partition >= 0 }

func (e storedEvent) Window() replay.Window {
	return replay.Window{Fleet: strings.Clone(e.row.Fleet), Device: strings.Clone(e.row.Device),
		Bucket: time.UnixMicro(e.row.At).UTC().Truncate(time.Minute)}
}

func (e storedEvent) Position() (json.RawMessage, error) { return json.Marshal(raw.PositionOf(e.row)) }

// rollups is the rollup store.
type rollups struct{ store *rollup.Store }

func (r rollups) Begin(s replay.Schemas) replay.Windows {
	return &windows{store: r.store, schemas: s, collector: rollup.NewCollector(1024), names: map[string]string{}}
}

type windows struct {
	store     *rollup.Store
	schemas   replay.Schemas // nil: events say what was unknown
	collector *rollup.Collector
	names     map[string]string // the windows outlive the rows they are made of
}

func (w *windows) name(s string) string {
	own, ok := w.names[s]
	if !ok {
		own = strings.Clone(s)
		w.names[own] = own
	}
	return own
}

func (w *windows) Add(s replay.Stored, canonical *service.Message) error {
	r := s.(storedEvent).row
	e := event.Event{UUID: r.ID, Device: w.name(r.Device), Metrics: slices.Clone(r.Metrics)}
	if canonical != nil {
		value, err := canonical.AsBytes()
		if err == nil {
			e.Metrics = nil
			err = event.Parse(value, &e)
		}
		if err != nil {
			return fmt.Errorf("reading an event of device %s as it was mapped: %w", r.Device, err)
		}
		e.Device = w.name(e.Device)
	}
	for i := range e.Metrics {
		e.Metrics[i].Name, e.Metrics[i].Raw = w.name(e.Metrics[i].Name), nil
	}
	unknown := r.Unknown
	if w.schemas != nil {
		unknown = w.schemas.Unknown(s)
	}
	w.collector.Add(w.name(r.Fleet), &e, time.UnixMicro(r.At), unknown, receivedText(r), true)
	return nil
}

func receivedText(r *raw.Row) string {
	if r.ReceivedAt == 0 {
		return ""
	}
	return time.UnixMicro(r.ReceivedAt).UTC().Format(event.TimeFormat)
}

func (w *windows) Replace(ctx context.Context) (int, []replay.Window, error) {
	done, err := w.store.Replace(ctx, w.collector.Windows(), time.Now())
	var left []replay.Window
	for _, k := range done.Behind {
		left = append(left, replay.Window{Fleet: k.Fleet, Device: k.Device, Bucket: time.Unix(k.Bucket, 0).UTC()})
	}
	return done.Windows, left, err
}

// deadLetters is the dead-letter store and what became of its letters.
type deadLetters struct {
	store    *lake.Store
	outcomes *deadletter.Outcomes
}

func (d deadLetters) Scan(ctx context.Context, q replay.LetterQuery, each func(*replay.Letter) error) error {
	query := deadletter.Query{From: q.From, To: q.To, Fleet: q.Fleet, Stages: q.Stages, Codes: q.Codes}
	return deadletter.Scan(ctx, d.store, query, func(r *deadletter.Row) error {
		if len(q.Devices) > 0 && !slices.Contains(q.Devices, r.Device) {
			return nil
		}
		l := &replay.Letter{ID: r.IDText(), Fleet: r.Fleet, Stage: r.Stage, Code: event.Code(r.Code), Message: r.Message,
			Device: r.Device, FailedAt: time.UnixMicro(r.FailedAt), Original: slices.Clone(r.Original)}
		if r.Headers != nil {
			if err := json.Unmarshal(r.Headers, &l.Headers); err != nil {
				return fmt.Errorf("reading the headers of dead letter %s: %w", l.ID, err)
			}
		}
		for _, c := range []*event.Coordinates{r.Delivery, r.Origin, r.Record} {
			if c != nil && l.Delivery == nil {
				l.Delivery = c
			}
		}
		return each(l)
	})
}

func (d deadLetters) Resolved(ctx context.Context, ids []string) (map[string]bool, error) {
	return d.outcomes.Resolved(ctx, ids)
}

func (d deadLetters) Resolve(ctx context.Context, job string, outcomes []replay.Outcome) error {
	if len(outcomes) == 0 {
		return nil
	}
	now := time.Now()
	list := make([]deadletter.Outcome, len(outcomes))
	for i, o := range outcomes {
		list[i] = deadletter.Outcome{ID: o.ID, Job: job, Published: o.Published, Reason: o.Reason, At: now}
	}
	return d.outcomes.Record(ctx, list)
}
