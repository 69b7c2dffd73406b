package rule

import (
	"fmt"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// heldUp makes the broker delay requests of a kind until release is called. came gets a value when one has
// arrived.
func heldUp(t *testing.T, log *kfake.Cluster, key kmsg.Key) (came <-chan struct{}, release func()) {
	t.Helper()
	arrived, free := make(chan struct{}, 100), make(chan struct{})
	log.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
		log.KeepControl()
		select {
		case arrived <- struct{}{}:
		default:
		}
		log.SleepControl(func() { <-free })
		return nil, nil, false
	})
	release = sync.OnceFunc(func() { close(free) })
	t.Cleanup(release)
	return arrived, release
}

// anew gives an output a new client, which has no metadata of the topics in its cache.
func (o *output) anew(t *testing.T) {
	t.Helper()
	o.admin.Close()
	var err error
	if o.admin, err = o.adminClient(); err != nil {
		t.Fatal(err)
	}
}

// While brokers are slow to say where idle partitions end, batches go on.
func TestEventRules_SlowBrokersDelayNoBatch(t *testing.T) {
	log, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "raw-events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	b := newBench(t, perMinute)
	b.extra = fmt.Sprintf("idle: 1h\nseed_brokers: [%q]\n", log.ListenAddrs()[0])
	o := b.operator()
	o.now = func() time.Time { return noon().Add(3 * time.Hour) }
	b.apply(o, message(0, 0, at(0, 1)))
	o.idle = time.Nanosecond
	o.now = func() time.Time { return noon().Add(4 * time.Hour) }
	came, release := heldUp(t, log, kmsg.ListOffsets)
	moved, applied := make(chan error, 1), make(chan error, 1)
	go func() { moved <- o.moveIdle(t.Context()) }()
	<-came
	go func() { applied <- o.WriteBatch(t.Context(), service.MessageBatch{message(1, 0, at(0, 1))}) }()
	select {
	case err = <-applied:
	case <-time.After(20 * time.Second):
		t.Error("a batch waits for brokers that are slow to say where another partition ends")
		release()
		err = <-applied
	}
	if release(); err != nil {
		t.Error(err)
	}
	if err := <-moved; err != nil {
		t.Error(err)
	}
}

// The time of an idle partition moves on to when the log was asked, and not to when its answer is applied:
// records that came in between must not be late.
func TestEventRules_TimeMovesOnToWhenTheLogWasAsked(t *testing.T) {
	log, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "raw-events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(log.ListenAddrs()...), kgo.DefaultProduceTopic("raw-events"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(t.Context(), kgo.StringRecord("x"), kgo.StringRecord("y")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, perMinute)
	b.extra = fmt.Sprintf("idle: 1h\nseed_brokers: [%q]\n", log.ListenAddrs()[0])
	o := b.operator()
	var passed atomic.Int64
	o.now = func() time.Time { return noon().Add(time.Duration(passed.Load())) }
	passed.Store(int64(90 * s))
	b.apply(o, message(0, 0, at(0, 1)), message(0, 1, at(62*s, 1)))
	o.idle = time.Nanosecond
	passed.Store(int64(100 * s))
	came, release := heldUp(t, log, kmsg.ListOffsets)
	moved := make(chan error, 1)
	go func() { moved <- o.moveIdle(t.Context()) }()
	<-came
	passed.Store(int64(time.Hour))
	release()
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	if got := b.count("minute"); len(got) != 1 {
		t.Errorf("the log was asked at 12:01:40 and answered at 13:00; want one closed window, got %v", got)
	}
}

// While brokers are slow to say which topics there are, the lock of batches is free.
func TestTopics_AreAskedWithoutTheLockOfBatches(t *testing.T) {
	log, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "raw-events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	b := newBench(t, perMinute)
	b.extra = fmt.Sprintf("idle: 0s\nseed_brokers: [%q]\ntopics: [ raw-events ]\n", log.ListenAddrs()[0])
	o := b.operator()
	if err := o.noteTopics(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.anew(t)
	came, release := heldUp(t, log, kmsg.Metadata)
	noted, locked := make(chan error, 1), make(chan struct{})
	go func() { noted <- o.noteTopics(t.Context()) }()
	<-came
	go func() {
		o.lock()
		o.unlock()
		close(locked)
	}()
	select {
	case <-locked:
	case <-time.After(20 * time.Second):
		t.Error("the lock is held while the log is asked")
	}
	release()
	if err := <-noted; err != nil {
		t.Error(err)
	}
}

// If a broker cannot say now how many partitions a topic has, the topic does not count as missing.
func TestTopics_APassingErrorIsNoMissingTopic(t *testing.T) {
	log, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders", "payments"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	host, port, err := net.SplitHostPort(log.ListenAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	var code atomic.Int32 // the code of the error for payments; 0: none
	log.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		log.KeepControl()
		if code.Load() == 0 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		broker := kmsg.NewMetadataResponseBroker()
		broker.Host, broker.Port = host, int32(number)
		resp.Brokers = append(resp.Brokers, broker)
		for _, asked := range req.(*kmsg.MetadataRequest).Topics {
			topic := kmsg.NewMetadataResponseTopic()
			failed := map[string]int16{"payments": int16(code.Load())}[*asked.Topic]
			topic.Topic, topic.ErrorCode = asked.Topic, failed
			if failed == 0 {
				topic.Partitions = []kmsg.MetadataResponseTopicPartition{kmsg.NewMetadataResponseTopicPartition()}
			}
			resp.Topics = append(resp.Topics, topic)
		}
		return resp, nil, true
	})
	b := newBench(t, joinedTopics(0, 10*s, 0, "left"))
	b.extra = fmt.Sprintf("seed_brokers: [%q]\nidle: 0s\ntopics: [ orders, payments ]\n", log.ListenAddrs()[0])
	o := b.operator()
	if err := o.noteTopics(t.Context()); err != nil {
		t.Fatal(err)
	}
	stored := func() noted {
		t.Helper()
		topics, err := readNoted(t.Context(), o.db)
		if err != nil {
			t.Fatal(err)
		}
		return topics
	}
	o.anew(t)
	code.Store(int32(kerr.LeaderNotAvailable.Code))
	if err := o.noteTopics(t.Context()); err != nil {
		t.Errorf("a topic without a leader: %v", err)
	}
	if got := stored(); !maps.Equal(got, noted{"orders": 1, "payments": 1}) {
		t.Errorf("after a passing error, what is stored is %v", got)
	}
	o.anew(t)
	code.Store(int32(kerr.UnknownTopicOrPartition.Code))
	if err := o.noteTopics(t.Context()); err != nil {
		t.Error(err)
	}
	if got := stored(); !maps.Equal(got, noted{"orders": 1, "payments": 0}) {
		t.Errorf("after the topic was deleted, what is stored is %v", got)
	}
	if _, err := o.db.ExecContext(t.Context(), `DELETE FROM rule_topic`); err != nil {
		t.Fatal(err)
	}
	o.anew(t)
	code.Store(int32(kerr.TopicAuthorizationFailed.Code))
	if err := o.noteTopics(t.Context()); err != nil {
		t.Error(err)
	}
	both, err := Parse([]byte(joinedTopics(0, 10*s, 0, "left")))
	if err != nil {
		t.Fatal(err)
	}
	if err := o.fits(both); err == nil || !strings.Contains(err.Error(), "topic payments") {
		t.Errorf("a rule of a topic about which the log never answered: %v", err)
	}
	one, err := Parse([]byte(strings.Replace(perMinute, "name: minute,", "name: minute, from: orders,", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := o.fits(one); err != nil {
		t.Errorf("a rule of another topic waits because of payments: %v", err)
	}
}
