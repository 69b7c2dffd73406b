package raw

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"

	"weir/internal/event"
	"weir/internal/lifecycle"
	"weir/plugins/store/lake"
)

// LaterFolder is the folder of the raw store for later facts: what look-ups returned when
// they were repeated. The events themselves are never changed.
const LaterFolder = "enriched"

// Later is what a look-up that had failed when its event arrived returned when it was
// repeated.
type Later struct {
	ID         [16]byte // of the event; Fleet to Delivery say where that is stored
	Fleet      string
	Device     string
	At         int64 // effective time of the event, microseconds since 1970
	ReceivedAt int64 // 0 when unknown
	Delivery   event.Coordinates

	Lookup     string
	Version    string // of the look-up
	Facts      []byte // JSON object: what the look-up adds to the event
	EnrichedAt int64  // microseconds since 1970
	Job        string // the job that repeated the look-up
}

// LaterOf returns a Later of an event, without a look-up. It shares no memory with the row.
func LaterOf(r *Row) Later {
	at := PositionOf(r)
	return Later{ID: r.ID, Fleet: strings.Clone(r.Fleet), Device: at.Device, At: r.At, ReceivedAt: r.ReceivedAt,
		Delivery: at.Delivery}
}

// laterLayout declares the columns, as layout does for events.
type laterLayout struct {
	EventID       [16]byte `parquet:"event_id,uuid,uncompressed"`
	Fleet         string   `parquet:"fleet,dict"`
	Device        string   `parquet:"device_id,dict"`
	EffectiveTime int64    `parquet:"effective_time,timestamp(microsecond),delta"`
	ReceivedAt    int64    `parquet:"received_at,optional,timestamp(microsecond),delta"`
	Delivery      string   `parquet:"delivery,optional"`
	Lookup        string   `parquet:"lookup,dict"`
	Version       string   `parquet:"version,dict"`
	Facts         string   `parquet:"facts,json,plain"`
	EnrichedAt    int64    `parquet:"enriched_at,timestamp(microsecond),delta"`
	Job           string   `parquet:"job,dict"`
}

const (
	laterID = iota
	laterFleet
	laterDevice
	laterTime
	laterReceivedAt
	laterDelivery
	laterLookup
	laterVersion
	laterFacts
	laterEnrichedAt
	laterJob
)

// laterTable is the layout of later facts. Rows are in the order of their events, so that
// both can be read in parallel.
func laterTable() *lake.Table {
	return &lake.Table{
		Name:   "enriched/1",
		Schema: parquet.NewSchema("enriched", parquet.SchemaOf(new(laterLayout))),
		Sorting: []parquet.SortingColumn{
			parquet.Ascending("device_id"), parquet.Ascending("effective_time"),
		},
		Bloom: []parquet.BloomFilterColumn{
			parquet.SplitBlockFilter(bloomBits, "event_id"), parquet.SplitBlockFilter(bloomBits, "device_id"),
		},
		FleetColumn: laterFleet, DeviceColumn: laterDevice, ReceivedColumns: []int{laterReceivedAt},
		Compare: func(a, b lake.Ref) int { return laterOf(a).compare(laterOf(b)) },
		Same:    func(a, b lake.Ref) bool { return laterOf(a).same(laterOf(b)) },
		At:      func(r lake.Ref) int64 { return r.Value(laterTime).Int64() },
		Covers:  func(lake.Ref, *lake.Collector) {}, // a row stands for no record of the log
	}
}

// LaterLifecycle is the store of later facts. They are deleted with their events.
func LaterLifecycle() lifecycle.Kind {
	return lake.Kept{Name: "enriched", Place: lifecycle.Raw, Below: LaterFolder, Table: laterTable(),
		Counted: "enriched_rows", Keep: lifecycle.Keep{Place: lifecycle.Raw, Field: "keep"}}.Kind()
}

func (l *Later) value(dst []parquet.Value, col int) []parquet.Value {
	switch col {
	case laterID:
		return lake.Required(dst, parquet.FixedLenByteArrayValue(l.ID[:]))
	case laterFleet:
		return lake.RequiredText(dst, l.Fleet)
	case laterDevice:
		return lake.RequiredText(dst, l.Device)
	case laterTime:
		return lake.Required(dst, parquet.Int64Value(l.At))
	case laterReceivedAt:
		return lake.Optional(dst, parquet.Int64Value(l.ReceivedAt), l.ReceivedAt != 0, col)
	case laterDelivery:
		return lake.Optional(dst, parquet.ByteArrayValue(l.Delivery.Append(nil)), l.Delivery != noRecord, col)
	case laterLookup:
		return lake.RequiredText(dst, l.Lookup)
	case laterVersion:
		return lake.RequiredText(dst, l.Version)
	case laterFacts:
		return lake.Required(dst, parquet.ByteArrayValue(l.Facts))
	case laterEnrichedAt:
		return lake.Required(dst, parquet.Int64Value(l.EnrichedAt))
	}
	return lake.RequiredText(dst, l.Job)
}

// laterOf decodes a row. Its texts share the memory of the object.
func laterOf[R interface{ Value(col int) parquet.Value }](r R) *Later {
	l := &Later{Fleet: textOf(r.Value(laterFleet)), Device: textOf(r.Value(laterDevice)), At: r.Value(laterTime).Int64(),
		Delivery: noRecord, Lookup: textOf(r.Value(laterLookup)), Version: textOf(r.Value(laterVersion)),
		Facts: r.Value(laterFacts).ByteArray(), EnrichedAt: r.Value(laterEnrichedAt).Int64(),
		Job: textOf(r.Value(laterJob))}
	copy(l.ID[:], r.Value(laterID).ByteArray())
	if v := r.Value(laterReceivedAt); !v.IsNull() {
		l.ReceivedAt = v.Int64()
	}
	if v := r.Value(laterDelivery); !v.IsNull() {
		if c, err := event.ParseCoordinates(textOf(v)); err == nil {
			l.Delivery = c
		}
	}
	return l
}

// own replaces everything that shares the object's memory by copies.
func (l *Later) own() *Later {
	for _, text := range []*string{&l.Fleet, &l.Device, &l.Delivery.Topic, &l.Lookup, &l.Version, &l.Job} {
		*text = strings.Clone(*text)
	}
	l.Facts = bytes.Clone(l.Facts)
	return l
}

// event returns a row with the fields that the order of events depends on.
func (l *Later) event() *Row { return &Row{Device: l.Device, At: l.At, Delivery: l.Delivery, ID: l.ID} }

// compare is the order of rows within an object: the order of their events, then by
// fleet and look-up, and the earliest result first.
func (l *Later) compare(o *Later) int {
	return cmp.Or(l.event().before(o.event()), strings.Compare(l.Fleet, o.Fleet), strings.Compare(l.Lookup, o.Lookup),
		cmp.Compare(l.EnrichedAt, o.EnrichedAt))
}

// same reports whether two rows are results of one look-up for one event. When two
// processes repeated the look-up, the earlier result counts.
func (l *Later) same(o *Later) bool {
	return l.ID == o.ID && l.Lookup == o.Lookup && l.Delivery == o.Delivery && l.Fleet == o.Fleet
}

// LaterWriter writes later facts. It is not safe for concurrent use.
type LaterWriter struct {
	memory *lake.Memory
	table  *lake.Table
}

// NewLaterWriter returns a writer to the LaterFolder of a raw store.
func NewLaterWriter(events *lake.Store) *LaterWriter {
	return &LaterWriter{lake.NewMemory(events.Below(LaterFolder), time.Minute), laterTable()}
}

// Write writes rows, one object per date. When it returns nil, all rows are durable
// except those that it returns: their events were erased. After an error some rows may
// be durable.
func (w *LaterWriter) Write(ctx context.Context, rows []Later) (erased []Later, err error) {
	now := time.Now()
	if err := w.memory.Prepare(ctx, now, nil); err != nil {
		return nil, err
	}
	tombstones := w.memory.Tombstones()
	days := map[int64][]*Later{}
	for i := range rows {
		l := &rows[i]
		if tombstones.Holds(l.Fleet, l.Device, l.ReceivedAt) {
			erased = append(erased, *l)
			continue
		}
		days[day(l.At)] = append(days[day(l.At)], l)
	}
	for _, of := range days {
		slices.SortFunc(of, (*Later).compare)
		first, last := of[0].At, of[0].At
		for _, l := range of {
			first, last = min(first, l.At), max(last, l.At)
		}
		from := time.UnixMicro(first)
		name := lake.NewName(lake.DateFolder(from), now, from, time.UnixMicro(last))
		if _, err := w.memory.Put(ctx, tombstones, name, w.table, len(of), lake.Options{}, &lake.Coverage{},
			lake.ColumnsOf(of, (*Later).value)); err != nil {
			return nil, fmt.Errorf("keeping what look-ups said: %w", err)
		}
	}
	return erased, nil
}

// scanLater calls each with the rows whose events count in [from, to), in the order of
// those events.
func scanLater(ctx context.Context, store *lake.Store, from, to time.Time, each func(*Later) error) error {
	objects, err := store.Objects(ctx, lake.Select{From: from, To: to})
	if err != nil {
		return err
	}
	err = store.Scan(ctx, laterTable(), objects, from, to, func(r lake.Ref) error { return each(laterOf(r).own()) })
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}
