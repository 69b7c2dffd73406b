package privacy

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/pii"
)

// message masks an event, and why it failed, if it has. An error leaves the
// message as it is: it has no bytes that anything could write.
func (w *walker) message(msg *service.Message) (changed bool, err error) {
	raw, err := msg.AsBytes()
	if err != nil {
		return false, err
	}
	masked := w.bytes(raw)
	changed = !bytes.Equal(masked, raw)
	if changed {
		msg.SetBytes(masked)
	}
	if w.reason(msg) {
		changed = true
	}
	if _, judged := msg.MetaGetImmut(event.MetaOriginal); judged && changed {
		event.KeepOriginal(msg, &masked)
		msg.MetaDelete(event.HeaderUnknownMetrics)
		event.MarkRejected(msg, event.Reject(event.CodeProcessingFailed, "", errLate))
	}
	return changed, nil
}

// errLate is what becomes of events where the processor stands too late: the
// reasons of those that were refused before had the data in them.
const errLate = "it was judged before personal data was taken out: put privacy before schema_validate"

// bytes masks an event in whatever encoding of Unicode. One that is not UTF-8,
// and is not clean, becomes UTF-8.
func (w *walker) bytes(raw []byte) []byte {
	if text := fromUTF16(raw); text != nil {
		if masked := w.mask(text); !bytes.Equal(masked, text) {
			return masked
		}
		return raw
	}
	return w.mask(raw)
}

// reason masks why a message failed: who failed it may have quoted it.
func (w *walker) reason(msg *service.Message) (changed bool) {
	if msg.GetError() == nil {
		return false
	}
	r := event.RejectionOf(msg)
	if r == nil {
		return false
	}
	for i := range r.Errors {
		for _, text := range []*string{&r.Errors[i].Pointer, &r.Errors[i].Message} {
			if masked, did := w.replace([]byte(*text), false, pii.HintNone); did {
				*text, changed = string(masked), true
			}
		}
	}
	if changed {
		event.MarkRejected(msg, r)
	}
	return changed
}

// fromUTF16 returns a text of UTF-16 as UTF-8, nil when it is none: by its byte
// order mark, or since every other byte of its beginning is 0.
func fromUTF16(b []byte) []byte {
	if len(b) < 4 {
		return nil
	}
	var order binary.ByteOrder
	switch {
	case b[0] == 0xFF && b[1] == 0xFE, b[1] == 0 && b[3] == 0:
		order = binary.LittleEndian
	case b[0] == 0xFE && b[1] == 0xFF, b[0] == 0 && b[2] == 0:
		order = binary.BigEndian
	default:
		return nil
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}
