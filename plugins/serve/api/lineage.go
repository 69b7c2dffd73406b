package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/internal/platform/httpx"
	"weir/internal/platform/text"
	"weir/plugins/notify/alert"
	"weir/plugins/process/rule"
	"weir/plugins/store/deadletter"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
)

const (
	lineages     = 2 // answered concurrently
	lineageMost  = 25 * time.Second
	lineageRange = 24 * time.Hour
	lineageLong  = 31 * 24 * time.Hour
	lineageRows  = 20 // maximum of each kind
	// Repeats are searched only for events received since then: the stores' records of older ones take too long to
	// read.
	repeatsSince = 48 * time.Hour
)

// lineage answers GET /v1/events/{id}/lineage: what became of an event, according to the stores. letters may be nil.
type lineage struct {
	events   *lake.Store
	letters  *lake.Store
	outcomes *deadletter.Outcomes
	alerts   func(ctx context.Context, fleet, id string) ([]alert.Mention, error)
	rules    func(ctx context.Context, e rule.Happened) ([]rule.Bearing, error)
	now      func() time.Time
	slots    *httpx.Slots
}

// lineageJSON is the answer. An empty list means that there is none; null means that it was not searched.
type lineageJSON struct {
	EventID string          `json:"event_id"`
	Fleet   string          `json:"fleet"`
	Stored  []storedJSON    `json:"stored"`
	Repeats []recordJSON    `json:"repeats"` // records proven to be duplicates of the event
	Letters []failedJSON    `json:"dead_letters"`
	Alerts  []alert.Mention `json:"alerts"`
}

type recordJSON struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

type storedJSON struct {
	DeviceID       string      `json:"device_id"`
	Timestamp      string      `json:"timestamp"`
	ReceivedAt     *string     `json:"received_at"`
	CountsAt       string      `json:"counts_at"` // the time whose minute it counts in
	Firmware       string      `json:"device_firmware_version"`
	Schema         string      `json:"schema"` // subject/version by which it was validated
	Flags          []string    `json:"flags"`
	UnknownMetrics []string    `json:"unknown_metrics"`
	EnrichFailed   []string    `json:"enrich_failed"` // lookups that failed
	Enriched       []byJSON    `json:"enriched"`      // lookups that changed it, with their versions
	Record         *recordJSON `json:"record"`        // its record in the log
	Delivery       *recordJSON `json:"delivery"`      // its first delivery, if it was republished
	// Rules is what the rules in force made of it when they read it; null when no rules have read it or their version
	// is no longer kept.
	Rules []rule.Bearing `json:"rules"`
	// Later holds the results of failed lookups that were repeated later.
	Later []json.RawMessage `json:"enriched_later"`

	happened rule.Happened
}

type byJSON struct {
	Lookup  string `json:"lookup"`
	Version string `json:"version"`
}

// byOf returns the lookups that changed a row's event.
func byOf(r *raw.Row) (all []byJSON) {
	for _, item := range event.Items(strings.Clone(r.Enriched)) {
		name, version, _ := strings.Cut(item, "@")
		all = append(all, byJSON{name, version})
	}
	return all
}

type failedJSON struct {
	ID       string                  `json:"id"`
	Stage    string                  `json:"stage"`
	Code     string                  `json:"code"`
	Message  string                  `json:"message"`
	FailedAt string                  `json:"failed_at"`
	Outcome  *deadletter.OutcomeJSON `json:"outcome"`
}

func (l *lineage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v, bad := httpx.Parse(r, []string{"from", "to", "fleet"}, []string{"device"})
	var devices []string
	if bad == nil {
		devices, bad = httpx.Devices(v, event.ValidDevice)
	}
	var q raw.Query
	if bad == nil {
		q, bad = l.query(v, apikey.FleetFrom(r.Context()), devices)
	}
	if bad != nil {
		httpx.Write(w, *bad)
		return
	}
	id, ok := text.ParseUUID(r.PathValue("id"))
	if !ok {
		httpx.NotFound(w, "expected the id of an event, which is a UUID")
		return
	}
	ctx, done, ok := l.slots.Take(w, r)
	if !ok {
		return
	}
	defer done()
	out, err := l.of(ctx, q, id)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		httpx.Cause(w, err)
		w.Header().Set("Retry-After", "5")
		httpx.Write(w, httpx.Problem{Type: "query-too-slow", Status: http.StatusServiceUnavailable,
			Title: "The query took too long", Detail: "name the device, or ask for a shorter range"})
	case err != nil:
		httpx.Unavailable(w, "a store", err)
	case len(out.Stored)+len(out.Letters) == 0:
		httpx.NotFound(w, "no event of this id is stored or a dead letter in the range of from and to, by its time")
	default:
		httpx.Answer(w, http.StatusOK, out)
	}
}

func (l *lineage) query(v url.Values, fleet string, devices []string) (q raw.Query, bad *httpx.Problem) {
	q = raw.Query{Fleet: fleet, Devices: devices, Parallel: 1}
	if q.From, q.To, bad = httpx.Range(v, l.now().Add(time.Minute), lineageRange); bad != nil {
		return q, bad
	}
	if q.To.Sub(q.From) > lineageLong {
		return q, httpx.Bad("from", "a range of more than %d days: ask for a shorter one", int(lineageLong.Hours()/24))
	}
	return q, nil
}

// of collects the answer from all stores.
func (l *lineage) of(ctx context.Context, q raw.Query, id [16]byte) (*lineageJSON, error) {
	name := string(text.AppendUUID(nil, id))
	out := &lineageJSON{EventID: name, Fleet: q.Fleet, Stored: []storedJSON{}, Alerts: []alert.Mention{}}
	deliveries, received, err := l.stored(ctx, q, id, out)
	if err == nil && len(deliveries) > 0 && received.After(l.now().Add(-repeatsSince)) {
		err = l.repeats(ctx, deliveries, received, out)
	}
	for i := range out.Stored {
		if s := &out.Stored[i]; err == nil && s.happened.First.Topic != "" {
			s.Rules, err = l.rules(ctx, s.happened)
		}
	}
	if err == nil && l.letters != nil {
		err = l.failed(ctx, q, name, out)
	}
	if err != nil {
		return nil, err
	}
	mentions, err := l.alerts(ctx, q.Fleet, name)
	for _, m := range mentions {
		if len(q.Devices) == 0 || slices.Contains(q.Devices, m.DeviceID) {
			out.Alerts = append(out.Alerts, m)
		}
	}
	return out, err
}

// stored finds the event's rows, their deliveries, and when the first was received.
func (l *lineage) stored(ctx context.Context, q raw.Query, id [16]byte, out *lineageJSON) (
	deliveries map[event.Coordinates]bool, received time.Time, err error) {
	deliveries = map[event.Coordinates]bool{}
	_, err = raw.NewReader(l.events).Scan(ctx, q, func(r *raw.Row) error {
		if r.ID != id || len(out.Stored) == lineageRows {
			return nil
		}
		s := storedJSON{DeviceID: strings.Clone(r.Device), Timestamp: micros(r.Time), CountsAt: micros(r.At),
			Firmware: strings.Clone(r.Firmware), Schema: strings.Clone(r.Schema), Flags: event.Items(strings.Clone(r.Flags)),
			UnknownMetrics: event.Items(strings.Clone(r.Unknown)), Record: recordOf(r.Record),
			EnrichFailed: event.Items(strings.Clone(r.EnrichFailed)), Enriched: byOf(r),
			happened: rule.Happened{Fleet: q.Fleet, Device: strings.Clone(r.Device), At: time.UnixMicro(r.At)}}
		var err error
		if s.Later, err = l.later(ctx, r); err != nil {
			return err
		}
		if r.ReceivedAt != 0 {
			at := micros(r.ReceivedAt)
			s.ReceivedAt = &at
			if t := time.UnixMicro(r.ReceivedAt); received.IsZero() || t.Before(received) {
				received = t
			}
		}
		if r.Delivery != r.Record {
			s.Delivery = recordOf(r.Delivery)
		}
		if d := r.Delivery; d.Partition >= 0 {
			d.Topic = strings.Clone(d.Topic)
			deliveries[d] = true
			s.happened.First = d
		}
		out.Stored = append(out.Stored, s)
		return nil
	})
	return deliveries, received, err
}

// later returns what was recorded later about a row's event.
func (l *lineage) later(ctx context.Context, r *raw.Row) ([]json.RawMessage, error) {
	laters := raw.NewLaters(ctx, l.events, time.UnixMicro(r.At+1))
	defer laters.Close()
	found, err := laters.Of(r)
	all := []json.RawMessage{}
	for _, one := range found {
		all = append(all, one.AppendJSON(nil))
	}
	return all, err
}

// repeats finds records that raw objects list as duplicates of one of the deliveries.
func (l *lineage) repeats(ctx context.Context, of map[event.Coordinates]bool, received time.Time,
	out *lineageJSON) error {
	out.Repeats = []recordJSON{}
	return l.events.Coverage(ctx, received, func(f lake.Footer) error {
		for p, list := range f.Coverage.Duplicates {
			for _, d := range list {
				if of[d.Of] && len(out.Repeats) < lineageRows {
					out.Repeats = append(out.Repeats, recordJSON{p.Topic, p.Partition, d.Offset})
				}
			}
		}
		return ctx.Err()
	})
}

// failed finds the event's dead letters and their outcomes.
func (l *lineage) failed(ctx context.Context, q raw.Query, name string, out *lineageJSON) error {
	out.Letters = []failedJSON{}
	var ids []string
	err := deadletter.Scan(ctx, l.letters, deadletter.Query{From: q.From, To: q.To.Add(lineageRange), Fleet: q.Fleet},
		func(r *deadletter.Row) error {
			if !strings.EqualFold(r.Event, name) || len(q.Devices) > 0 && !slices.Contains(q.Devices, r.Device) ||
				len(out.Letters) == lineageRows {
				return ctx.Err()
			}
			ids = append(ids, r.IDText())
			out.Letters = append(out.Letters, failedJSON{ID: r.IDText(), Stage: r.Stage, Code: r.Code, Message: r.Message,
				FailedAt: micros(r.FailedAt)})
			return nil
		})
	if err != nil {
		return err
	}
	became, err := l.outcomes.Of(ctx, ids)
	for i := range out.Letters {
		if x, ok := became[out.Letters[i].ID]; ok {
			out.Letters[i].Outcome = x.JSON()
		}
	}
	return err
}

func micros(at int64) string { return time.UnixMicro(at).UTC().Format(event.TimeFormat) }

func recordOf(c event.Coordinates) *recordJSON {
	if c.Partition < 0 {
		return nil
	}
	return &recordJSON{strings.Clone(c.Topic), c.Partition, c.Offset}
}
