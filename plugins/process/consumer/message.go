package consumer

import (
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"
)

// told is what all messages of a partition share: values that are made once.
type told struct {
	topic, number any
	headers       []toldHeader // by their place in a record
}

// toldHeader is the last value of a header: most are the same for many records.
type toldHeader struct {
	text  string
	value any // text
}

func tell(topic string, number int32) told { return told{topic: topic, number: int(number)} }

// header returns a header's value as metadata takes it.
func (t *told) header(i int, value []byte) any {
	if value == nil {
		return nil
	}
	for len(t.headers) <= i {
		t.headers = append(t.headers, toldHeader{value: ""})
	}
	h := &t.headers[i]
	if string(value) != h.text {
		h.text = string(value)
		h.value = h.text
	}
	return h.value
}

// messages makes a batch of records. The engine keeps up to eight values of a
// message in one piece, so there are few: what weir and its mappings read.
func (t *told) messages(records []*kgo.Record) service.MessageBatch {
	batch := make(service.MessageBatch, len(records))
	for i, r := range records {
		msg := service.NewMessage(r.Value)
		for n, h := range r.Headers {
			msg.MetaSetMut(h.Key, t.header(n, h.Value))
		}
		msg.MetaSetMut("kafka_topic", t.topic)
		msg.MetaSetMut("kafka_partition", t.number)
		msg.MetaSetMut("kafka_offset", int(r.Offset))
		msg.MetaSetMut("kafka_timestamp_ms", r.Timestamp.UnixMilli())
		batch[i] = msg
	}
	return batch
}
