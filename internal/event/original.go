package event

import (
	"unsafe"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// KeepOriginal remembers an event's bytes as validated, so that Altered can compare them with what later processors
// make of the message. It stores the pointer: the bytes must not change.
func KeepOriginal(msg *service.Message, raw *[]byte) { msg.MetaSetMut(MetaOriginal, raw) }

// Altered returns the bytes of KeepOriginal, and a reason if the message is no longer the same event: its event_id,
// device_id or timestamp changed, or it is not an event. why is nil if it is the same event, whatever else changed,
// or if no bytes were kept.
func Altered(msg *service.Message) (original []byte, why *Rejection) {
	value, _ := msg.MetaGetImmut(MetaOriginal)
	kept, ok := value.(*[]byte)
	if !ok {
		return nil, nil
	}
	now, err := msg.AsBytes()
	if err != nil {
		return *kept, altered("", "cannot be written: "+err.Error())
	}
	if len(now) == len(*kept) && unsafe.SliceData(now) == unsafe.SliceData(*kept) {
		return *kept, nil // unchanged
	}
	return *kept, compare(*kept, now)
}

func compare(before, after []byte) *Rejection {
	var was, is Event
	if err := Parse(before, &was); err != nil {
		return nil // it was not an event then
	}
	if err := Parse(after, &is); err != nil {
		return altered("", "is no event any more: "+err.Error())
	}
	switch {
	case was.UUID != is.UUID:
		return altered(FieldID, "is another than the device sent")
	case was.Device != is.Device:
		return altered(FieldDevice, "is another than the device sent")
	case !was.Time.Equal(is.Time):
		return altered(FieldTimestamp, "is another than the device sent")
	}
	return nil
}

func altered(field, message string) *Rejection {
	pointer := ""
	if field != "" {
		pointer = "/" + field
	}
	return Reject(CodeProcessingFailed, pointer, "after the processors before the log, it "+message+
		"; does a mapping lack `root = this`?")
}
