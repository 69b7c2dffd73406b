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

	searched bool // no cache could answer: it was looked up on disk
}

// heldBy sets held, without keeping the memory of its argument.
func (c *claim) heldBy(delivery []byte) {
	if c.held = c.mine; !bytes.Equal(delivery, c.mine) {
		c.held = bytes.Clone(delivery)
	}
}

// appendKey appends the identity of an event: its UUID, then its fleet. So the same event_id in two fleets is two
// identities.
func appendKey(b []byte, fleet string, id [16]byte) []byte {
	b = append(b, id[:]...)
	return append(b, fleet...)
}

// logBytes is the length of a log's identity in a claim, including a zero byte, which no topic has in its name.
const logBytes = 1 + 8

// appendCoordinates appends the stored form of coordinates: partition and offset as unsigned varints, the topic, and
// the identity of the log, 0 if it is not known. Claims of versions that did not store the log end with the topic.
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
