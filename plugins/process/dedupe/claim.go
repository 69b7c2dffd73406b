package dedupe

import (
	"bytes"
	"encoding/binary"
	"errors"

	"weir/internal/event"
)

// claim asks for one identity on behalf of one delivery of an event.
type claim struct {
	key  []byte // the identity: see appendKey
	mine []byte // the delivery that asks: see appendCoordinates
	held []byte // the delivery that has held the identity since before; nil: it is ours as of now
}

// heldBy notes who has held the identity, without keeping the memory that says so.
func (c *claim) heldBy(delivery []byte) {
	if c.held = c.mine; !bytes.Equal(delivery, c.mine) {
		c.held = bytes.Clone(delivery)
	}
}

// appendKey appends the identity of an event: its UUID, then its fleet. Two
// fleets may use the same event_id and never meet.
func appendKey(b []byte, fleet string, id [16]byte) []byte {
	b = append(b, id[:]...)
	return append(b, fleet...)
}

// appendCoordinates appends the stored form of coordinates: partition and
// offset as unsigned varints, then the topic.
func appendCoordinates(b []byte, c event.Coordinates) []byte {
	b = binary.AppendUvarint(b, uint64(c.Partition))
	b = binary.AppendUvarint(b, uint64(c.Offset))
	return append(b, c.Topic...)
}

var errCoordinates = errors.New("reading a stored claim: expected partition, offset and topic")

func readCoordinates(b []byte) (event.Coordinates, error) {
	partition, n := binary.Uvarint(b)
	if n <= 0 || partition > 1<<31-1 {
		return event.Coordinates{}, errCoordinates
	}
	offset, m := binary.Uvarint(b[n:])
	if m <= 0 || offset > 1<<63-1 || n+m == len(b) {
		return event.Coordinates{}, errCoordinates
	}
	return event.Coordinates{Topic: string(b[n+m:]), Partition: int32(partition), Offset: int64(offset)}, nil
}
