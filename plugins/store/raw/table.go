package raw

import (
	"bytes"

	"github.com/parquet-go/parquet-go"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

// layout declares the columns, in order, for people and programs that read the files.
// JSON is encoded plain: DuckDB 1.4 takes a page of length-prefixed JSON for one document,
// and rejects it. Columns may be added at the end. Renaming one, or changing its meaning,
// needs a new version of the table.
type layout struct {
	EventID       [16]byte           `parquet:"event_id,uuid,uncompressed"`
	Fleet         string             `parquet:"fleet,dict"`
	Device        string             `parquet:"device_id,dict"`
	Firmware      string             `parquet:"firmware,dict"`
	Time          int64              `parquet:"timestamp,timestamp(microsecond),delta"`
	TimeText      string             `parquet:"timestamp_text,optional"`
	EffectiveTime int64              `parquet:"effective_time,optional,timestamp(microsecond)"`
	ReceivedAt    int64              `parquet:"received_at,optional,timestamp(microsecond),delta"`
	Schema        string             `parquet:"schema,optional,dict"`
	Flags         string             `parquet:"flags,optional,dict"`
	Metrics       map[string]float64 `parquet:"metrics" parquet-key:",dict"`
	Diagnostics   string             `parquet:"diagnostics,optional,json,plain"`
	Extra         string             `parquet:"extra,optional,json,plain"`
	AsSent        string             `parquet:"as_sent,optional,json,plain"`
	Unknown       string             `parquet:"unknown_metrics,optional,dict"`
	Topic         string             `parquet:"topic,optional,dict"`
	Partition     int32              `parquet:"partition,optional,dict"`
	Offset        int64              `parquet:"offset,optional,delta"`
	Delivery      string             `parquet:"delivery,optional"`
	EnrichFailed  string             `parquet:"enrich_failed,optional,dict"`
	Enriched      string             `parquet:"enriched,optional,dict"`
}

// The leaf columns, by position.
const (
	colID = iota
	colFleet
	colDevice
	colFirmware
	colTime
	colTimeText
	colEffectiveTime
	colReceivedAt
	colSchema
	colFlags
	colMetric
	colValue
	colDiagnostics
	colExtra
	colAsSent
	colUnknown
	colTopic
	colPartition
	colOffset
	colDelivery
	colEnrichFailed
	colEnriched
	columnCount
)

const bloomBits = 10 // about 1 % of false positives

// Table is the layout of the raw store's objects.
func Table() *lake.Table {
	return &lake.Table{
		Name:   "raw/1",
		Schema: parquet.NewSchema("event", parquet.SchemaOf(new(layout))),
		Sorting: []parquet.SortingColumn{
			parquet.Ascending("device_id"), parquet.Ascending("timestamp"),
		},
		Bloom: []parquet.BloomFilterColumn{
			parquet.SplitBlockFilter(bloomBits, "event_id"), parquet.SplitBlockFilter(bloomBits, "device_id"),
		},
		FleetColumn: colFleet, DeviceColumn: colDevice, ReceivedColumns: []int{colReceivedAt},
		Compare: compareRefs, Same: sameRefs, At: refAt, Covers: refCovers,
	}
}

// columns yields the values of rows, in the order given, column by column.
func columns(rows []*Row) lake.Columns { return lake.ColumnsOf(rows, (*Row).value) }

func (r *Row) value(dst []parquet.Value, col int) []parquet.Value {
	switch col {
	case colID:
		return lake.Required(dst, parquet.FixedLenByteArrayValue(r.ID[:]))
	case colFleet:
		return lake.RequiredText(dst, r.Fleet)
	case colDevice:
		return lake.RequiredText(dst, r.Device)
	case colFirmware:
		return lake.RequiredText(dst, r.Firmware)
	case colTime:
		return lake.Required(dst, parquet.Int64Value(r.Time))
	case colTimeText:
		return lake.OptionalText(dst, r.TimeText, col)
	case colEffectiveTime:
		return lake.Optional(dst, parquet.Int64Value(r.At), r.At != r.Time, col)
	case colReceivedAt:
		return lake.Optional(dst, parquet.Int64Value(r.ReceivedAt), r.ReceivedAt != 0, col)
	case colSchema:
		return lake.OptionalText(dst, r.Schema, col)
	case colFlags:
		return lake.OptionalText(dst, r.Flags, col)
	case colMetric, colValue:
		return r.metric(dst, col)
	case colDiagnostics:
		return lake.OptionalBytes(dst, r.Diagnostics, col)
	case colExtra:
		return lake.OptionalBytes(dst, r.Extra, col)
	case colAsSent:
		return lake.OptionalBytes(dst, r.AsSent, col)
	case colUnknown:
		return lake.OptionalText(dst, r.Unknown, col)
	case colEnrichFailed:
		return lake.OptionalText(dst, r.EnrichFailed, col)
	case colEnriched:
		return lake.OptionalText(dst, r.Enriched, col)
	}
	return r.coordinate(dst, col)
}

// metric appends one side of the map of metrics. An empty map is one null at definition
// level 0.
func (r *Row) metric(dst []parquet.Value, col int) []parquet.Value {
	if len(r.Metrics) == 0 {
		return append(dst, parquet.NullValue().Level(0, 0, col))
	}
	repetition := 0
	for i := range r.Metrics {
		m := &r.Metrics[i]
		if col == colMetric {
			dst = append(dst, parquet.ByteArrayValue(lake.Bytes(m.Name)).Level(repetition, 1, col))
		} else {
			dst = append(dst, parquet.DoubleValue(m.Value).Level(repetition, 1, col))
		}
		repetition = 1
	}
	return dst
}

func (r *Row) coordinate(dst []parquet.Value, col int) []parquet.Value {
	logged := r.Record != noRecord
	switch col {
	case colTopic:
		return lake.Optional(dst, parquet.ByteArrayValue(lake.Bytes(r.Record.Topic)), logged, col)
	case colPartition:
		return lake.Optional(dst, parquet.Int32Value(r.Record.Partition), logged, col)
	case colOffset:
		return lake.Optional(dst, parquet.Int64Value(r.Record.Offset), logged, col)
	}
	var text []byte
	if r.Delivery != r.Record {
		text = r.Delivery.Append(nil)
	}
	return lake.Optional(dst, parquet.ByteArrayValue(text), text != nil, colDelivery)
}

// before is the order of rows within an object, as a comparison: negative when r comes
// before o, zero when they are equal, positive when r comes after o.
func (r *Row) before(o *Row) int {
	switch {
	case r.Device != o.Device:
		if r.Device < o.Device {
			return -1
		}
		return 1
	case r.At != o.At:
		if r.At < o.At {
			return -1
		}
		return 1
	}
	if c := compareCoordinates(r.Delivery, o.Delivery); c != 0 {
		return c
	}
	return bytes.Compare(r.ID[:], o.ID[:])
}

// same reports whether two rows are one delivery of one event, stored twice.
func (r *Row) same(o *Row) bool {
	return r.Delivery == o.Delivery && r.Delivery != noRecord && r.ID == o.ID && r.Fleet == o.Fleet
}

func compareCoordinates(a, b event.Coordinates) int {
	switch {
	case a.Topic != b.Topic:
		if a.Topic < b.Topic {
			return -1
		}
		return 1
	case a.Partition != b.Partition:
		return int(a.Partition) - int(b.Partition)
	case a.Offset < b.Offset:
		return -1
	case a.Offset > b.Offset:
		return 1
	}
	return 0
}
