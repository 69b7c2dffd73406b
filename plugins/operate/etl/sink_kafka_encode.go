package etl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// topicEncoder writes rows as records. Columns that are no other part of a record become the JSON
// object of its value.
type topicEncoder struct {
	ctx     context.Context // of the transaction
	w       *kafkaWriter
	columns []column
	value   []int          // indices of the columns of the value
	inside  []column       // the columns of the value
	facts   map[string]int // part of a record -> index of its column
	told    []byte
	sum     rowSum
	bytes   int64
	rows    int64

	lock sync.Mutex
	lost error // the broker's first error
}

func newTopicEncoder(ctx context.Context, w *kafkaWriter, columns []column) *topicEncoder {
	e := &topicEncoder{ctx: ctx, w: w, columns: columns, facts: map[string]int{}}
	for fact, name := range w.facts {
		e.facts[fact] = indexOf(columns, name)
	}
	for i, c := range columns {
		is := false
		for _, at := range e.facts {
			is = is || at == i
		}
		if !is {
			e.value, e.inside = append(e.value, i), append(e.inside, c)
		}
	}
	return e
}

func (e *topicEncoder) write(r row) error {
	if err := e.failed(); err != nil {
		return err
	}
	inside := make(row, len(e.value))
	for n, i := range e.value {
		inside[n] = r[i]
	}
	rec := &kgo.Record{Value: []byte(strings.TrimSuffix(string(appendJSON(nil, e.inside, inside)), "\n"))}
	for fact, i := range e.facts {
		if err := setFact(rec, fact, r[i]); err != nil {
			return fmt.Errorf("column %q: %w", e.columns[i].name, err)
		}
	}
	e.told = appendRow(e.told[:0], r)
	e.sum.add(e.told)
	e.rows, e.bytes = e.rows+1, e.bytes+int64(len(rec.Key)+len(rec.Value))
	e.w.client.Produce(e.ctx, rec, func(_ *kgo.Record, err error) {
		if err != nil {
			e.lock.Lock()
			defer e.lock.Unlock()
			if e.lost == nil {
				e.lost = storeError{refusedByKafka(e.w.cluster, "writing to topic "+e.w.topic, err)}
			}
		}
	})
	return nil
}

func (e *topicEncoder) failed() error {
	e.lock.Lock()
	defer e.lock.Unlock()
	return e.lost
}

func (e *topicEncoder) end() error { return nil }

// setFact sets a part of a record beside its value.
func setFact(rec *kgo.Record, fact string, c cell) error {
	if c.null && fact == "partition" {
		return errors.New("a record is in a partition, and this one is null")
	}
	if c.null {
		return nil
	}
	switch fact {
	case "key", "key_bytes":
		rec.Key = []byte(c.text)
	case "partition":
		n, err := strconv.ParseInt(c.text, 10, 32)
		rec.Partition = int32(n)
		return err
	case "timestamp":
		at, err := time.Parse(formTimestamp, strings.TrimSuffix(c.text, "Z"))
		if err == nil && at.Nanosecond()%int(time.Millisecond) != 0 {
			err = errors.New("it is finer than a millisecond, as Kafka has no time")
		}
		rec.Timestamp = at
		return err
	case "headers":
		var all []struct {
			Key   *string
			Value *string
		}
		if err := json.Unmarshal([]byte(c.text), &all); err != nil {
			return errors.New(`headers are a list of {"key": TEXT, "value": TEXT}`)
		}
		for _, h := range all {
			if h.Key == nil {
				return errors.New("a header has no key")
			}
			one := kgo.RecordHeader{Key: *h.Key}
			if h.Value != nil {
				one.Value = []byte(*h.Value)
			}
			rec.Headers = append(rec.Headers, one)
		}
	}
	return nil
}
