package consumer

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/internal/platform/kafka"
)

// patience bounds what must happen soon.
const patience = time.Minute

// bench is a log, and a group that reads it.
type bench struct {
	t      *testing.T
	log    *kfake.Cluster
	client *kgo.Client
	admin  kafka.Positions
}

func newBench(t *testing.T, partitions int32) *bench {
	t.Helper()
	b := &bench{t: t, log: newLog(t, partitions)}
	t.Setenv("WEIR_BROKERS", b.log.ListenAddrs()[0])
	client, err := kgo.NewClient(kgo.SeedBrokers(b.log.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	b.client, b.admin = client, kafka.Positions{Admin: kadm.NewClient(client)}
	return b
}

// write writes n records to each of some partitions; each holds its number.
func (b *bench) write(n int, partitions ...int32) {
	b.t.Helper()
	var all []*kgo.Record
	for _, p := range partitions {
		for range n {
			all = append(all, &kgo.Record{Topic: "events", Partition: p, Value: []byte("x")})
		}
	}
	if err := b.client.ProduceSync(b.t.Context(), all...).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
}

// committed are the group's offsets.
func (b *bench) committed() map[int32]int64 {
	b.t.Helper()
	all, err := b.admin.Committed(b.t.Context(), "g")
	if err != nil {
		b.t.Fatal(err)
	}
	out := map[int32]int64{}
	for p, offset := range all {
		out[p.Number] = offset
	}
	return out
}

// eventually waits until the group has committed these offsets.
func (b *bench) eventually(want map[int32]int64) {
	b.t.Helper()
	var got map[int32]int64
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if got = b.committed(); fmt.Sprint(got) == fmt.Sprint(want) {
			return
		}
	}
	b.t.Fatalf("committed %v, want %v", got, want)
}

func parsed(t testing.TB, yaml string) *service.ParsedConfig {
	t.Helper()
	c, err := logInputSpec().ParseYAML(yaml, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// join makes a member of the group, without what sends refused batches again.
func (b *bench) join(more string) *input {
	b.t.Helper()
	in, err := newInput(parsed(b.t, "group: g\ntopics: [ events ]\nwait: 10ms\n"+more), service.MockResources())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := in.Connect(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { b.close(in) })
	return in
}

func (b *bench) close(in *input) {
	b.t.Helper()
	if err := in.Close(context.WithoutCancel(b.t.Context())); err != nil {
		b.t.Error(err)
	}
}

// piece is a batch, as a test looks at it.
type piece struct {
	partition int32
	from, to  int64
	ack       service.AckFunc
}

func (b *bench) read(in *input, within time.Duration) (piece, bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), within)
	defer cancel()
	batch, ack, err := in.ReadBatch(ctx)
	if err != nil {
		return piece{}, false
	}
	one := piece{ack: ack}
	for i, msg := range batch {
		p, _ := msg.MetaGetMut("kafka_partition")
		o, _ := msg.MetaGetMut("kafka_offset")
		partition, offset := int32(p.(int)), int64(o.(int))
		if i == 0 {
			one.partition, one.from, one.to = partition, offset, offset
		}
		if partition != one.partition || offset != one.to {
			b.t.Fatalf("%d/%d after %d/%d in a batch", partition, offset, one.partition, one.to)
		}
		one.to++
	}
	return one, true
}

func (b *bench) must(in *input) piece {
	b.t.Helper()
	one, ok := b.read(in, patience)
	if !ok {
		b.t.Fatal("no batch came")
	}
	return one
}

func (b *bench) ack(one piece) {
	b.t.Helper()
	if err := one.ack(b.t.Context(), nil); err != nil {
		b.t.Error(err)
	}
}

// Batches are acknowledged in any order, and some never: what is committed, now
// and at the end, is just before the first that is not.
func TestLogInput_CommitsNothingBeyondWhatIsNotAcknowledged(t *testing.T) {
	b := newBench(t, 3)
	b.write(500, 0, 1, 2)
	in := b.join("batch: 7")
	var pieces []piece
	for read := int64(0); read < 1500; {
		one := b.must(in)
		read += one.to - one.from
		pieces = append(pieces, one)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	rnd.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
	const left = 3 // never acknowledged
	for i, one := range pieces[left:] {
		b.ack(one)
		if i%20 != 0 {
			continue
		}
		for p, offset := range b.committed() {
			for _, open := range pieces[left+i+1:] {
				if open.partition == p && offset > open.from {
					t.Fatalf("committed %d of %d, and %d is not acknowledged", offset, p, open.from)
				}
			}
		}
	}
	want := map[int32]int64{0: 500, 1: 500, 2: 500}
	for _, open := range pieces[:left] {
		want[open.partition] = min(want[open.partition], open.from)
	}
	for p, offset := range want {
		if offset == 0 { // nothing was ever committed
			delete(want, p)
		}
	}
	b.eventually(want) // by the clock
	for _, one := range pieces[:left] {
		b.ack(one)
	}
	b.close(in)
	b.eventually(map[int32]int64{0: 500, 1: 500, 2: 500}) // by the end
	again := b.join("")
	b.write(1, 1)
	if one := b.must(again); one.partition != 1 || one.from != 500 {
		t.Errorf("goes on at %d/%d", one.partition, one.from)
	}
}

// What an output refuses comes again, and is committed when it takes it.
func TestLogInput_WhatIsRefusedComesAgain(t *testing.T) {
	b := newBench(t, 1)
	b.write(20, 0)
	env := service.NewEnvironment()
	if err := Register(env); err != nil {
		t.Fatal(err)
	}
	stream := env.NewStreamBuilder()
	stream.SetLogger(slog.New(slog.DiscardHandler))
	if err := stream.AddInputYAML("log_input: { group: g, topics: [ events ], batch: 5, wait: 10ms }"); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	refusals, taken := map[string]int{}, map[string]bool{}
	if err := stream.AddBatchConsumerFunc(func(_ context.Context, batch service.MessageBatch) error {
		mu.Lock()
		defer mu.Unlock()
		first, _ := batch[0].MetaGet("kafka_offset")
		if refusals[first] < 2 {
			refusals[first]++
			return fmt.Errorf("refused")
		}
		for _, msg := range batch {
			offset, _ := msg.MetaGet("kafka_offset")
			if taken[offset] {
				t.Errorf("%s is taken twice", offset)
			}
			taken[offset] = true
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s, err := stream.Build()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	b.eventually(map[int32]int64{0: 20})
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	<-ended
	if len(taken) != 20 {
		t.Errorf("%d of 20 are taken", len(taken))
	}
}

// In order, a partition has one batch under way, and others go on.
func TestLogInput_InOrderOneBatchOfAPartition(t *testing.T) {
	b := newBench(t, 2)
	b.write(10, 0, 1)
	in := b.join("ordered: true")
	first, second := b.must(in), b.must(in)
	if first.partition == second.partition {
		t.Fatalf("two batches of partition %d are under way", first.partition)
	}
	b.write(10, 0, 1)
	if third, ok := b.read(in, 300*time.Millisecond); ok {
		t.Fatalf("a batch of partition %d comes while one is under way", third.partition)
	}
	b.ack(second)
	if third := b.must(in); third.partition != second.partition || third.from != second.to {
		t.Errorf("%d/%d after %d/%d", third.partition, third.from, second.partition, second.to)
	}
}

// Fetches are apart, and a record waits for the next one: not for that after it too, as
// where the one before was asked for, and answered, before it came.
func TestLogInput_ARecordWaitsForOneFetch(t *testing.T) {
	const wait = 800 * time.Millisecond
	b := newBench(t, 1)
	in, err := newInput(parsed(t, "group: g\ntopics: [ events ]\nordered: true\nwait: 800ms"), service.MockResources())
	if err == nil {
		in.answer = wait / 4 // of a broker on a busy machine
		err = in.Connect(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.close(in) })
	ctx, stop := context.WithTimeout(t.Context(), 8*wait)
	defer stop()
	var writing sync.WaitGroup
	writing.Go(func() {
		for ctx.Err() == nil {
			b.client.Produce(ctx, &kgo.Record{Topic: "events", Value: []byte("x")}, nil)
			time.Sleep(5 * time.Millisecond)
		}
	})
	defer writing.Wait()
	var waited []time.Duration
	for batches := 0; ; batches++ {
		batch, ack, err := in.ReadBatch(ctx)
		if err != nil {
			break
		}
		for _, msg := range batch {
			if ms, _ := msg.MetaGetMut("kafka_timestamp_ms"); batches > 1 { // the first are fetched at once
				waited = append(waited, time.Since(time.UnixMilli(ms.(int64))))
			}
		}
		if err := ack(ctx, nil); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(waited)
	// one and a half times as long, when the old answer is all that is taken
	if n := len(waited); n < 20 || waited[n/2] >= wait*5/4 {
		t.Errorf("half of %d records waited for %s and more, with %s between fetches", n, waited[n/2], wait)
	} else {
		t.Logf("half of %d records waited for less than %s", n, waited[n/2])
	}
}

// What is read ahead is bounded; the rest comes as what is read is acknowledged.
func TestLogInput_ReadsAheadNoMoreThanItMay(t *testing.T) {
	b := newBench(t, 1)
	in := b.join("read_ahead: 50\nbatch: 10")
	var pieces []piece
	for total := range 10 { // fetches of 30, so that one cannot hold all
		b.write(30, 0)
		for range 3 {
			one, ok := b.read(in, 300*time.Millisecond)
			if !ok {
				break
			}
			pieces = append(pieces, one)
		}
		if ahead := pieces[len(pieces)-1].to; ahead > 50+30 {
			t.Fatalf("%d records are read ahead after %d were written", ahead, 30*(total+1))
		}
	}
	for done := int64(0); done < 300; {
		for _, one := range pieces {
			b.ack(one)
			done = one.to
		}
		pieces = pieces[:0]
		if done < 300 {
			pieces = append(pieces, b.must(in))
		}
	}
	b.eventually(map[int32]int64{0: 300})
}

// A message has what the description says, and nothing else.
func TestLogInput_AMessageHasItsHeadersAndCoordinates(t *testing.T) {
	b := newBench(t, 1)
	at := time.UnixMilli(1764244800123)
	for _, headers := range [][]kgo.RecordHeader{
		{{Key: "weir_fleet", Value: []byte("plant-1")}, {Key: "weir_flags", Value: []byte("")}},
		{{Key: "weir_fleet", Value: []byte("plant-1")}, {Key: "weir_flags", Value: []byte("late")}, {Key: "none"}},
		{{Key: "weir_fleet", Value: []byte("plant-2")}},
	} {
		r := &kgo.Record{Topic: "events", Value: []byte("v"), Key: []byte("k"), Headers: headers, Timestamp: at}
		if err := b.client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	in := b.join("")
	var got []string
	for len(got) < 3 {
		batch, _, err := in.ReadBatch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, msg := range batch {
			var all []string
			if err := msg.MetaWalkMut(func(key string, value any) error {
				all = append(all, fmt.Sprintf("%s=%v", key, value))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			slices.Sort(all)
			got = append(got, strings.Join(all, " "))
		}
	}
	const where = "kafka_offset=%d kafka_partition=0 kafka_timestamp_ms=1764244800123 kafka_topic=events "
	want := []string{fmt.Sprintf(where, 0) + "weir_flags= weir_fleet=plant-1",
		fmt.Sprintf(where, 1) + "none=<nil> weir_flags=late weir_fleet=plant-1", fmt.Sprintf(where, 2) + "weir_fleet=plant-2"}
	if !slices.Equal(got, want) {
		t.Errorf("messages have\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestLogInput_TheLagIsOfAllPartitions(t *testing.T) {
	b := newBench(t, 2)
	b.write(10, 0, 1)
	in := b.join("")
	for range 2 {
		if one := b.must(in); one.partition == 0 {
			b.ack(one)
		}
	}
	b.eventually(map[int32]int64{0: 10})
	b.write(3, 0)
	lags := map[string]int64{}
	m := &lagMeter{group: "g", topics: []string{"none", "events"}, at: b.admin, absent: map[string]bool{},
		set: func(n int64, labels ...string) { lags[strings.Join(labels, "/")] = n }, log: in.log}
	if err := m.measure(t.Context()); err == nil {
		t.Error("a topic that is not there has a lag")
	}
	if fmt.Sprint(lags) != "map[events/0:3 events/1:10]" {
		t.Errorf("the lag is %v", lags)
	}
}

// With a rack, every fetch says where this process is: brokers that select by rack
// name the nearest replica.
func TestLogInput_SaysWhichRackItIsIn(t *testing.T) {
	for _, rack := range []string{"", "eu-central-1a"} {
		t.Setenv("WEIR_KAFKA_RACK", rack)
		b := newBench(t, 1)
		racks := make(chan string, 1)
		b.log.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
			select {
			case racks <- req.(*kmsg.FetchRequest).Rack:
			default:
			}
			b.log.KeepControl()
			return nil, nil, false
		})
		b.join("")
		select {
		case got := <-racks:
			if got != rack {
				t.Errorf("a fetch is of rack %q, expected %q", got, rack)
			}
		case <-time.After(patience):
			t.Fatal("nothing was fetched")
		}
	}
}
