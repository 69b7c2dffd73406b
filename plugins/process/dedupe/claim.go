package dedupe

import (
	"bytes"
	"encoding/binary"
	"errors"

	"weir/internal/event"
	"weir/internal/platform/kafka"
)

// claim asks for one identity on behalf of one delivery of an event.
type claim struct {
	key  []byte // the identity: see appendKey
	mine []byte // the delivery that asks: see appendCoordinates
	old  []byte // a claim of another log, which ours replaces if it still stands; nil: none
	held []byte // the delivery that has held the identity since before; nil: it is ours as of now

	searched bool // what nobody remembered had to be looked for on disk
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

// logBytes is how long the identity of a log is in a claim, with the zero byte
// that no topic has in its name.
const logBytes = 1 + 8

// appendCoordinates appends the stored form of coordinates: partition and offset
// as unsigned varints, then the topic, then which log that is, zero when nobody
// asked. Claims that were stored before they named their log end with the topic.
func appendCoordinates(b []byte, c event.Coordinates, log kafka.Log) []byte {
	b = binary.AppendUvarint(b, uint64(c.Partition))
	b = binary.AppendUvarint(b, uint64(c.Offset))
	b = append(b, c.Topic...)
	return binary.BigEndian.AppendUint64(append(b, 0), uint64(log))
}

var errCoordinates = errors.New("reading a stored claim: expected partition, offset, topic and log")

func readCoordinates(b []byte) (event.Coordinates, kafka.Log, error) {
	var log kafka.Log
	if n := len(b) - logBytes; n > 0 && b[n] == 0 {
		log, b = kafka.Log(binary.BigEndian.Uint64(b[n+1:])), b[:n]
	}
	partition, n := binary.Uvarint(b)
	if n <= 0 || partition > 1<<31-1 {
		return event.Coordinates{}, 0, errCoordinates
	}
	offset, m := binary.Uvarint(b[n:])
	if m <= 0 || offset > 1<<63-1 || n+m == len(b) {
		return event.Coordinates{}, 0, errCoordinates
	}
	return event.Coordinates{Topic: string(b[n+m:]), Partition: int32(partition), Offset: int64(offset)}, log, nil
}
