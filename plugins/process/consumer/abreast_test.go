package consumer

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
)

// twoTopics is a reader of a partition of two topics, and the records of both.
func twoTopics(r *rand.Rand, now time.Time) (*reader, [2]*partition, [2][]*kgo.Record) {
	re := &reader{config: config{topics: []string{"a", "b"}, abreast: 5 * time.Minute,
		limits: limits{ordered: true, batchBytes: 1 + r.IntN(40)}}, mine: map[kafka.Partition]*partition{}}
	var of [2]*partition
	var all [2][]*kgo.Record
	for i, topic := range re.topics {
		p := newPartition(topic, 0, &re.texts)
		p.moved = now
		re.mine[kafka.Partition{Topic: topic}] = p
		re.order = append(re.order, p)
		of[i] = p
		at := now.Add(-48 * time.Hour)
		for n := range int64(200) {
			at = at.Add(time.Duration(r.IntN(600)) * time.Second)
			all[i] = append(all[i], &kgo.Record{Offset: n, Value: []byte{0}, Timestamp: at})
		}
	}
	return re, of, all
}

// Random reads and acknowledgements of two topics in a backlog: none is handed out
// beyond what the other has yet to hand out by more than it may, everything is handed
// out, and one of both always goes on.
func TestAbreast_NoTopicRunsAheadOfTheOther(t *testing.T) {
	now := time.Now()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		re, of, all := twoTopics(r, now)
		var pushed, given [2]int
		var open []func()
		for given[0]+given[1] < 400 {
			i := r.IntN(2)
			n := min(r.IntN(50), 200-pushed[i])
			if len(of[i].queue) == 0 && n > 0 { // the client fetches what is there
				of[i].push(all[i][pushed[i]:pushed[i]+n], now)
				of[i].end = 200
				pushed[i] += n
			}
			if len(open) > 0 && r.IntN(2) == 0 {
				open[0]()
				open = open[1:]
			}
			p, records, s, _ := re.take(now)
			if p == nil {
				waits := len(open) > 0 || pushed[0]+pushed[1] < 400
				if !waits {
					t.Fatalf("seed %d: after %v of %v nothing goes on", seed, given, pushed)
				}
				continue
			}
			me := 0
			if p == of[1] {
				me = 1
			}
			given[me] += len(records)
			last, other := records[len(records)-1], 1-me
			if given[other] < 200 {
				if ahead := last.Timestamp.Sub(all[other][given[other]].Timestamp); ahead > re.abreast {
					t.Fatalf("seed %d: %s is %s ahead of what the other has yet to hand out", seed, p.topic, ahead)
				}
			}
			open = append(open, func() { p.settle(s) })
		}
	}
}

// Clocks that are ahead, records without a time, and partitions of which nothing comes
// hold nobody back for long; those that have something do.
func TestAbreast_WhatHoldsOthersBack(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	has := func(at time.Time) func(*partition) {
		return func(p *partition) { p.push([]*kgo.Record{{Timestamp: at, Value: []byte("x")}}, now) }
	}
	for name, c := range map[string]struct {
		other func(*partition)
		mine  time.Time
		later time.Duration
		goes  bool
	}{
		"an older record waits":      {has(ago(time.Hour)), now, time.Hour, false},
		"one that is little older":   {has(ago(4 * time.Minute)), now, 0, true},
		"a clock that is ahead":      {has(now.Add(time.Hour)), now, 0, true},
		"my clock is ahead":          {has(now), now.Add(time.Hour), 0, true},
		"a record without a time":    {has(time.UnixMilli(-1)), now, 0, true},
		"I have no time":             {has(ago(time.Hour)), time.UnixMilli(-1), 0, true},
		"it has just come":           {func(*partition) {}, now, 0, false},
		"nothing came of it":         {func(*partition) {}, now, still, true},
		"it goes":                    {func(p *partition) { has(ago(time.Hour))(p); p.leave() }, now, 0, true},
		"all of it was handed out":   {func(p *partition) { handOut(p, ago(time.Hour), 1, now) }, now, 0, true},
		"more of it is on its way":   {func(p *partition) { handOut(p, ago(time.Hour), 9, now) }, now, time.Hour, false},
		"what it gave is not so old": {func(p *partition) { handOut(p, ago(time.Minute), 9, now) }, now, 0, true},
		"nothing more comes after it": {func(p *partition) { p.settle(handOut(p, ago(time.Hour), 9, now)) }, now,
			still, true},
	} {
		re, of, _ := twoTopics(rand.New(rand.NewPCG(1, 1)), now)
		re.order = []*partition{of[0]} // of which a batch is asked for
		has(c.mine)(of[0])
		c.other(of[1])
		if p, _, _, _ := re.take(now.Add(c.later)); (p != nil) != c.goes {
			t.Errorf("%s: it goes on: %v", name, p != nil)
		}
		delete(re.mine, kafka.Partition{Topic: "b"})
		if p, _, _, _ := re.take(now); p == nil && !c.goes {
			t.Errorf("%s: it waits for a partition that is another's", name)
		}
	}
}

// handOut hands out a record of a partition that ends at an offset.
func handOut(p *partition, at time.Time, end int64, now time.Time) *span {
	p.push([]*kgo.Record{{Timestamp: at, Value: []byte("x")}}, now)
	p.end = end
	_, s := p.cut(limits{}, bound{none: true}, now)
	return s
}

// A group reads two topics of which one has a backlog: what the other has is read
// as far as the backlog is, and the rest when that is done.
func TestLogInput_ABacklogHoldsTheOtherTopicBack(t *testing.T) {
	b := newBench(t, 1)
	if _, err := kadm.NewClient(b.client).CreateTopics(t.Context(), 1, 1, nil, "behind"); err != nil {
		t.Fatal(err)
	}
	begin := time.Now().Add(-24 * time.Hour).Truncate(time.Second)
	var all []*kgo.Record
	for i := range 200 { // a record a minute of both, and then the other has none
		at := begin.Add(time.Duration(i) * time.Minute)
		all = append(all, &kgo.Record{Topic: "events", Value: []byte("x"), Timestamp: at})
		if i < 100 {
			all = append(all, &kgo.Record{Topic: "behind", Value: []byte("x"), Timestamp: at})
		}
	}
	if err := b.client.ProduceSync(t.Context(), all...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	in, err := newInput(parsed(t, "{ group: g, topics: [ events, behind ], wait: 10ms, ordered: true, abreast: 5m }"),
		service.MockResources())
	if err == nil {
		err = in.Connect(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.close(in) })
	read := map[string]int{}
	for read["events"] < 200 || read["behind"] < 100 {
		batch, ack, err := in.ReadBatch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		topic, _ := batch[0].MetaGet("kafka_topic")
		read[topic] += len(batch)
		if ahead := read["events"] - read["behind"]; read["behind"] < 100 && (ahead > 6 || ahead < -6) {
			t.Fatalf("%v: one is more than five minutes ahead", fmt.Sprint(read))
		}
		if err := ack(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
}
