package consumer

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	_ "github.com/redpanda-data/connect/v4/public/components/kafka"
	_ "github.com/redpanda-data/connect/v4/public/components/pure"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
)

// upstreamInput is how streams read the log before this room was: the same, by
// the engine's input.
const upstreamInput = `
redpanda:
  seed_brokers: [ %q ]
  client_id: %s
  consumer_group: %s
  topics: [ events ]
  start_offset: earliest
  transaction_isolation_level: read_committed
  commit_period: 1s
  session_timeout: 20s
  fetch_min_bytes: 256KiB
  fetch_max_wait: 100ms
  unordered_processing: { enabled: true, checkpoint_limit: 100000, batching: { count: 5000, period: 100ms } }
`

// BenchmarkLogInput reads a log of events, each with the headers that the gate
// gives it, through a whole stream that asks each for its coordinates: by
// log_input, and by the engine's redpanda input. The broker is in the same
// process and serves both alike; what it takes alone is "client".
func BenchmarkLogInput(b *testing.B) {
	const events, partitions = 200_000, 4
	groups := 0 // each run has a group of its own, which has read nothing
	log := newLog(b, partitions)
	produce(b, log, events, partitions)
	b.Run("client", func(b *testing.B) {
		measure(b, events, func(b *testing.B) {
			client, err := kgo.NewClient(kgo.SeedBrokers(log.ListenAddrs()...), kgo.ConsumeTopics("events"),
				kgo.FetchMinBytes(fetchLarge), kgo.FetchMaxWait(100*time.Millisecond),
				kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			if err != nil {
				b.Fatal(err)
			}
			for n := 0; n < events; {
				n += client.PollFetches(b.Context()).NumRecords()
			}
			client.Close()
		})
	})
	b.Run("log_input", func(b *testing.B) {
		b.Setenv("WEIR_BROKERS", log.ListenAddrs()[0])
		measure(b, events, func(b *testing.B) {
			groups++
			drain(b, events, fmt.Sprintf("log_input: { group: ours-%d, topics: [ events ] }", groups))
		})
	})
	b.Run("redpanda", func(b *testing.B) {
		measure(b, events, func(b *testing.B) {
			groups++
			group := fmt.Sprintf("theirs-%d", groups)
			drain(b, events, fmt.Sprintf(upstreamInput, log.ListenAddrs()[0], group, group))
		})
	})
}

func newLog(b testing.TB, partitions int32) *kfake.Cluster {
	b.Helper()
	log, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, "events"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(log.Close)
	return log
}

// produce writes events as event_log does.
func produce(b testing.TB, log *kfake.Cluster, events, partitions int) {
	b.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(log.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for n := range events {
		client.Produce(b.Context(), &kgo.Record{Topic: "events", Partition: int32(n % partitions),
			Key: fmt.Appendf(nil, "device-%06d", n%50_000),
			Value: fmt.Appendf(nil, `{"event_id":"01HF%022d","device_id":"device-%06d","timestamp":%q,"firmware_version":"2.4.1",`+
				`"metrics":{"cpu_temp":61.5,"battery":0.87,"rssi":-71}}`, n, n%50_000, at.Format(event.TimeFormat)),
			Headers: []kgo.RecordHeader{{Key: event.HeaderFleet, Value: []byte("plant-1")},
				{Key: event.HeaderReceivedAt,
					Value: []byte(at.Add(time.Duration(n/10) * time.Millisecond).Format(event.TimeFormat))},
				{Key: event.HeaderSchema, Value: fmt.Appendf(nil, "telemetry/%d", 1+n*7%10/4)}},
		}, func(_ *kgo.Record, err error) {
			if err != nil {
				b.Error(err)
			}
		})
	}
	if err := client.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// measure reports what an event takes of the CPU and of memory.
func measure(b *testing.B, events int, once func(*testing.B)) {
	b.Helper()
	cpu := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	spent := cpu()
	n := 0
	for b.Loop() {
		once(b)
		n++
	}
	spent = cpu() - spent
	runtime.ReadMemStats(&after)
	all := float64(n * events)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(spent.Nanoseconds())/1000/all, "µs-cpu/event")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/all, "allocs/event")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/all, "B/event")
}

// drain runs a stream until it has read all events.
func drain(b *testing.B, events int, input string) {
	b.Helper()
	env := service.GlobalEnvironment().Clone()
	if err := Register(env); err != nil {
		b.Fatal(err)
	}
	stream := env.NewStreamBuilder()
	stream.SetLogger(slog.New(slog.DiscardHandler))
	if err := stream.AddInputYAML(input); err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	var seen atomic.Int64
	var once sync.Once
	if err := stream.AddBatchConsumerFunc(func(_ context.Context, batch service.MessageBatch) error {
		for _, msg := range batch {
			if _, _, ok := event.CoordinatesOf(msg); !ok {
				b.Error("a message without coordinates")
			}
		}
		if seen.Add(int64(len(batch))) >= int64(events) {
			once.Do(func() { close(done) })
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	s, err := stream.Build()
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(b.Context()) }()
	<-done
	if err := s.Stop(b.Context()); err != nil {
		b.Error(err)
	}
	<-ended
}
