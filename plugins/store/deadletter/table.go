package deadletter

import (
	"strings"

	"github.com/parquet-go/parquet-go"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

// layout declares the columns, in order.
type layout struct {
	ID              [16]byte `parquet:"id,uuid"`
	Version         int32    `parquet:"version"`
	Fleet           string   `parquet:"fleet,dict"`
	Stage           string   `parquet:"stage,dict"`
	Code            string   `parquet:"code,dict"`
	Message         string   `parquet:"message,dict"`
	Errors          string   `parquet:"errors,json,plain"`
	Original        []byte   `parquet:"original"`
	OriginTopic     string   `parquet:"origin_topic,optional,dict"`
	OriginPartition int32    `parquet:"origin_partition,optional"`
	OriginOffset    int64    `parquet:"origin_offset,optional,delta"`
	Delivery        string   `parquet:"delivery,optional"`
	Headers         string   `parquet:"headers,optional,json,plain"`
	ReceivedAt      int64    `parquet:"received_at,optional,timestamp(microsecond)"`
	FailedAt        int64    `parquet:"failed_at,timestamp(microsecond),delta"`
	Device          string   `parquet:"device_id,optional,dict"`
	Event           string   `parquet:"event_id,optional"`
	Topic           string   `parquet:"topic,optional,dict"`
	Partition       int32    `parquet:"partition,optional"`
	Offset          int64    `parquet:"offset,optional,delta"`

	// For an original that was cut. Further columns must be added at the end, and optional: objects
	// that were written before have nulls in them.
	OriginalSize   int64  `parquet:"original_size,optional"`
	OriginalSHA256 string `parquet:"original_sha256,optional"`

	// The logs of the coordinates: a topic can be deleted and created again under the same name.
	OriginLog   string `parquet:"origin_log,optional,dict"`
	DeliveryLog string `parquet:"delivery_log,optional,dict"`
	Log         string `parquet:"log,optional,dict"`
}

// Indices of the leaf columns.
const (
	colID = iota
	colVersion
	colFleet
	colStage
	colCode
	colMessage
	colErrors
	colOriginal
	colOriginTopic
	colOriginPartition
	colOriginOffset
	colDelivery
	colHeaders
	colReceivedAt
	colFailedAt
	colDevice
	colEvent
	colTopic
	colPartition
	colOffset
	colOriginalSize
	colOriginalSHA256
	colOriginLog
	colDeliveryLog
	colLog
	columnCount
)

// Table returns the layout of the dead-letter store's objects.
func Table() *lake.Table {
	return &lake.Table{
		Name:    "dead_letter/1",
		Schema:  parquet.NewSchema("dead_letter", parquet.SchemaOf(new(layout))),
		Sorting: []parquet.SortingColumn{parquet.Ascending("failed_at")},
		Bloom: []parquet.BloomFilterColumn{
			parquet.SplitBlockFilter(10, "id"), parquet.SplitBlockFilter(10, "device_id"),
			parquet.SplitBlockFilter(10, "event_id"),
		},
		FleetColumn: colFleet, DeviceColumn: colDevice, ReceivedColumns: []int{colReceivedAt, colFailedAt},
		Mentions: mentions, Names: names, MentionColumns: []int{colOriginal, colID},
		Compare: compareRefs, Same: sameRefs, At: refAt, Covers: refCovers,
	}
}

// Row is a dead letter as it is stored.
type Row struct {
	ID             [16]byte
	Version        int32
	Fleet          string
	Stage          string
	Code           string
	Message        string
	Errors         []byte // JSON array of {pointer, message}
	Original       []byte
	Origin         *event.Coordinates
	Delivery       *event.Coordinates
	Headers        []byte // JSON object, or nil
	ReceivedAt     int64  // microseconds since 1970; 0 when unknown
	FailedAt       int64
	Device         string
	Event          string
	OriginalSize   int64  // 0, unless Original is only the beginning, or headers were too long to keep
	OriginalSHA256 string // of the whole original, in hex

	Record *event.Coordinates // of the dead letter itself; nil if it came from no log

	// The logs of Origin, Delivery and Record; "": not known.
	OriginLog, DeliveryLog, RecordLog string
}

func columns(rows []*Row) lake.Columns { return lake.ColumnsOf(rows, (*Row).value) }

func (r *Row) value(dst []parquet.Value, col int) []parquet.Value {
	switch col {
	case colID:
		return lake.Required(dst, parquet.FixedLenByteArrayValue(r.ID[:]))
	case colVersion:
		return lake.Required(dst, parquet.Int32Value(r.Version))
	case colFleet:
		return lake.RequiredText(dst, r.Fleet)
	case colStage:
		return lake.RequiredText(dst, r.Stage)
	case colCode:
		return lake.RequiredText(dst, r.Code)
	case colMessage:
		return lake.RequiredText(dst, r.Message)
	case colErrors:
		return lake.Required(dst, parquet.ByteArrayValue(r.Errors))
	case colOriginal:
		return lake.Required(dst, parquet.ByteArrayValue(r.Original))
	case colOriginTopic, colOriginPartition, colOriginOffset:
		return coordinate(dst, r.Origin, col, col-colOriginTopic)
	case colDelivery:
		if r.Delivery == nil {
			return lake.OptionalText(dst, "", col)
		}
		return lake.OptionalText(dst, r.Delivery.String(), col)
	case colHeaders:
		return lake.OptionalBytes(dst, r.Headers, col)
	case colReceivedAt:
		return lake.Optional(dst, parquet.Int64Value(r.ReceivedAt), r.ReceivedAt != 0, col)
	case colFailedAt:
		return lake.Required(dst, parquet.Int64Value(r.FailedAt))
	case colDevice:
		return lake.OptionalText(dst, r.Device, col)
	case colEvent:
		return lake.OptionalText(dst, r.Event, col)
	case colOriginalSize:
		return lake.Optional(dst, parquet.Int64Value(r.OriginalSize), r.OriginalSize != 0, col)
	case colOriginalSHA256:
		return lake.OptionalText(dst, r.OriginalSHA256, col)
	case colOriginLog:
		return lake.OptionalText(dst, r.OriginLog, col)
	case colDeliveryLog:
		return lake.OptionalText(dst, r.DeliveryLog, col)
	case colLog:
		return lake.OptionalText(dst, r.RecordLog, col)
	}
	return coordinate(dst, r.Record, col, col-colTopic)
}

// coordinate appends the topic (0), the partition (1) or the offset (2).
func coordinate(dst []parquet.Value, c *event.Coordinates, col, which int) []parquet.Value {
	if c == nil {
		return lake.Optional(dst, parquet.Value{}, false, col)
	}
	switch which {
	case 0:
		return lake.OptionalText(dst, c.Topic, col)
	case 1:
		return lake.Optional(dst, parquet.Int32Value(c.Partition), true, col)
	}
	return lake.Optional(dst, parquet.Int64Value(c.Offset), true, col)
}

// before compares two rows by their order within an object.
func (r *Row) before(o *Row) int {
	switch {
	case r.FailedAt < o.FailedAt:
		return -1
	case r.FailedAt > o.FailedAt:
		return 1
	}
	return strings.Compare(string(r.ID[:]), string(o.ID[:]))
}
