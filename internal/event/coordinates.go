package event

import (
	"fmt"
	"strconv"
	"strings"
)

// Coordinates identify one record of the log, and so a delivery: the same event at other coordinates is a duplicate,
// at the same coordinates a redelivery.
type Coordinates struct {
	Topic     string
	Partition int32
	Offset    int64
}

// String returns "topic/partition/offset", which ParseCoordinates parses.
func (c Coordinates) String() string { return string(c.Append(nil)) }

// Append appends what String returns to b.
func (c Coordinates) Append(b []byte) []byte {
	b = append(b, c.Topic...)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(c.Partition), 10)
	b = append(b, '/')
	return strconv.AppendInt(b, c.Offset, 10)
}

// ParseCoordinates parses "topic/partition/offset".
func ParseCoordinates(s string) (Coordinates, error) {
	rest, offset, ok := cutLast(s)
	topic, partition, ok2 := cutLast(rest)
	p, err1 := strconv.ParseInt(partition, 10, 32)
	o, err2 := strconv.ParseInt(offset, 10, 64)
	if !ok || !ok2 || topic == "" || err1 != nil || err2 != nil || p < 0 || o < 0 {
		return Coordinates{}, fmt.Errorf("parsing coordinates %q: expected topic/partition/offset", s)
	}
	return Coordinates{Topic: topic, Partition: int32(p), Offset: o}, nil
}

// UnknownLog stands for a log whose identity is no longer known.
const UnknownLog = "?"

// logMark separates a topic from the log's identity. Topic names cannot contain it.
const logMark = "@"

// In returns "topic@log/partition/offset": the coordinates of a record in a log that is not, or may not be, the
// topic's present one (the topic was deleted and created anew).
func (c Coordinates) In(log string) string {
	c.Topic += logMark + log
	return c.String()
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}
