package deadletter

import (
	"bytes"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

// The functions below do for rows in columns, for compaction, what methods of Row do for decoded
// ones.

func refAt(r lake.Ref) int64 { return r.Value(colFailedAt).Int64() }

func compareRefs(a, b lake.Ref) int {
	switch x, y := refAt(a), refAt(b); {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	if c := bytes.Compare(a.Value(colID).ByteArray(), b.Value(colID).ByteArray()); c != 0 {
		return c
	}
	x, _ := refCoordinates(a, colTopic)
	y, _ := refCoordinates(b, colTopic)
	return bytes.Compare(x.Append(nil), y.Append(nil))
}

// sameRefs reports whether two rows are the same record, stored twice. A failure that is twice in
// the log keeps two rows, because each accounts for a record; Scan passes only one. Rows of
// different logs, which may have the same id and coordinates if they name no log, differ in
// failed_at.
func sameRefs(a, b lake.Ref) bool {
	x, _ := refCoordinates(a, colTopic)
	y, _ := refCoordinates(b, colTopic)
	return x == y && refAt(a) == refAt(b) && bytes.Equal(a.Value(colID).ByteArray(), b.Value(colID).ByteArray())
}

// refCoordinates reads the topic, partition and offset in three columns, from col on.
func refCoordinates(r lake.Ref, col int) (event.Coordinates, bool) {
	topic := r.Value(col)
	if topic.IsNull() {
		return event.Coordinates{}, false
	}
	return event.Coordinates{Topic: string(topic.ByteArray()), Partition: r.Value(col + 1).Int32(),
		Offset: r.Value(col + 2).Int64()}, true
}

func refCovers(r lake.Ref, c *lake.Collector) {
	if record, ok := refCoordinates(r, colTopic); ok {
		c.Stored(record)
	}
	if origin, ok := refCoordinates(r, colOriginTopic); ok {
		c.Origin(origin)
	}
}
