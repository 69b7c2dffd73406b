package raw

import (
	"bytes"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

// The functions below do for rows in their columns what the methods of Row do for decoded
// ones. Compaction uses them.

func refAt(r lake.Ref) int64 {
	if v := r.Value(colEffectiveTime); !v.IsNull() {
		return v.Int64()
	}
	return r.Value(colTime).Int64()
}

func refDelivery(r lake.Ref) event.Coordinates {
	if v := r.Value(colDelivery); !v.IsNull() {
		if c, err := event.ParseCoordinates(textOf(v)); err == nil {
			return c
		}
	}
	topic := r.Value(colTopic)
	if topic.IsNull() {
		return noRecord
	}
	return event.Coordinates{Topic: textOf(topic), Partition: r.Value(colPartition).Int32(),
		Offset: r.Value(colOffset).Int64()}
}

func compareRefs(a, b lake.Ref) int {
	if c := bytes.Compare(a.Value(colDevice).ByteArray(), b.Value(colDevice).ByteArray()); c != 0 {
		return c
	}
	switch x, y := refAt(a), refAt(b); {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	if c := compareCoordinates(refDelivery(a), refDelivery(b)); c != 0 {
		return c
	}
	return bytes.Compare(a.Value(colID).ByteArray(), b.Value(colID).ByteArray())
}

// sameRefs is Row.same.
func sameRefs(a, b lake.Ref) bool {
	return bytes.Equal(a.Value(colID).ByteArray(), b.Value(colID).ByteArray()) &&
		refDelivery(a) == refDelivery(b) && refDelivery(a) != noRecord &&
		textOf(a.Value(colFleet)) == textOf(b.Value(colFleet))
}

func refCovers(r lake.Ref, c *lake.Collector) {
	if d := refDelivery(r); d != noRecord {
		c.Stored(event.Coordinates{Topic: d.Topic, Partition: d.Partition, Offset: d.Offset})
	}
}
