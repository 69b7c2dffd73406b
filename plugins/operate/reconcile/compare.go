package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
	"weir/internal/platform/text"
	"weir/plugins/store/lake"
)

// identity is what all records of one event have in common.
type identity struct {
	fleet string
	id    [16]byte
}

// sighting is an event in the log, with the folder in which the raw store keeps it.
type sighting struct {
	identity
	folder string
}

func sight(record *kgo.Record, e *event.Event) (s sighting, ok bool) {
	if event.Parse(record.Value, e) != nil {
		return s, false
	}
	received, known := text.ParseTime(headerOf(record, event.HeaderReceivedAt))
	ahead := event.HasFlag(headerOf(record, event.HeaderFlags), event.FlagClockAhead)
	s.identity = identity{headerOf(record, event.HeaderFleet), e.UUID}
	s.folder = lake.DateFolder(e.At(received, known && ahead))
	return s, true
}

// headerOf returns the value of a record's header; if several have the name, the last one, as the engine does.
func headerOf(record *kgo.Record, name string) (value string) {
	for _, h := range record.Headers {
		if h.Key == name {
			value = string(h.Value)
		}
	}
	return value
}

// pair is a record that is said to be a duplicate, and the record that it duplicates.
type pair struct {
	record, canonical event.Coordinates
}

// compare reads records that are said to be duplicates and the records that they duplicate, and notes those that are
// not the same event. Unless the reconciliation is deep, it reads at most readMost records of the log for this, the
// oldest first. found reports whether it has found any.
func (r *round) compare(ctx context.Context, since time.Time) (found bool, err error) {
	for {
		pairs, cost := r.pairs()
		if len(pairs) == 0 {
			if pairs, cost, err = r.replays(ctx); err != nil || cost == 0 {
				return found, err
			}
		}
		r.spent += cost
		differ, err := r.differing(ctx, since, pairs)
		if err != nil {
			return found, fmt.Errorf("comparing duplicates with what they repeat: %w", err)
		}
		for _, c := range pairs {
			p := lake.PartitionOf(c.record)
			r.a.compared[p] = with(r.a.compared[p], c.record.Offset)
		}
		for _, c := range differ {
			p := lake.PartitionOf(c.record)
			r.a.differing[p], found = with(r.a.differing[p], c.record.Offset), true
		}
	}
}

// pairsMost bounds the pairs that are compared at a time, and so the memory.
const pairsMost = 20_000

// pairs returns duplicates that were not compared yet and are still in the log, and how many records of the log must
// be read for them.
func (r *round) pairs() (found []pair, cost int64) {
	for p, f := range r.found {
		last := int64(-readApart)
		for _, d := range r.evidence.within(p, r.reaches[p]) {
			if d.Offset < r.now[p].start || !f.duplicates.Has(d.Offset) || r.a.compared[p].Has(d.Offset) ||
				r.a.replayed[p].Has(d.Offset) { // see replays
				continue
			}
			if len(found) == pairsMost {
				return found, cost
			}
			more := 2 * min(d.Offset-last, readApart) // the records that they duplicate are as far apart
			if !r.a.conf.Deep && r.spent+cost+more > readMost {
				return found, cost
			}
			cost += more
			found = append(found, pair{event.Coordinates{Topic: p.Topic, Partition: p.Partition, Offset: d.Offset}, d.Of})
			last = d.Offset
		}
	}
	return found, cost
}

// replays returns records that were published again, each with the delivery that it represents, as pairs does. Records
// that a redrive has patched are left out, because they may be another event than their delivery.
func (r *round) replays(ctx context.Context) (found []pair, cost int64, err error) {
	wanted := map[lake.Partition]lake.Offsets{}
	left := int64(pairsMost)
	if !r.a.conf.Deep {
		left = min(left, (readMost-r.spent)/3) // each is read twice, and its first delivery once
	}
	for p, f := range r.found {
		at := r.now[p]
		set := f.duplicates.And(r.a.replayed[p]).Minus(r.a.compared[p]).And(
			lake.NewOffsets(lake.Span{First: at.start, Last: at.end - 1}))
		for _, s := range set {
			if n := min(left, s.Last+1-s.First); n > 0 {
				wanted[p] = append(wanted[p], lake.Span{First: s.First, Last: s.First + n - 1})
				left -= n
			}
		}
	}
	err = r.a.read(ctx, wanted, func(record *kgo.Record) error {
		cost += 3
		at := event.Coordinates{Topic: record.Topic, Partition: record.Partition, Offset: record.Offset}
		of, log, ok := event.ParseDelivery(headerOf(record, event.HeaderDelivery))
		if ok && log == "" && headerOf(record, event.HeaderPatched) == "" {
			found = append(found, pair{at, of})
		} else {
			p := lake.PartitionOf(at)
			r.a.compared[p] = with(r.a.compared[p], at.Offset)
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("reading what was published again: %w", err)
	}
	return found, cost, nil
}

func (r *round) differing(ctx context.Context, since time.Time, pairs []pair) (differ []pair, err error) {
	wanted := map[lake.Partition]lake.Offsets{}
	for _, c := range pairs {
		for _, at := range []event.Coordinates{c.record, c.canonical} {
			if p := lake.PartitionOf(at); at.Offset >= r.now[p].start && at.Offset < r.now[p].end {
				wanted[p] = append(wanted[p], lake.Span{First: at.Offset, Last: at.Offset})
			}
		}
	}
	for p, spans := range wanted {
		wanted[p] = lake.NewOffsets(spans...)
	}
	read := map[event.Coordinates]sighting{}
	var e event.Event
	err = r.a.read(ctx, wanted, func(record *kgo.Record) error {
		if s, ok := sight(record, &e); ok {
			read[event.Coordinates{Topic: record.Topic, Partition: record.Partition, Offset: record.Offset}] = s
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	rows := map[event.Coordinates][]pair{} // to look up in the raw store: the log has another event there, or none
	for _, c := range pairs {
		record, ok := read[c.record]
		if !ok {
			continue // it was deleted meanwhile
		}
		if canonical, ok := read[c.canonical]; !ok || canonical.identity != record.identity {
			rows[c.canonical] = append(rows[c.canonical], c)
		}
	}
	differ, err = r.without(ctx, rows, read)
	if err != nil || len(differ) == 0 {
		return nil, err
	}
	// Rows of an older log may be older than the objects that were read, and these may have been merged meanwhile.
	clear(rows)
	for _, c := range differ {
		r.a.raw.folders[read[c.record].folder] = true
		rows[c.canonical] = append(rows[c.canonical], c)
	}
	if err := r.gather(ctx, since); err != nil {
		return nil, err
	}
	return r.without(ctx, rows, read)
}

// without returns the pairs whose event has no row with the canonical coordinates, although the log or the store has
// another event there.
func (r *round) without(ctx context.Context, rows map[event.Coordinates][]pair,
	read map[event.Coordinates]sighting) (differ []pair, err error) {
	stored, err := r.a.storedAt(ctx, rows)
	if err != nil {
		return nil, err
	}
	for at, list := range rows {
		_, inLog := read[at]
		for _, c := range list {
			ids, kept := stored[at]
			if (inLog || kept) && !ids[read[c.record].identity] { // else it cannot be known any more
				differ = append(differ, c)
			}
		}
	}
	return differ, nil
}

// eventAt is the event of a row of the raw store, and the coordinates of its record.
type eventAt struct {
	ID        [16]byte `parquet:"event_id,uuid"`
	Fleet     string   `parquet:"fleet"`
	Topic     *string  `parquet:"topic,optional"`
	Partition *int32   `parquet:"partition,optional"`
	Offset    *int64   `parquet:"offset,optional"`
	Delivery  *string  `parquet:"delivery,optional"`
}

// storedAt returns the events that the raw store has at some coordinates.
func (a *Reconciler) storedAt(ctx context.Context,
	wanted map[event.Coordinates][]pair) (map[event.Coordinates]map[identity]bool, error) {
	out := map[event.Coordinates]map[identity]bool{}
	if len(wanted) == 0 {
		return out, nil
	}
	by := map[lake.Partition]lake.Offsets{}
	for c := range wanted {
		p := lake.PartitionOf(c)
		by[p] = with(by[p], c.Offset)
	}
	for key, o := range a.raw.read {
		holds := false
		for p, set := range by {
			holds = holds || len(lake.NewOffsets(o.coverage.Stored[p]...).And(set)) > 0
		}
		if !holds {
			continue
		}
		err := eachRow(ctx, a.raw.store, lake.Footer{Object: lake.Object{Blob: o.blob}}, func(row *eventAt) error {
			at, ok, err := (&place{row.Topic, row.Partition, row.Offset, row.Delivery}).delivered(true)
			if err != nil || !ok {
				return err
			}
			if _, ok := wanted[at]; ok {
				if out[at] == nil {
					out[at] = map[identity]bool{}
				}
				out[at][identity{row.Fleet, row.ID}] = true
			}
			return nil
		})
		if err != nil && !errors.Is(err, lake.ErrNotFound) { // it was merged meanwhile
			return nil, fmt.Errorf("reading the rows of %s: %w", key, err)
		}
	}
	return out, nil
}

// compared returns how many duplicates of the reach were compared.
func (r *round) compared() (n int64) {
	for p, set := range r.a.compared {
		if at := r.reaches[p]; len(set) > 0 && (set[0].First < at.first || set[len(set)-1].Last >= at.end) {
			set = set.And(at.offsets())
		}
		n += set.Count()
	}
	return n
}
