package gate

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"

	"weir/internal/event"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/text"
)

// cloudEvent is one CloudEvents 1.0 event in JSON, as far as weir reads it. The
// members of its data are the members of an event; its attributes fill in what
// the data leaves out:
//
//	id       event_id: as it is when it is a UUID, else a UUID made of source
//	         and id, which together are the event's identity
//	subject  device_id, or without it the last segment of source
//	time     timestamp
//
// All attributes are kept in the event's member "cloudevent".
type cloudEvent struct {
	raw              []byte
	id, source, kind string
	version, subject string
	time             []byte
	data             []byte
	attributes       []byte // members, as sent
	own              []byte // members of the data, as sent
	hasID, hasDevice bool   // in the data
	hasTime          bool
}

// fromCloudEvent turns an item with a CloudEvent into one with an event. If it cannot, it marks the
// item as bad, and leaves its bytes as they are.
func fromCloudEvent(it item) item {
	c := cloudEvent{raw: it.raw}
	var bad *event.Rejection
	if err := c.read(); errors.As(err, &bad) {
		it.bad = bad
		return it
	} else if err != nil {
		it.bad = event.Reject(event.CodeInvalidJSON, "", err.Error())
		return it
	}
	return lone(c.event())
}

// refuse returns the error of a CloudEvent that is no valid event.
func refuse(pointer, message string) error {
	return event.Reject(event.CodeInvalidEvent, pointer, message)
}

func (c *cloudEvent) read() error {
	start := rawjson.Space(c.raw, 0)
	if start == len(c.raw) || c.raw[start] != '{' {
		if err := rawjson.Document(c.raw); err != nil {
			return err
		}
		return refuse("", "expected a CloudEvent")
	}
	end, err := rawjson.Object(c.raw, start, 0, c.attribute)
	if err != nil {
		return err
	}
	if rawjson.Space(c.raw, end) != len(c.raw) {
		return errors.New("unexpected data after the event")
	}
	switch {
	case c.version != "1.0":
		return refuse("/specversion", `expected "1.0"`)
	case c.id == "":
		return refuse("/id", "is required")
	case c.source == "":
		return refuse("/source", "is required")
	case c.kind == "":
		return refuse("/type", "is required")
	case c.data == nil:
		return refuse("/data", "expected an object with the event's metrics")
	}
	_, err = rawjson.Object(c.data, 0, 1, c.member)
	return err
}

func (c *cloudEvent) attribute(key []byte, plain bool, i int) (end int, err error) {
	if end, err = rawjson.Value(c.raw, i, 1); err != nil {
		return end, err
	}
	value := c.raw[i:end]
	text := func(into *string) error {
		if value[0] != '"' {
			return refuse("/"+event.EscapePointer(rawjson.Text(key, plain)), "expected a string")
		}
		*into = string(rawjson.Unquote(value[1 : len(value)-1]))
		return nil
	}
	switch name := rawjson.Text(key, plain); name {
	case "data":
		if value[0] != '{' {
			return end, refuse("/data", "expected an object with the event's metrics")
		}
		c.data = value
		return end, nil
	case "data_base64":
		return end, refuse("/data_base64", "expected JSON in data")
	case "specversion":
		err = text(&c.version)
	case "id":
		err = text(&c.id)
	case "source":
		err = text(&c.source)
	case "type":
		err = text(&c.kind)
	case "subject":
		err = text(&c.subject)
	case "time":
		c.time = value
	}
	c.attributes = appendMember(c.attributes, key, value)
	return end, err
}

func (c *cloudEvent) member(key []byte, plain bool, i int) (end int, err error) {
	if end, err = rawjson.Value(c.data, i, 2); err != nil {
		return end, err
	}
	value := c.data[i:end]
	switch rawjson.Text(key, plain) {
	case event.FieldID:
		if string(value) != `"`+c.id+`"` {
			return end, refuse("/data/event_id", "expected the same as id, or nothing")
		}
		c.hasID = true
	case event.FieldDevice:
		c.hasDevice = true
	case event.FieldTimestamp:
		c.hasTime = true
	case fieldCloudEvent:
		return end, refuse("/data/"+fieldCloudEvent, "the name is taken: it holds the attributes")
	}
	c.own = appendMember(c.own, key, value)
	return end, nil
}

const fieldCloudEvent = "cloudevent"

func appendMember(b, key, value []byte) []byte {
	if len(b) > 0 {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, key...)
	b = append(b, '"', ':')
	return append(b, value...)
}

// event returns the event: the members that the attributes fill in, the members of the data, and
// all attributes.
func (c *cloudEvent) event() []byte {
	var members []byte
	if !c.hasID {
		members = appendMember(members, []byte(event.FieldID), rawjson.AppendString(nil, c.eventID()))
	}
	if device := c.device(); !c.hasDevice && device != "" {
		members = appendMember(members, []byte(event.FieldDevice), rawjson.AppendString(nil, device))
	}
	if !c.hasTime && c.time != nil {
		members = appendMember(members, []byte(event.FieldTimestamp), c.time)
	}
	out := append(make([]byte, 0, len(c.raw)+len(members)+32), '{')
	for _, part := range [][]byte{members, c.own} {
		if len(part) > 0 {
			out = append(append(out, part...), ',')
		}
	}
	out = append(out, `"`+fieldCloudEvent+`":{`...)
	out = append(out, c.attributes...)
	return append(out, "}}"...)
}

// eventID returns the id if it is a UUID, and else a version 5 UUID of source and id.
func (c *cloudEvent) eventID() string {
	if _, ok := text.ParseUUID(c.id); ok {
		return c.id
	}
	sum := sha1.Sum([]byte("weir:cloudevent:" + c.source + "\x00" + c.id)) // a name, not a secret
	sum[6] = sum[6]&0x0f | 0x50
	sum[8] = sum[8]&0x3f | 0x80
	var out [36]byte
	hex.Encode(out[0:8], sum[0:4])
	hex.Encode(out[9:13], sum[4:6])
	hex.Encode(out[14:18], sum[6:8])
	hex.Encode(out[19:23], sum[8:10])
	hex.Encode(out[24:36], sum[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

func (c *cloudEvent) device() string {
	if c.subject != "" {
		return c.subject
	}
	for i := len(c.source) - 1; i >= 0; i-- {
		if c.source[i] == '/' {
			return c.source[i+1:]
		}
	}
	return c.source
}
