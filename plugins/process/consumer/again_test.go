package consumer

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
)

var errNo = errors.New("no")

func recordsOf(topic string, partition int32, from, to int64) []*kgo.Record {
	all := records(from, to, 1)
	for _, r := range all {
		r.Topic, r.Partition = topic, partition
	}
	return all
}

// What came of a batch comes again as far as it was refused, whatever shape it was
// refused in.
func TestRefused_IsWhatComesAgain(t *testing.T) {
	batch := recordsOf("events", 3, 10, 15)
	p := newPartition("events", 3, &texts{})
	messages := func() service.MessageBatch { return p.told.messages(batch, nil) }
	other := func(change func(*service.Message)) service.MessageBatch {
		all := messages()
		change(all[1])
		return all
	}
	failed := func(b service.MessageBatch, which ...int) error {
		err := service.NewBatchError(b, errNo)
		for _, i := range which {
			err.Failed(i, errNo)
		}
		return err
	}
	ofAnother := func(m *service.Message) { m.MetaSetMut("kafka_partition", 77) }
	noOffset := func(m *service.Message) { m.MetaDelete("kafka_offset") }
	turned := messages()
	slices.Reverse(turned)
	all := []int64{10, 11, 12, 13, 14}
	for name, c := range map[string]struct {
		err  error
		want []int64
	}{
		"an error of all":           {errNo, all},
		"a batch's error of all":    {failed(messages()), all},
		"some":                      {failed(messages(), 1, 3), []int64{11, 13}},
		"in another order":          {failed(turned, 0, 3), []int64{11, 14}},
		"of fewer messages":         {failed(messages()[2:], 0, 2), []int64{12, 14}},
		"one of them twice":         {failed(append(messages(), messages()[1]), 1, 5), []int64{11}},
		"behind another error":      {errors.Join(errors.New("first"), failed(messages(), 2)), []int64{12}},
		"none, which says nothing":  {service.NewBatchError(messages(), errNo).Failed(0, nil), all},
		"without an offset":         {failed(other(noOffset), 1, 3), all},
		"of another partition":      {failed(other(ofAnother), 1), all},
		"of an offset not in it":    {failed(other(func(m *service.Message) { m.MetaSetMut("kafka_offset", 9) }), 1, 2), all},
		"what is strange was taken": {failed(other(noOffset), 3), []int64{13}},
	} {
		var got []int64
		for _, r := range refusedOf(batch, c.err) {
			got = append(got, r.Offset)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v come again, expected %v", name, got, c.want)
		}
	}
}

// Of records with the same offset, of a topic that was made anew, all come again.
func TestRefused_OffsetsThatStandTwiceComeAgain(t *testing.T) {
	batch := append(recordsOf("events", 3, 10, 12), recordsOf("events", 3, 10, 11)...)
	msgs := newPartition("events", 3, &texts{}).told.messages(batch, nil)
	err := service.NewBatchError(msgs, errNo)
	if err.Failed(0, errNo); len(refusedOf(batch, err)) != len(batch) {
		t.Error("one of two records with the same offset counts as taken")
	}
}

// What is refused comes again before anything else, at once and then later and later;
// once an answer is given another says nothing.
func TestReader_WhatIsRefusedComesAgainFirst(t *testing.T) {
	p := newPartition("events", 3, &texts{})
	r := &reader{wake: make(chan struct{}, 1), order: []*partition{p}, stop: t.Context()}
	r.limits.batchRecords = 2
	p.push(recordsOf("events", 3, 0, 6), time.Now())
	next := func() (service.MessageBatch, service.AckFunc, int64) {
		t.Helper()
		batch, ack, err := r.next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		at, _, _ := event.CoordinatesOf(batch[0])
		return batch, ack, at.Offset
	}
	answer := func(ack service.AckFunc, err error) {
		t.Helper()
		if err := ack(t.Context(), err); err != nil {
			t.Error(err)
		}
	}
	first, refuse, _ := next()
	answer(refuse, service.NewBatchError(first, errNo).Failed(1, errNo))
	answer(refuse, nil) // of nothing any more
	if p.settled.Offset != 0 {
		t.Fatalf("settled %d, and was refused", p.settled.Offset)
	}
	batch, ack, offset := next()
	if len(batch) != 1 || offset != 1 {
		t.Fatalf("%d messages from %d on came again, expected that of 1", len(batch), offset)
	}
	_, second, offset := next()
	if answer(second, nil); offset != 2 || p.settled.Offset != 0 {
		t.Fatalf("behind it comes %d, and %d is settled", offset, p.settled.Offset)
	}
	answer(ack, nil)
	if answer(ack, errNo); p.settled.Offset != 4 || len(r.again) > 0 {
		t.Errorf("settled %d, expected 4; %d come again", p.settled.Offset, len(r.again))
	}
	for times := 1; times < 30; times++ {
		if a, b := restOf(times), restOf(times+1); a > b || b > time.Second || times > 2 && a == 0 {
			t.Errorf("refused %d times it waits %s, and then %s", times, a, b)
		}
	}
	_, third, _ := next()
	answer(third, errNo)
	r.again[0].at = time.Now().Add(time.Hour)
	if _, is, due := r.takeAgain(time.Now()); is || !due.Equal(r.again[0].at) {
		t.Errorf("it comes before its time, at %s", due)
	}
	until := time.Now().Add(20 * time.Millisecond)
	r.again[0].at = until
	if _, _, offset := next(); offset != 4 || time.Now().Before(until) {
		t.Errorf("%d came again, expected 4 at its time", offset)
	}
}
