package quality

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"weir/internal/event"
	"weir/internal/platform/jobs"
	"weir/plugins/store/deadletter"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
)

const (
	hoursMost = 24 // of one run
	keysMost  = 2000
	// overlap is how much earlier objects are looked at again: a store's clock, and one
	// that was being written while they were listed.
	overlap = 5 * time.Minute
)

// job computes hours.
type job struct {
	Store   *Store
	Events  *lake.Store
	Letters *lake.Store // nil: nothing is known of what was refused
	Owner   string      // of this process: any text of its own
	// Hidden tells, by pointer, of which fields no value is kept; nil: none.
	Hidden func(pointer string) bool
	Now    func() time.Time
	At     func() time.Time // which hours are over; nil: Now
}

// report is what a run did.
type report struct {
	Hours  int   `json:"hours"`  // computed
	Events int64 `json:"events"` // read
	Left   int   `json:"left"`   // hours that are for the next run
}

// Run computes the hours that objects were written of, as many as one run does. One
// that is not over is left. When another process computes, it does nothing. What a
// crash leaves is computed again.
func (j *job) Run(ctx context.Context) (r report, err error) {
	work := j.Store.work()
	switch id, err := work.Take(ctx, j.Owner, "", j.Now()); {
	case err != nil:
		return r, err
	case id == "":
		return r, nil
	}
	defer func() {
		release := work.Release(context.WithoutCancel(ctx), j.Owner, "hours", "")
		if err == nil && !errors.Is(release, jobs.ErrLost) {
			err = release
		}
	}()
	since, err := j.Store.seen(ctx)
	if err != nil {
		return r, err
	}
	if !since.IsZero() {
		since = since.Add(-overlap)
	}
	objects, err := j.Events.Objects(ctx, lake.Select{WrittenSince: since})
	if err != nil {
		return r, fmt.Errorf("listing what was stored: %w", err)
	}
	if j.Letters != nil { // there may be hours of which nothing was stored
		letters, err := j.Letters.Objects(ctx, lake.Select{WrittenSince: since})
		if err != nil {
			return r, fmt.Errorf("listing dead letters: %w", err)
		}
		objects = append(objects, letters...)
	}
	at := j.Now
	if j.At != nil {
		at = j.At
	}
	todo := plan(objects, at())
	for i, p := range todo {
		if i == hoursMost {
			r.Left = len(todo) - i
			break
		}
		n, err := j.hour(ctx, p)
		if err != nil {
			return r, err
		}
		r.Hours++
		r.Events += n
	}
	return r, nil
}

// counting is an hour of a fleet and schema that is being counted.
type counting struct {
	Hour
	look *look
}

// hour computes one.
func (j *job) hour(ctx context.Context, p piece) (events int64, err error) {
	found := map[Key]*counting{}
	of := func(k Key) (*counting, error) {
		h := found[k]
		if h != nil {
			return h, nil
		}
		if len(found) == keysMost {
			return nil, fmt.Errorf("an hour has more than %d fleets and schemas", keysMost)
		}
		k = Key{strings.Clone(k.Fleet), strings.Clone(k.Schema)} // a row's texts are its object's memory
		h = &counting{Hour: Hour{Key: k, Hour: p.hour, Profile: newProfile()}}
		h.look, err = newLook(h.Profile, j.Hidden)
		found[k] = h
		return h, err
	}
	end := p.hour.Add(time.Hour)
	_, err = raw.NewReader(j.Events).Scan(ctx, raw.Query{From: p.hour, To: end, Parallel: 1}, func(row *raw.Row) error {
		events++
		h, err := of(Key{row.Fleet, row.Schema})
		if err != nil {
			return err
		}
		h.look.Add(&sample{Flags: row.Flags, Unknown: row.Unknown, Firmware: row.Firmware, Metrics: row.Metrics,
			Diagnostics: row.Diagnostics, Extra: row.Extra})
		return nil
	})
	if err != nil {
		return events, fmt.Errorf("reading the events of %s: %w", p.hour.Format(time.RFC3339), err)
	}
	if j.Letters != nil {
		q := deadletter.Query{From: p.hour, To: end, Stages: []string{"ingest"}, Codes: badData()}
		err := deadletter.Scan(ctx, j.Letters, q, func(l *deadletter.Row) error {
			h, err := of(Key{l.Fleet, ""})
			if err != nil {
				return err
			}
			h.Refused++
			return ctx.Err()
		})
		if err != nil {
			return events, fmt.Errorf("reading the dead letters of %s: %w", p.hour.Format(time.RFC3339), err)
		}
	}
	list := make([]Hour, 0, len(found))
	for _, h := range found {
		list = append(list, h.Hour)
	}
	return events, j.Store.replace(ctx, j.Owner, p.hour, list, p.seen, j.Now())
}

// badData are the reasons that say that an event was wrong, and not its sender or a
// store.
func badData() []event.Code {
	return []event.Code{event.CodeInvalidJSON, event.CodeInvalidEvent, event.CodeEventTooLarge, event.CodeUnknownFirmware,
		event.CodeSchemaViolation, event.CodeStale, event.CodeQuarantined}
}
