package spillway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure" // what every stream needs
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
	"weir/tests/integration/require"
)

// testLog is a log with one topic of the test's own, and group names likewise.
type testLog struct {
	*testing.T
	access string // the fields that say where it is
	topic  string
	client *kgo.Client
	admin  *kadm.Client
}

// onEveryLog runs a test on kfake and on a real Kafka.
func onEveryLog(t *testing.T, partitions int32, test func(t *testing.T, l testLog)) {
	t.Run("kfake", func(t *testing.T) {
		c, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		test(t, newLog(t, c.ListenAddrs()[0], partitions))
	})
	t.Run("kafka", func(t *testing.T) {
		test(t, newLog(t, require.Env(t, "WEIR_TEST_KAFKA_BROKERS"), partitions))
	})
}

func newLog(t *testing.T, brokers string, partitions int32) testLog {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return newLogOf(t, fmt.Sprintf("seed_brokers: [%q]\n", brokers), client, partitions)
}

func newLogOf(t *testing.T, access string, client *kgo.Client, partitions int32) testLog {
	t.Helper()
	l := testLog{t, access, fmt.Sprintf("spillway-%x", rand.Uint64()), client, kadm.NewClient(client)}
	retention := "14400000"
	created, err := l.admin.CreateTopic(context.Background(), partitions, 1,
		map[string]*string{"retention.ms": &retention}, l.topic)
	if err == nil {
		err = created.Err
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// group is a name of the test's own that ends in a stage's.
func (l testLog) group(stage string) string { return l.topic + "-" + stage }

// remove deletes the records before an offset, as retention would.
func (l testLog) remove(partition int32, before int64) {
	l.Helper()
	o := kadm.Offsets{}
	o.AddOffset(l.topic, partition, before, -1)
	deleted, err := l.admin.DeleteRecords(context.Background(), o)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		l.Fatal(err)
	}
}

// add writes n records of an age, a second apart, the oldest first.
func (l testLog) add(partition int32, n int, age time.Duration, headers ...kgo.RecordHeader) {
	l.Helper()
	var records []*kgo.Record
	for i := range n {
		records = append(records, &kgo.Record{
			Topic: l.topic, Partition: partition, Key: []byte("d-1"), Value: fmt.Appendf(nil, `{"n":%d}`, i),
			Timestamp: time.Now().Add(-age + time.Duration(i)*time.Second), Headers: headers,
		})
	}
	if err := l.client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		l.Fatal(err)
	}
}

func (l testLog) commit(group string, partition int32, offset int64) {
	l.Helper()
	o := kadm.Offsets{}
	o.AddOffset(l.topic, partition, offset, -1)
	// A broker that has just made a topic may not know it yet.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := l.admin.CommitAllOffsets(context.Background(), l.group(group), o)
		if err == nil {
			return
		}
		if !kerr.IsRetriable(err) || time.Now().After(deadline) {
			l.Fatal(err)
		}
	}
}

func (l testLog) committed(group string, partition int32) int64 {
	l.Helper()
	o, err := l.admin.FetchOffsets(context.Background(), l.group(group))
	if err != nil {
		l.Fatal(err)
	}
	got, ok := o.Lookup(l.topic, partition)
	if !ok {
		return -1
	}
	return got.At
}

// sink collects what a spillway emits.
type sink struct {
	mu      sync.Mutex
	records []string // partition/offset
	errs    map[string]*event.Rejection
	devices map[string]string
	alerts  []event.Alert
	refuse  int // batches to nack first
}

func (s *sink) take(_ context.Context, batch service.MessageBatch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse > 0 {
		s.refuse--
		return errors.New("the dead letters are down")
	}
	for _, msg := range batch {
		raw, err := msg.AsBytes()
		if err != nil {
			return err
		}
		if event.Meta(msg, event.MetaAlert) == "1" {
			var a event.Alert
			if err := json.Unmarshal(raw, &a); err != nil {
				return err
			}
			s.alerts = append(s.alerts, a)
			continue
		}
		record, _, ok := event.CoordinatesOf(msg)
		if !ok {
			return fmt.Errorf("no coordinates: %s", raw)
		}
		at := fmt.Sprintf("%d/%d", record.Partition, record.Offset)
		s.records = append(s.records, at)
		s.errs[at] = event.RejectionOf(msg)
		s.devices[at] = event.Meta(msg, event.MetaDevice)
	}
	return nil
}

func (s *sink) count() (records, alerts int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records), len(s.alerts)
}

func newSink() *sink { return &sink{errs: map[string]*event.Rejection{}, devices: map[string]string{}} }

// run starts a spillway stream and returns what stops it.
func (l testLog) run(s *sink, extra string) (stop func()) {
	l.Helper()
	env := service.NewEnvironment()
	if err := Register(env); err != nil {
		l.Fatal(err)
	}
	b := env.NewStreamBuilder()
	b.DisableLinting()
	if err := b.AddInputYAML(fmt.Sprintf("spillway:\n  %s\n  topics: [%s, not-there]\n  groups: [%s=raw, %s=rollup]\n  "+
		"consumer_group: %s\n  interval: 50ms\n%s",
		strings.ReplaceAll(strings.TrimSpace(l.access), "\n", "\n  "), l.topic, l.group("raw"), l.group("rollup"),
		l.group("spillway"), extra)); err != nil {
		l.Fatal(err)
	}
	if err := b.AddBatchConsumerFunc(s.take); err != nil {
		l.Fatal(err)
	}
	if err := b.SetLoggerYAML("level: ERROR"); err != nil {
		l.Fatal(err)
	}
	stream, err := b.Build()
	if err != nil {
		l.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- stream.Run(context.Background()) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			if err := stream.StopWithin(10 * time.Second); err != nil {
				l.Errorf("stopping: %v", err)
			}
			<-done
		})
	}
	l.Cleanup(stop)
	return stop
}

func (l testLog) eventually(what string, ok func() bool) {
	l.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.Fatalf("waited in vain for %s", what)
		}
	}
}

// quiet waits for some cycles and checks that nothing more comes.
func (l testLog) quiet(s *sink, records, alerts int) {
	l.Helper()
	time.Sleep(500 * time.Millisecond)
	if r, a := s.count(); r != records || a != alerts {
		l.Errorf("%d records and %d alerts came, expected %d and %d", r, a, records, alerts)
	}
}
