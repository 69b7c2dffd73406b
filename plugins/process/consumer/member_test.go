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
	"github.com/twmb/franz-go/pkg/kgo"
)

// A partition that goes to another member takes with it what was acknowledged
// while it was waited for.
func TestLogInput_APartitionThatGoesIsCommittedFirst(t *testing.T) {
	b := newBench(t, 2)
	b.write(10, 0, 1)
	one := b.join("")
	first, second := b.must(one), b.must(one)
	joined := make(chan *input)
	go func() { joined <- b.join("") }()
	r := one.reader
	for leaving := false; !leaving; time.Sleep(5 * time.Millisecond) { // one of the two is asked for
		r.mu.Lock()
		for _, p := range r.order {
			leaving = leaving || p.leaving
		}
		leaving = leaving || len(r.order) == 1
		r.mu.Unlock()
	}
	b.ack(first)
	b.ack(second)
	two := <-joined
	b.eventually(map[int32]int64{0: 10, 1: 10})
	b.write(5, 0, 1)
	got := map[int32]int64{}
	for _, in := range []*input{one, two} {
		p := b.must(in)
		got[p.partition] = p.from
		b.ack(p)
	}
	if got[0] != 10 || got[1] != 10 {
		t.Errorf("the members go on at %v", got)
	}
}

// Nothing is committed of a partition that is another's, whenever it is settled.
func TestLogInput_APartitionThatIsLostIsNotCommitted(t *testing.T) {
	b := newBench(t, 1)
	b.write(10, 0)
	in := b.join("")
	one := b.must(in)
	in.reader.lost(t.Context(), nil, map[string][]int32{"events": {0}})
	b.ack(one)
	if err := in.reader.commit(t.Context()); err != nil {
		t.Error(err)
	}
	if got := b.committed(); len(got) > 0 {
		t.Errorf("committed %v", got)
	}
}

// Members come and go while records are written, read, acknowledged in any order
// and left lying: in the end each record is acknowledged by somebody, and never is
// one committed that nobody has acknowledged.
func TestLogInput_RebalancesLoseNothing(t *testing.T) {
	const partitions, rounds = 6, 12
	b := newBench(t, partitions)
	var all []int32
	for p := range int32(partitions) {
		all = append(all, p)
	}
	var mu sync.Mutex
	acknowledged := map[[2]int64]bool{}
	check := func() { // everything below what is committed is acknowledged
		t.Helper()
		committed := b.committed()
		mu.Lock()
		defer mu.Unlock()
		for p, offset := range committed {
			for n := range offset {
				if !acknowledged[[2]int64{int64(p), n}] {
					t.Fatalf("%d/%d is committed, and nobody acknowledged it", p, n)
				}
			}
		}
	}
	work := func(ctx context.Context, in *input, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		var open []piece
		for ctx.Err() == nil {
			if one, ok := b.read(in, 50*time.Millisecond); ok {
				open = append(open, one)
			}
			for len(open) > 4 || len(open) > 0 && rnd.IntN(3) == 0 {
				i := rnd.IntN(len(open))
				one := open[i]
				open = slices.Delete(open, i, i+1)
				mu.Lock()
				for n := one.from; n < one.to; n++ {
					acknowledged[[2]int64{int64(one.partition), n}] = true
				}
				mu.Unlock()
				b.ack(one)
			}
		} // what is open stays so
	}
	type member struct {
		in   *input
		stop context.CancelFunc
		done chan struct{}
	}
	var members []member
	come := func(seed uint64) {
		ctx, stop := context.WithCancel(t.Context())
		m := member{b.join("batch: 9\nsession_timeout: 6s"), stop, make(chan struct{})}
		go func() { defer close(m.done); work(ctx, m.in, seed) }()
		members = append(members, m)
	}
	leave := func(i int) {
		m := members[i]
		members = slices.Delete(members, i, i+1)
		m.stop()
		<-m.done
		b.close(m.in)
	}
	rnd := rand.New(rand.NewPCG(11, 12))
	come(0)
	for round := range rounds {
		b.write(20, all...)
		switch {
		case len(members) == 1 || len(members) < 3 && rnd.IntN(2) == 0:
			come(uint64(round + 1))
		default:
			leave(rnd.IntN(len(members)))
		}
		check()
	}
	for len(members) > 0 {
		leave(0)
	}
	check()
	last := b.join("")
	want := map[int32]int64{}
	for p := range int32(partitions) {
		want[p] = rounds * 20
	}
	for deadline := time.Now().Add(patience); fmt.Sprint(b.committed()) != fmt.Sprint(want); {
		if time.Now().After(deadline) {
			t.Fatalf("committed %v, want %v", b.committed(), want)
		}
		if one, ok := b.read(last, 100*time.Millisecond); ok {
			mu.Lock()
			for n := one.from; n < one.to; n++ {
				acknowledged[[2]int64{int64(one.partition), n}] = true
			}
			mu.Unlock()
			b.ack(one)
		}
	}
	check()
}

// A member of an earlier version, by the engine's input, and one of this share a
// group's partitions, and hand them over both ways: a rolling upgrade.
func TestLogInput_SharesAGroupWithTheEnginesInput(t *testing.T) {
	b := newBench(t, 4)
	all := []int32{0, 1, 2, 3}
	var mu sync.Mutex
	seen := map[string]map[[2]int64]bool{"engine": {}, "ours": {}}
	note := func(who string, partition, offset int64) {
		mu.Lock()
		defer mu.Unlock()
		seen[who][[2]int64{partition, offset}] = true
	}
	count := func(who string) int {
		mu.Lock()
		defer mu.Unlock()
		return len(seen[who])
	}
	stream := service.GlobalEnvironment().Clone().NewStreamBuilder()
	stream.SetLogger(slog.New(slog.DiscardHandler))
	theirs := strings.NewReplacer(", batching: { count: 5000, period: 100ms }", "", // in which the engine's input races
		"session_timeout: 20s", "session_timeout: 6s").Replace(fmt.Sprintf(upstreamInput, b.log.ListenAddrs()[0], "g", "g"))
	if err := stream.AddInputYAML(theirs); err != nil {
		t.Fatal(err)
	}
	if err := stream.AddBatchConsumerFunc(func(_ context.Context, batch service.MessageBatch) error {
		for _, msg := range batch {
			p, _ := msg.MetaGetMut("kafka_partition")
			o, _ := msg.MetaGetMut("kafka_offset")
			note("engine", int64(p.(int)), int64(o.(int)))
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
	written, writing := int64(0), true
	until := func(what string, done func() bool, in *input) {
		t.Helper()
		for deadline := time.Now().Add(2 * patience); !done(); {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d by the engine's input, %d by ours of %d", what, count("engine"), count("ours"), 4*written)
			}
			if writing {
				b.write(1, all...)
				written++
			}
			if in == nil {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			if one, ok := b.read(in, 20*time.Millisecond); ok {
				for n := one.from; n < one.to; n++ {
					note("ours", int64(one.partition), n)
				}
				b.ack(one)
			}
		}
	}
	until("the engine's reads", func() bool { return count("engine") > 0 }, nil)
	in := b.join("session_timeout: 6s")
	until("ours joins", func() bool { return count("ours") > 0 }, in)
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	<-ended
	writing = false
	b.write(1, all...)
	written++
	until("ours reads the rest", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for p := range int64(4) {
			for n := range written {
				if at := [2]int64{p, n}; !seen["engine"][at] && !seen["ours"][at] {
					return false
				}
			}
		}
		return true
	}, in)
	b.eventually(map[int32]int64{0: written, 1: written, 2: written, 3: written})
}

// While records come in small fetches, they are let come together; one that comes
// after a while is not kept, and a backlog is read as fast as it can be.
func TestReader_LetsLittleComeTogether(t *testing.T) {
	r := &reader{config: config{wait: 100 * time.Millisecond}}
	now := time.Unix(1_800_000_000, 0)
	fetched := func(bytes int) kgo.Fetches {
		return kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "t", Partitions: []kgo.FetchPartition{{
			Records: []*kgo.Record{{Value: make([]byte, bytes)}}}}}}}}
	}
	for name, c := range map[string]struct {
		since time.Duration // the last fetch
		bytes int
		want  time.Duration
	}{
		"the first for a while": {time.Hour, 100, 0},
		"one of many":           {30 * time.Millisecond, 100, 70 * time.Millisecond},
		"one of a backlog":      {30 * time.Millisecond, fetchLarge, 0},
	} {
		if got := r.rest(now.Add(-c.since), now, isLarge(fetched(c.bytes))); got != c.want {
			t.Errorf("%s: rests for %s, want %s", name, got, c.want)
		}
	}
}
