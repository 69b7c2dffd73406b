package eventlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
	"weir/internal/platform/rawjson"
)

// write is one batch on its way to the brokers. Its memory serves one batch
// after another: the client keeps nothing of a record that it has settled.
type write struct {
	records []kgo.Record
	headers []kgo.RecordHeader
	large   int // how many records, the last ones, are for the client of large batches

	add    func(key string, value any) error // appends a header
	settle func(*kgo.Record, error)          // the client's word on one record
	left   atomic.Int32                      // records without it
	done   chan struct{}
	mu     sync.Mutex
	err    error
}

func newWrite() *write {
	w := &write{done: make(chan struct{}, 1)}
	w.add, w.settle = w.header, w.settled
	return w
}

// WriteBatch returns nil when every message is durable: the healthy ones as
// events, the failed ones as dead letters. After an error, some may be.
func (o *output) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	spans := o.trace.Write("write to the log", batch)
	err := o.write(ctx, batch)
	spans.End(err)
	return err
}

func (o *output) write(ctx context.Context, batch service.MessageBatch) error {
	o.mu.RLock()
	client, large := o.client, o.large
	o.mu.RUnlock()
	if client == nil {
		return service.ErrNotConnected
	}
	w, _ := o.writes.Get().(*write)
	if w == nil {
		w = newWrite()
	}
	defer func() {
		w.reset()
		o.writes.Put(w)
	}()
	if err := o.fill(ctx, w, batch); err != nil {
		return err
	}
	return w.send(ctx, client, large)
}

// fill makes the records of a batch. An error leaves nothing written.
func (o *output) fill(ctx context.Context, w *write, batch service.MessageBatch) error {
	const usual = 6 // headers of an event
	w.records = slices.Grow(w.records, len(batch))
	w.headers = slices.Grow(w.headers, usual*len(batch))
	var failed service.MessageBatch
	for _, msg := range batch {
		if lost := restored(msg); lost != nil {
			failed = append(failed, lost)
			continue
		}
		if msg.GetError() != nil {
			failed = append(failed, msg)
			continue
		}
		if err := w.event(msg, o.conf.topic); err != nil {
			return err
		}
		event.RecordWritten(msg)
	}
	if len(failed) == 0 {
		return nil
	}
	letters, err := o.letters(ctx, failed)
	if err != nil {
		return err
	}
	for _, msg := range letters {
		if err := w.letter(msg, o.conf.letterTopic); err != nil {
			return err
		}
	}
	for _, msg := range failed {
		event.RecordWritten(msg) // as a dead letter
	}
	// Sort the rare records that need the client of large batches to the end.
	slices.SortStableFunc(w.records, func(a, b kgo.Record) int { return o.size(&a) - o.size(&b) })
	for i := len(w.records) - 1; i >= 0 && o.size(&w.records[i]) > 0; i-- {
		w.large++
	}
	return nil
}

// restored returns nil if a message is still the event that was validated. If a processor has made it another event or
// none, it returns a failed copy with the original bytes, so that the accepted event can be repaired from its dead
// letter. It does not change the message, which may be written again.
func restored(msg *service.Message) *service.Message {
	original, why := event.Altered(msg)
	if why == nil {
		return nil
	}
	whole := msg.Copy()
	whole.SetBytes(original)
	if whole.GetError() == nil { // else the processor's own words say more
		event.MarkRejected(whole, why)
	}
	return whole
}

// size is 1 for a dead letter that may not fit into a batch of events, else 0.
func (o *output) size(r *kgo.Record) int {
	if r.Topic == o.conf.letterTopic && len(r.Value) > int(o.conf.maxBytes)/2 {
		return 1
	}
	return 0
}

// letters makes dead letters of failed messages, which stay as they are: the
// engine may hand them in again.
func (o *output) letters(ctx context.Context, failed service.MessageBatch) (service.MessageBatch, error) {
	if o.conf.letterTopic == "" {
		return nil, fmt.Errorf("refusing events that failed before the log, as there is no topic for dead letters: %w",
			failed[0].GetError())
	}
	batches, err := service.ExecuteProcessors(ctx, o.conf.processors, failed.Copy())
	if err != nil {
		return nil, fmt.Errorf("making dead letters: %w", err)
	}
	letters := slices.Concat(batches...)
	if len(letters) < len(failed) { // the device of a missing one would get 202
		return nil, fmt.Errorf("making dead letters: of %d failed events, the processors of %s left %d: let them drop none",
			len(failed), eventLogFieldDeadLetter, len(letters))
	}
	return letters, nil
}

// event adds the record of a valid event.
func (w *write) event(msg *service.Message, topic string) error {
	device := event.Meta(msg, event.MetaDevice)
	if device == "" {
		return errors.New("writing an event that has no " + event.MetaDevice +
			": it is the key that keeps a device's events in order; put schema_validate before this output")
	}
	return w.record(msg, topic, device)
}

// letter adds the record of a dead letter.
func (w *write) letter(msg *service.Message, topic string) error {
	if err := msg.GetError(); err != nil {
		return fmt.Errorf("making a dead letter: %w", err)
	}
	return w.record(msg, topic, event.Meta(msg, event.MetaDevice))
}

func (w *write) record(msg *service.Message, topic, key string) error {
	value, err := msg.AsBytes()
	if err != nil {
		return fmt.Errorf("reading an event: %w", err)
	}
	first := len(w.headers)
	if err := msg.MetaWalkMut(w.add); err != nil {
		return err
	}
	r := kgo.Record{Topic: topic, Value: value, Headers: w.headers[first:len(w.headers):len(w.headers)]}
	if key != "" {
		r.Key = rawjson.Bytes(key)
	}
	w.records = append(w.records, r)
	return nil
}

// headerPrefix begins the names of metadata that become headers.
const headerPrefix = "weir_"

func (w *write) header(key string, value any) error {
	if !strings.HasPrefix(key, headerPrefix) && key != event.HeaderTraceparent {
		return nil
	}
	text, ok := value.(string)
	if !ok { // a mapping has set it
		var err error
		if text, err = headerText(value); err != nil {
			return fmt.Errorf("writing the header %s: %w", key, err)
		}
	}
	w.headers = append(w.headers, kgo.RecordHeader{Key: key, Value: rawjson.Bytes(text)})
	return nil
}

// send produces the records and returns when the client has settled all of them.
func (w *write) send(ctx context.Context, client, large *kgo.Client) error {
	if len(w.records) == 0 {
		return nil
	}
	w.left.Store(int32(len(w.records)))
	small := len(w.records) - w.large
	for i := range w.records {
		if i == small {
			client = large
		}
		client.Produce(ctx, &w.records[i], w.settle)
	}
	<-w.done
	if w.err != nil {
		return fmt.Errorf("writing to the log: %w", w.err)
	}
	return nil
}

func (w *write) settled(_ *kgo.Record, err error) {
	if err != nil {
		w.mu.Lock()
		if w.err == nil {
			w.err = err
		}
		w.mu.Unlock()
	}
	if w.left.Add(-1) == 0 {
		w.done <- struct{}{}
	}
}

// reset drops the references to messages, and keeps the memory.
func (w *write) reset() {
	clear(w.records)
	clear(w.headers)
	w.records, w.headers, w.large, w.err = w.records[:0], w.headers[:0], 0, nil
}
