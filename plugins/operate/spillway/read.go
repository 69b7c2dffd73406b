package spillway

import (
	"context"
	"fmt"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/internal/event"
)

// lookTimeout bounds all requests of one look.
const lookTimeout = 15 * time.Second

// ReadBatch returns the next alerts, or the next records of one partition. It waits until the batch
// before is acknowledged, so that progress is committed in order.
func (in *input) ReadBatch(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	if in.member == nil {
		return nil, nil, service.ErrNotConnected
	}
	select {
	case in.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	batch, ack, err := in.read(ctx)
	if err != nil {
		<-in.turn
		return nil, nil, in.cluster.Explain(err)
	}
	return batch, func(ctx context.Context, err error) error {
		defer func() { <-in.turn }()
		if err != nil {
			return nil // AutoRetryNacks sends the batch again
		}
		return ack(ctx)
	}, nil
}

func (in *input) read(ctx context.Context) (service.MessageBatch, func(context.Context) error, error) {
	for {
		if len(in.pending) > 0 {
			return in.alerts()
		}
		if next := in.next; next != nil {
			in.next = nil
			batch, done := next()
			return batch, done, nil
		}
		if in.reader == nil {
			if err := in.wait(ctx); err != nil {
				return nil, nil, err
			}
			if err := in.cycle(ctx); err != nil {
				return nil, nil, err
			}
			continue
		}
		c, ok, err := in.reader.next(ctx)
		if err != nil || !ok {
			in.reader.close()
			in.reader = nil
			if err != nil {
				return nil, nil, err
			}
			continue
		}
		if !in.assigned()[c.p] {
			in.reader.close() // another instance reads on
			in.reader = nil
			continue
		}
		if err := in.lookForHoles(ctx, c); err != nil { // nothing of the chunk is committed: it is read again
			in.reader.close()
			in.reader = nil
			return nil, nil, err
		}
		batch, reasons := in.messages(c)
		done := func(ctx context.Context) error {
			for reason, n := range reasons {
				in.spilled.Incr(n, string(reason))
			}
			return in.commit(ctx, c)
		}
		if len(batch) > 0 && in.spilling != nil {
			in.noteSpill(in.spilling, in.now())
			in.spilling = nil
			if len(in.pending) > 0 { // alerts come before the records that they are about
				in.next = func() (service.MessageBatch, func(context.Context) error) { return batch, done }
				continue
			}
		}
		if len(batch) > 0 {
			return batch, done, nil
		}
		if err := done(ctx); err != nil {
			return nil, nil, err
		}
	}
}

// wait waits until the next look is due.
func (in *input) wait(ctx context.Context) error {
	pause := in.interval - time.Since(in.looked)
	if in.looked.IsZero() {
		pause = min(in.interval, time.Second) // the first assignment of partitions may still be under way
	}
	select {
	case <-time.After(max(pause, 0)):
		in.looked = time.Now()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cycle looks at the log, reports gaps, and opens a reader if records are due.
func (in *input) cycle(ctx context.Context) error {
	mine := in.assigned()
	if len(mine) == 0 {
		return nil
	}
	now := in.now()
	found, err := in.look(ctx, now, mine)
	if err != nil {
		return err
	}
	due := map[partition]*position{}
	for p, at := range found {
		at.spilled = max(at.spilled, in.passed[p])
		in.noteGaps(p, at, now)
		if at.due().len() > 0 {
			due[p] = at
		}
	}
	if len(due) == 0 {
		return nil
	}
	in.spilling = due // reported with the first record: what is due may be only markers
	in.reader, err = openReader(in.cluster.Options(in.clientID), due)
	return err
}

// messages makes the records of a chunk rejected messages. It leaves out a record of a replay whose
// target is none of the groups that missed it.
func (in *input) messages(c chunk) (service.MessageBatch, map[event.Code]int64) {
	var batch service.MessageBatch
	reasons := map[event.Code]int64{}
	for _, record := range c.records {
		if record.Attrs.IsControl() {
			continue
		}
		msg := message(record)
		var errs []event.FieldError
		reason := c.at.reason(record.Offset)
		for _, group := range c.at.missedBy(record.Offset) {
			if target := in.targets[group]; target == "" || event.Targeted(msg, target) {
				errs = append(errs, event.FieldError{Message: sentence(reason, group)})
			}
		}
		if len(errs) == 0 {
			continue
		}
		event.MarkRejected(msg, &event.Rejection{Code: reason, Errors: errs})
		reasons[reason]++
		batch = append(batch, msg)
	}
	return batch, reasons
}

func sentence(reason event.Code, group string) string {
	if reason == event.CodeExpired {
		return "group " + group + " had not processed it shortly before the log's retention ends"
	}
	return "group " + group + " had not processed it and lags by more than the depth allowed"
}

// message converts a record as the engine's Kafka inputs do.
func message(record *kgo.Record) *service.Message {
	msg := service.NewMessage(record.Value)
	for _, h := range record.Headers {
		msg.MetaSetMut(h.Key, string(h.Value))
	}
	msg.MetaSetMut("kafka_key", string(record.Key))
	msg.MetaSetMut("kafka_topic", record.Topic)
	msg.MetaSetMut("kafka_partition", int(record.Partition))
	msg.MetaSetMut("kafka_offset", int(record.Offset))
	msg.MetaSetMut("kafka_timestamp_ms", record.Timestamp.UnixMilli())
	msg.MetaSetMut(event.MetaDevice, string(record.Key))
	return msg
}

// commit commits that everything before the chunk's end is handled. If it fails, a restart only
// repeats one chunk more.
func (in *input) commit(ctx context.Context, c chunk) error {
	in.passed[c.p] = c.next
	var failed error
	in.member.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{
		c.p.topic: {c.p.n: {Epoch: -1, Offset: c.next}},
	}, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		failed = commitError(resp, err)
	})
	if failed != nil {
		return fmt.Errorf("committing that %s/%d went through the spillway up to %d: %w", c.p.topic, c.p.n, c.next, failed)
	}
	return nil
}
