package consumer

import (
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
)

// told has the metadata values that all messages of a partition share.
type told struct {
	topic, number any
	texts         *texts
}

func tell(topic string, number int32, texts *texts) told {
	return told{topic: topic, number: int(number), texts: texts}
}

// texts caches recent values of headers, because many records have the same fleet, schema or request. It is not safe
// for concurrent use.
type texts struct{ known map[string]any }

// The limits of texts: the number of values, and the length of each.
const textsMost, textMost = 512, 64

// value returns the value of a header as metadata.
func (t *texts) value(raw []byte) any {
	if raw == nil {
		return nil
	}
	if v, ok := t.known[string(raw)]; ok {
		return v
	}
	text := string(raw)
	var v any = text
	if len(text) > textMost {
		return v
	}
	if t.known == nil {
		t.known = make(map[string]any, textsMost)
	} else if len(t.known) == textsMost {
		clear(t.known)
	}
	t.known[text] = v
	return v
}

// messages makes a batch of records, with its turn if it has one. The engine allocates up to eight metadata values of
// a message together, so only those are set that weir and its mappings read. In a backlog, for events with flags or a
// region, the turn is the ninth.
func (t *told) messages(records []*kgo.Record, turn *event.Turn) service.MessageBatch {
	batch := make(service.MessageBatch, len(records))
	for i, r := range records {
		msg := service.NewMessage(r.Value)
		for _, h := range r.Headers {
			msg.MetaSetMut(h.Key, t.texts.value(h.Value))
		}
		msg.MetaSetMut("kafka_topic", t.topic)
		msg.MetaSetMut("kafka_partition", t.number)
		msg.MetaSetMut("kafka_offset", int(r.Offset))
		msg.MetaSetMut("kafka_timestamp_ms", r.Timestamp.UnixMilli())
		if turn != nil {
			turn.Give(msg)
		}
		batch[i] = msg
	}
	return batch
}
