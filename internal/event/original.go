package event

import (
	"unsafe"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// KeepOriginal keeps an event's bytes beside the message as they are judged, so
// that what a processor makes of it later can be compared with them. It stores
// the pointer alone: the bytes must not change.
func KeepOriginal(msg *service.Message, raw *[]byte) { msg.MetaSetMut(MetaOriginal, raw) }

// Altered returns the bytes that KeepOriginal kept, and why a message is not
// that event any more: another event_id, device_id or timestamp, or no event at
// all. A message that is still it, whatever else of it was changed, or whose
// bytes nobody kept, has no reason.
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
		return *kept, nil // nobody has touched it
	}
	return *kept, compare(*kept, now)
}

func compare(before, after []byte) *Rejection {
	var was, is Event
	if err := Parse(before, &was); err != nil {
		return nil // it was no event then
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
