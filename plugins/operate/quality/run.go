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
	hoursMost = 24  // that a run computes
	looksMost = 200 // that it looks at
	keysMost  = 5000
	// renewed is how often the lease is renewed while an hour is read.
	renewed = time.Minute
)

var errKeys = fmt.Errorf("an hour has more than %d fleets and schemas: it is left out", keysMost)

// job computes hours of one source.
type job struct {
	Store   *Store
	Source  string
	Events  *lake.Store
	Letters *lake.Store // nil: nothing is known of what was refused
	Owner   string      // of this process: any text of its own
	// Hidden tells, by pointer, of which fields no value is kept; nil: none.
	Hidden func(pointer string) bool
	Now    func() time.Time
	At     func() time.Time // which hours are over; nil: Now

	spreads map[string]spread // of objects of many hours
}

// report is what a run did.
type report struct {
	Hours  int   `json:"hours"`  // computed
	Events int64 `json:"events"` // read
	Same   int   `json:"same"`   // hours whose objects are others, and what they hold is not
	Left   int   `json:"left"`   // hours that are for the next run
}

// Run computes the hours of which something was stored that they were not computed of,
// as many as one run does. One that is not over is left. When another process computes,
// it does nothing. What a crash leaves is computed again.
func (j *job) Run(ctx context.Context) (r report, err error) {
	took, err := j.Store.take(ctx, j.Source, j.Owner, j.Now())
	if !took || err != nil {
		return r, err
	}
	defer func() {
		release := j.Store.release(context.WithoutCancel(ctx), j.Source, j.Owner)
		if err == nil && !errors.Is(release, jobs.ErrLost) {
			err = release
		}
	}()
	work, err := j.plan(ctx)
	if err != nil {
		return r, err
	}
	var crowded error
	for i, c := range work {
		if r.Hours == hoursMost || i == looksMost {
			r.Left = len(work) - i
			break
		}
		n, computed, err := j.look(ctx, c)
		if errors.Is(err, errKeys) {
			crowded = err
			continue
		} else if err != nil {
			return r, err
		}
		r.Events += n
		if computed {
			r.Hours++
		} else {
			r.Same++
		}
	}
	return r, crowded
}

// plan says which hours to look at.
func (j *job) plan(ctx context.Context) ([]*content, error) {
	at := j.Now
	if j.At != nil {
		at = j.At
	}
	now := at()
	all, err := j.Events.Objects(ctx, lake.Select{Duplicates: true})
	if err != nil {
		return nil, fmt.Errorf("listing what was stored: %w", err)
	}
	var letters []lake.Object
	if j.Letters != nil { // there may be hours of which nothing was stored
		if letters, err = j.Letters.Objects(ctx, lake.Select{}); err != nil {
			return nil, fmt.Errorf("listing dead letters: %w", err)
		}
	}
	spreads := map[string]spread{} // of what is still there
	found, err := contents(all, letters, func(o lake.Object) (spread, error) {
		of, known := j.spreads[o.Key]
		if !known {
			hours, err := raw.Spread(ctx, j.Events, o)
			if errors.Is(err, lake.ErrNotFound) {
				return nil, nil // merged meanwhile: the next listing has what it became
			} else if err != nil {
				return nil, fmt.Errorf("reading the times of %s: %w", o.Key, err)
			}
			of = hours
		}
		spreads[o.Key] = of
		return of, nil
	})
	if err != nil {
		return nil, err
	}
	j.spreads = spreads
	marks, err := j.Store.marks(ctx, j.Source)
	if err != nil {
		return nil, err
	}
	work := plan(found, marks, now)
	for _, c := range work {
		c.mark = marks[c.hour]
		_, c.final = c.over(now)
	}
	return work, nil
}

// look computes an hour, unless its objects hold what it was computed of.
func (j *job) look(ctx context.Context, c *content) (events int64, computed bool, err error) {
	e, err := j.footers(ctx, c, c.final)
	if err != nil {
		return 0, false, err
	}
	if m := c.mark; m.Stored == e.Stored && (m.Repeats == e.Repeats || !c.final) {
		if !c.final {
			e.Repeats = m.Repeats
		}
		return 0, false, j.Store.note(ctx, j.Source, j.Owner, c.hour, e.mark, j.Now())
	}
	events, err = j.hour(ctx, c.hour, &e)
	return events, true, err
}

// counting is an hour of a fleet and schema that is being counted.
type counting struct {
	Hour
	look *look
}

// hour computes one.
func (j *job) hour(ctx context.Context, hour time.Time, e *evidence) (events int64, err error) {
	found := map[Key]*counting{}
	of := func(k Key) (*counting, error) {
		h := found[k]
		if h != nil {
			return h, nil
		}
		if len(found) == keysMost {
			return nil, errKeys
		}
		k = Key{strings.Clone(k.Fleet), strings.Clone(k.Schema)} // a row's texts are its object's memory
		h = &counting{Hour: Hour{Key: k, Hour: hour, Profile: newProfile()}}
		h.look, err = newLook(h.Profile, j.Hidden)
		found[k] = h
		return h, err
	}
	last := j.Now()
	end := hour.Add(time.Hour)
	_, err = raw.NewReader(j.Events).Scan(ctx, raw.Query{From: hour, To: end, Parallel: 1}, func(row *raw.Row) error {
		if events++; events%10_000 == 0 && j.Now().Sub(last) > renewed {
			last = j.Now()
			if err := j.Store.renew(ctx, j.Source, j.Owner, last); err != nil {
				return err
			}
		}
		h, err := of(Key{row.Fleet, row.Schema})
		if err != nil {
			return err
		}
		h.look.Add(&sample{Flags: row.Flags, Unknown: row.Unknown, Firmware: row.Firmware, Metrics: row.Metrics,
			Diagnostics: row.Diagnostics, Extra: row.Extra})
		h.Repeats += e.repeats.count(lake.PartitionOf(row.Delivery), row.Delivery.Offset)
		return nil
	})
	if err != nil {
		return events, fmt.Errorf("reading the events of %s: %w", hour.Format(time.RFC3339), err)
	}
	if j.Letters != nil {
		q := deadletter.Query{From: hour, To: end, Stages: []string{"ingest"}, Codes: badData()}
		err := deadletter.Scan(ctx, j.Letters, q, func(l *deadletter.Row) error {
			h, err := of(Key{l.Fleet, ""})
			if err != nil {
				return err
			}
			h.Refused++
			return ctx.Err()
		})
		if err != nil {
			return events, fmt.Errorf("reading the dead letters of %s: %w", hour.Format(time.RFC3339), err)
		}
	}
	list := make([]Hour, 0, len(found))
	for _, h := range found {
		if e.repeats.cut {
			h.Repeats = notKnown
		}
		list = append(list, h.Hour)
	}
	return events, j.Store.replace(ctx, j.Source, j.Owner, hour, list, e.mark, j.Now())
}

// badData are the reasons that say that an event was wrong, and not its sender or a
// store.
func badData() []event.Code {
	return []event.Code{event.CodeInvalidJSON, event.CodeInvalidEvent, event.CodeEventTooLarge, event.CodeUnknownFirmware,
		event.CodeSchemaViolation, event.CodeStale, event.CodeQuarantined}
}
