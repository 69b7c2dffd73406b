package consumer

import (
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
)

// told is what all messages of a partition share: values that are made once.
type told struct {
	topic, number any
	texts         *texts
}

func tell(topic string, number int32, texts *texts) told {
	return told{topic: topic, number: int(number), texts: texts}
}

// texts are the values of headers that were met lately: most are those of many
// records, whose fleet, schema or request is the same. It is for one goroutine at
// a time.
type texts struct{ known map[string]any }

// What texts remembers: how many values, and of which length.
const textsMost, textMost = 512, 64

// value returns a header's value as metadata takes it.
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

// messages makes a batch of records, which carry its turn, if it has one. The engine
// keeps up to eight values of a message in one piece, so there are few: what weir and its
// mappings read. In a backlog of events with flags or a region the turn is the ninth.
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
