package event

import (
	"fmt"
	"strconv"
	"strings"
)

// Coordinates name one record of the log. They are the identity of a delivery:
// the same event at other coordinates is a duplicate, at the same a redelivery.
type Coordinates struct {
	Topic     string
	Partition int32
	Offset    int64
}

// String is "topic/partition/offset", which ParseCoordinates reads.
func (c Coordinates) String() string { return string(c.Append(nil)) }

// Append appends String to b.
func (c Coordinates) Append(b []byte) []byte {
	b = append(b, c.Topic...)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(c.Partition), 10)
	b = append(b, '/')
	return strconv.AppendInt(b, c.Offset, 10)
}

// ParseCoordinates reads "topic/partition/offset".
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

// UnknownLog stands for a log of which nobody can say any more which it was.
const UnknownLog = "?"

// logMark comes between a topic and its log. No topic has it in its name.
const logMark = "@"

// In is "topic@log/partition/offset": the coordinates of a record that does not
// lie in the log that its topic is today, or may not.
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
