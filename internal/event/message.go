package event

import (
	"encoding/json"
	"strings"
	"time"
	"weir/internal/platform/text"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// MarkRejected marks a message as bad data: it sets the message's error, which routes it to the dead letters, and
// stores code and field errors as metadata.
func MarkRejected(msg *service.Message, r *Rejection) {
	msg.MetaSetMut(MetaCode, string(r.Code))
	if errs, err := text.JSON(r.Errors); err == nil { // strings only: cannot fail
		msg.MetaSetMut(MetaErrors, string(errs))
	}
	msg.SetError(r)
}

// RejectionOf returns why a message failed: the rejection of MarkRejected, or, when another processor failed,
// CodeProcessingFailed with the error's text (CodeQuarantined if a config asked for that). It returns nil for a
// message that did not fail.
func RejectionOf(msg *service.Message) *Rejection {
	err, code := msg.GetError(), meta(msg, MetaCode)
	switch {
	case err == nil && code == "":
		return nil
	case code == "":
		return failedWith(err.Error())
	}
	r := &Rejection{Code: Code(code)}
	if json.Unmarshal([]byte(meta(msg, MetaErrors)), &r.Errors) != nil {
		r.Errors = []FieldError{{Message: "of which only the code is known"}}
	}
	return r
}

// quarantine is the prefix by which a config's error quarantines an event, as in throw("quarantine: hotter than the
// sun").
const quarantine = "quarantine: "

// failedWith returns the rejection for the error of a processor that is not weir's.
func failedWith(text string) *Rejection {
	if _, why, held := strings.Cut(text, quarantine); held {
		return Reject(CodeQuarantined, "", why)
	}
	return Reject(CodeProcessingFailed, "", text)
}

// CoordinatesOf returns the coordinates of this record, and those of the delivery it stands for, which differ only
// for a republished record (replay, redrive). A record first delivered in an earlier log of its topic stands for
// itself, because its old coordinates now mean other records. ok is false for a message that did not come from the
// log.
func CoordinatesOf(msg *service.Message) (record, delivery Coordinates, ok bool) {
	topic := meta(msg, metaTopic)
	partition, ok1 := metaInt(msg, metaPartition)
	offset, ok2 := metaInt(msg, metaOffset)
	if topic == "" || !ok1 || !ok2 {
		return record, delivery, false
	}
	record = Coordinates{Topic: topic, Partition: int32(partition), Offset: int64(offset)}
	if first, log, again := FirstDelivery(msg); again && log == "" {
		return record, first, true
	}
	return record, record, true
}

// FirstDelivery returns where a republished record was first delivered, and in which log; "" is the topic's present
// log. ok is false for a record that was published once.
func FirstDelivery(msg *service.Message) (first Coordinates, log string, ok bool) {
	header := meta(msg, HeaderDelivery)
	if header == "" {
		return first, "", false
	}
	return ParseDelivery(header)
}

// ParseDelivery parses HeaderDelivery.
func ParseDelivery(header string) (first Coordinates, log string, ok bool) {
	first, err := ParseCoordinates(header)
	first.Topic, log, _ = strings.Cut(first.Topic, logMark)
	return first, log, err == nil
}

// FleetOf returns the fleet of a message.
func FleetOf(msg *service.Message) string { return meta(msg, HeaderFleet) }

// ReceivedAt returns when the gate received the event.
func ReceivedAt(msg *service.Message) (time.Time, bool) {
	return text.ParseTime(meta(msg, HeaderReceivedAt))
}

// LoggedAt returns when a record was written to the log, or the zero time when unknown. If a store knows the record's
// coordinates from before that time, the log was created anew and this is another record.
func LoggedAt(msg *service.Message) time.Time {
	if v, ok := msg.MetaGetImmut(metaTimestamp); ok {
		if ms, ok := v.(int64); ok && ms > 0 {
			return time.UnixMilli(ms)
		}
	}
	return time.Time{}
}

// Targeted tells whether a consumer (Target…) should handle the message: always, unless a replay names others.
func Targeted(msg *service.Message, group string) bool {
	targets := meta(msg, HeaderTarget)
	return targets == "" || HasFlag(targets, group)
}

// Meta returns a metadata value, "" when absent. It does not allocate for string values.
func Meta(msg *service.Message, key string) string { return meta(msg, key) }

func meta(msg *service.Message, key string) string {
	v, ok := msg.MetaGetImmut(key)
	if !ok {
		return ""
	}
	if s, ok := v.(string); ok {
		return s
	}
	s, _ := msg.MetaGet(key)
	return s
}

func metaInt(msg *service.Message, key string) (int, bool) {
	v, ok := msg.MetaGetImmut(key)
	if !ok {
		return 0, false
	}
	switch n := v.(type) {
	case int:
		return n, true
	case int32:
		return int(n), true
	case int64:
		return int(n), true
	}
	s, _ := msg.MetaGet(key)
	var n int
	if json.Unmarshal([]byte(s), &n) != nil {
		return 0, false
	}
	return n, true
}
