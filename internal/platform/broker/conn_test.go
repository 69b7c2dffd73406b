package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// answered counts the fetches that a client had answers to.
type answered struct{ n atomic.Int64 }

func (a *answered) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if key == fetchKey && err == nil {
		a.n.Add(1)
	}
}

// asksOf counts the fetches that kfake is asked.
func asksOf(b *Broker) *atomic.Int64 {
	var n atomic.Int64
	b.cluster.ControlKey(fetchKey, func(kmsg.Request) (kmsg.Response, error, bool) {
		n.Add(1)
		return nil, nil, false
	})
	return &n
}

// reading is a client that reads as the streams do.
func reading(t *testing.T, b *Broker, topics ...string) (*kgo.Client, *answered) {
	t.Helper()
	a := &answered{}
	return dial(t, b, kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableFetchSessions(), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMinBytes(1),
		kgo.FetchMaxWait(time.Second), kgo.FetchMaxPartitionBytes(1<<20), kgo.WithHooks(a)), a
}

// upTo reads n records, resting between fetches as the streams do.
func upTo(ctx context.Context, c *kgo.Client, n int, rest time.Duration) (all []*kgo.Record, err error) {
	for len(all) < n {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return all, fmt.Errorf("after %d records: %w", len(all), err)
		}
		fetches.EachRecord(func(r *kgo.Record) { all = append(all, r) })
		time.Sleep(rest)
	}
	return all, nil
}

// inOrder tells what is wrong with records of one partition, of which a producer wrote
// the numbers from zero.
func inOrder(all []*kgo.Record, values []string) error {
	if len(all) != len(values) {
		return fmt.Errorf("%d records, expected %d", len(all), len(values))
	}
	for i, r := range all {
		if string(r.Value) != values[i] || r.LeaderEpoch != 0 || len(r.Headers) != 1 ||
			string(r.Headers[0].Value) != values[i] {
			return fmt.Errorf("record %d is %q of epoch %d with %d headers, expected %q", i, r.Value, r.LeaderEpoch,
				len(r.Headers), values[i])
		}
		if i > 0 && r.Offset <= all[i-1].Offset {
			return fmt.Errorf("offset %d follows %d", r.Offset, all[i-1].Offset)
		}
	}
	return nil
}

func record(topic, value string) *kgo.Record {
	return &kgo.Record{Topic: topic, Value: []byte(value), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte(value)}}}
}

// What several groups read while it is written is what was written, each record once
// and in order, and most of it never was asked of kfake. One of them rests for so long
// that what it is to read is no longer at hand.
func TestBroker_GroupsReadTheEndOfTheLogFromMemory(t *testing.T) {
	b := start(t, t.TempDir(), 1)
	asks := asksOf(b)
	const n = 6000
	var values []string
	for i := range n {
		values = append(values, fmt.Sprintf("event %d of %01000d", i, i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var all sync.WaitGroup
	var answers int64
	var mu sync.Mutex
	for _, rest := range []time.Duration{0, 20 * time.Millisecond, 20 * time.Millisecond, 400 * time.Millisecond} {
		c, had := reading(t, b, "raw-events", "replay-events")
		all.Go(func() {
			records, err := upTo(ctx, c, n, rest)
			if err == nil {
				err = inOrder(records, values)
			}
			if err != nil {
				t.Errorf("resting for %v: %v", rest, err)
			}
			mu.Lock()
			defer mu.Unlock()
			answers += had.n.Load()
		})
	}
	p := dial(t, b)
	for i := 0; i < n; i += 20 {
		var some []*kgo.Record
		for _, v := range values[i : i+20] {
			some = append(some, record("raw-events", v))
		}
		if err := p.ProduceSync(ctx, some...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond)
	}
	all.Wait()
	if asked := asks.Load(); asked*10 > answers*9 {
		t.Errorf("of %d answers to fetches kfake made %d", answers, asked)
	}
}

// Records of transactions are read when they are committed, and not otherwise, while
// others are written around them; and a topic that is written in ways that are not
// followed is not forgotten while another always has something.
func TestBroker_TransactionsAreReadAsCommitted(t *testing.T) {
	b := start(t, t.TempDir(), 1)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c, _ := reading(t, b, "raw-events", "replay-events")
	stop := make(chan struct{})
	var writing sync.WaitGroup
	p := dial(t, b)
	writing.Go(func() { // always something
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				if err := p.ProduceSync(ctx, record("raw-events", "x")).FirstErr(); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	defer func() { close(stop); writing.Wait() }()
	var committed []string
	tx := dial(t, b, kgo.TransactionalID("tx"), kgo.DefaultProduceTopic("replay-events"))
	for i := range 12 {
		if i%3 == 2 { // alone
			v := fmt.Sprint("plain ", i)
			if err := p.ProduceSync(ctx, record("replay-events", v)).FirstErr(); err != nil {
				t.Fatal(err)
			}
			committed = append(committed, v)
			continue
		}
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		v := fmt.Sprint("transaction ", i)
		if err := tx.ProduceSync(ctx, record("replay-events", v)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		end := kgo.TryAbort
		if i%3 == 1 {
			end = kgo.TryCommit
			committed = append(committed, v)
		}
		if err := tx.EndTransaction(ctx, end); err != nil {
			t.Fatal(err)
		}
	}
	var got []*kgo.Record
	for len(got) < len(committed) {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%v after %d of %d records", err, len(got), len(committed))
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Topic == "replay-events" {
				got = append(got, r)
			}
		})
	}
	if err := inOrder(got, committed); err != nil {
		t.Error(err)
	}
}

// Who has not logged in reads nothing, though all that is asked for is at hand.
func TestBroker_WhoHasNotLoggedInReadsNothing(t *testing.T) {
	b := start(t, t.TempDir(), 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, had := reading(t, b, "raw-events")
	p := dial(t, b)
	for i := range 20 {
		if err := p.ProduceSync(ctx, record("raw-events", fmt.Sprint(i))).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := upTo(ctx, c, 20, 0); err != nil || had.n.Load() == 0 {
		t.Fatal(err)
	}
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.SessionEpoch, req.MaxBytes, req.MinBytes = byTopicID, -1, 1<<20, 1
	topic := kmsg.NewFetchRequestTopic()
	topic.TopicID = b.cluster.TopicInfo("raw-events").TopicID
	one := kmsg.NewFetchRequestTopicPartition()
	one.PartitionMaxBytes, one.CurrentLeaderEpoch = 1<<20, 0
	topic.Partitions = append(topic.Partitions, one)
	req.Topics = append(req.Topics, topic)
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("x")).AppendRequest(nil, req, 1)
	for times := range 3 {
		conn, err := net.Dial("tcp", b.Address())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		for range times + 1 {
			_, _ = conn.Write(frame) // it may be closed already
		}
		if n, err := io.Copy(io.Discard, conn); n > 0 || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d fetches were answered with %d bytes: %v", times+1, n, err)
		}
		_ = conn.Close()
	}
}

// Bytes that are no request pass to kfake, which hangs up; nobody waits for more.
func TestBroker_WhatIsNoRequestEndsTheConnection(t *testing.T) {
	b := start(t, t.TempDir(), 1)
	for name, sent := range map[string][]byte{
		"nothing":          {},
		"half a size":      {0, 0},
		"a size of none":   {0, 0, 0, 0, 0, 1, 0, 13, 0, 0, 0, 1},
		"a short request":  {0, 0, 0, 2, 0, 1},
		"half a fetch":     append(binary.BigEndian.AppendUint32(nil, 4000), 0, 1, 0, 17, 0, 0, 0, 1, 0, 0),
		"an unknown key":   append(binary.BigEndian.AppendUint32(nil, 10), 0x7f, 0, 0, 17, 0, 0, 0, 1, 0, 0),
		"a fetch of bytes": append(binary.BigEndian.AppendUint32(nil, 12), 0, 1, 0, 17, 0, 0, 0, 1, 0, 0, 0, 0xff),
	} {
		conn, err := net.Dial("tcp", b.Address())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		_, err = conn.Write(sent)
		if err == nil {
			err = conn.(*net.TCPConn).CloseWrite()
		}
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, conn); n > 0 || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: answered with %d bytes: %v", name, n, err)
		}
		_ = conn.Close()
	}
}

// Before a client has logged in it may ask for little, so that nobody without the
// password makes kfake read large requests.
func TestConn_BeforeTheLoginLittleMayBeAsked(t *testing.T) {
	c := &conn{}
	for _, asks := range []struct {
		key  kmsg.Key
		size int
		want bool
	}{
		{kmsg.ApiVersions, 100, true}, {kmsg.SASLHandshake, 100, true}, {kmsg.SASLAuthenticate, 100, true},
		{kmsg.ApiVersions, loginMost + 1, false}, {kmsg.Fetch, 100, false}, {kmsg.Produce, 100, false},
		{kmsg.Metadata, 100, false},
	} {
		if got := c.mayAsk(int16(asks.key), asks.size); got != asks.want {
			t.Errorf("%s of %d bytes: %t", asks.key.Name(), asks.size, got)
		}
	}
	if c.steps = loginSteps; !c.mayAsk(int16(kmsg.Fetch), requestMost) {
		t.Error("a client that has logged in may not ask")
	}
}

// An answer to a partition that a request names twice is to one of its batches: which is
// not known.
func TestConn_ABatchThatIsOneOfTwoIsNotKept(t *testing.T) {
	req := kmsg.NewPtrProduceRequest()
	topic := kmsg.NewProduceRequestTopic()
	for _, raw := range []string{"a", "b"} {
		one := kmsg.NewProduceRequestTopicPartition()
		one.Records = []byte(raw)
		topic.Partitions = append(topic.Partitions, one)
	}
	other := kmsg.NewProduceRequestTopicPartition()
	other.Partition, other.Records = 1, []byte("c")
	topic.Partitions = append(topic.Partitions, other)
	req.Topics = append(req.Topics, topic)
	if got := batchOf(req, place{partition: 0}); got != nil {
		t.Errorf("%q is kept of two", got)
	}
	if got := string(batchOf(req, place{partition: 1})); got != "c" {
		t.Errorf("%q is kept, expected c", got)
	}
}
