package deadletter

import (
	"fmt"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kfake"

	"weir/internal/event"
	"weir/internal/lifecycle/expire"
	"weir/internal/platform/kafka"
	"weir/plugins/store/lake"
)

// broker starts a cluster with the topics of dead letters, and returns its address. Each has its own
// cluster id, so each is another log.
func broker(t *testing.T) string {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "raw-events", "replay-events", "dead-letter"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()[0]
}

// failed makes the dead letter of a record with the log of brokers, stores it, and returns its row.
func failed(t *testing.T, brokers, url string, msg *service.Message) *Row {
	t.Helper()
	servers := fmt.Sprintf("seed_brokers: [%q]", brokers)
	conf, err := processorSpec().ParseYAML("stage: raw\n"+servers, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProcessor(conf, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close(t.Context()) }()
	p.now = func() time.Time { return someTime }
	event.MarkRejected(msg, event.Reject(event.CodeStoreRejected, "", "x"))
	out, err := p.Process(t.Context(), msg)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := out[0].AsBytes()
	validate(t, schema(t), raw)

	if conf, err = outputSpec().ParseYAML("url: "+url+"\n"+servers, nil); err != nil {
		t.Fatal(err)
	}
	o, err := newOutput(conf, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = o.Close(t.Context()) }()
	if err := o.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	carried := message(0, 3, string(raw))
	carried.MetaSetMut("kafka_topic", "dead-letter")
	if err := o.WriteBatch(t.Context(), service.MessageBatch{carried}); err != nil {
		t.Fatal(err)
	}
	var found *Row
	if err := Scan(t.Context(), o.Store, Query{}, func(r *Row) error { found = r; return nil }); err != nil {
		t.Fatal(err)
	}
	return found
}

// The same failure at the same coordinates of two logs makes two dead letters, each of which names
// its log. Redelivered within one log it has the same id.
func TestDeadLetter_NamesItsLog(t *testing.T) {
	ids := map[string]bool{}
	for range 2 {
		brokers := broker(t)
		cluster, err := kafka.New([]string{brokers}, nil, kafka.Login{})
		if err != nil {
			t.Fatal(err)
		}
		logs := kafka.NewLogs(cluster, "test")
		defer logs.Close()
		known, err := logs.Of(t.Context(), time.Now(), "replay-events", "raw-events", "dead-letter")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			msg := message(0, 5, "x")
			msg.MetaSetMut("kafka_topic", "replay-events")
			msg.MetaSetMut(event.HeaderDelivery, "raw-events/0/7")
			r := failed(t, brokers, lake.FileURL(t.TempDir()), msg)
			if r.OriginLog != known[0].String() || r.DeliveryLog != known[1].String() || r.RecordLog != known[2].String() {
				t.Errorf("the row names logs %s, %s and %s, expected %v", r.OriginLog, r.DeliveryLog, r.RecordLog, known)
			}
			e, err := r.envelope()
			if err != nil || e.Origin.Log != r.OriginLog || e.Delivery.Log != r.DeliveryLog || e.ID != r.IDText() {
				t.Errorf("the envelope of the row is %+v (%v)", e, err)
			}
			ids[e.ID] = true
		}
	}
	if len(ids) != 2 {
		t.Errorf("the failures of two logs have %d ids", len(ids))
	}
	msg := message(0, 5, "x")
	msg.MetaSetMut(event.HeaderDelivery, event.Coordinates{Topic: "raw-events", Offset: 7}.In("00000000000000a1"))
	if r := failed(t, broker(t), lake.FileURL(t.TempDir()), msg); r.Delivery != nil || r.OriginLog == "" {
		t.Errorf("the row has a delivery of another log, or names no log: %+v", r)
	}
}

// Dead letters that name no log can have the same id and coordinates although they are of two logs.
// Compaction keeps both.
func TestDeadLetter_TwoLogsLettersOfOneIDAreKept(t *testing.T) {
	url := lake.FileURL(t.TempDir())
	kept(t, url, someTime)
	var times []time.Time
	for i := range 20 {
		times = append(times, someTime.Add(time.Duration(i+1)*time.Minute))
	}
	kept(t, url, times...)
	r := maintained(t, url, expire.Pass{Now: someTime.Add(24 * time.Hour)})
	if rows := stored(t, url); r.Merged == 0 || len(rows) != 21 {
		t.Errorf("after a merge of %d objects there are %d rows, want 21", r.Merged, len(rows))
	}
}
