package scenarios

import (
	"bytes"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The log contains records too large for a dead letter, because its owner raised max.message.bytes. Each is
// dead-lettered once, truncated; other records are processed, every offset is explained, and no endless retry delays
// the stop.
func TestDeadLetter_ARecordTooLargeForOneIsSetAsideOnce(t *testing.T) {
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	client, err := kgo.NewClient(append(s.brokerOptions(), kgo.ProducerBatchMaxBytes(20<<20),
		kgo.ProducerBatchCompression(kgo.NoCompression()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	produce := func(value []byte) error {
		return client.ProduceSync(t.Context(), &kgo.Record{Topic: "raw-events", Key: []byte("big"), Value: value}).FirstErr()
	}
	if err := produce(bytes.Repeat([]byte("a"), 9_000_000)); err == nil {
		t.Error("the broker took what Kafka would refuse")
	}
	limit := "20000000"
	answers, err := kadm.NewClient(client).AlterTopicConfigs(t.Context(),
		[]kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &limit}}, "raw-events")
	if err != nil || answers[0].Err != nil {
		t.Fatal(err, answers)
	}
	_, before := s.fleet("--devices", "3", "--rate", "200", "--events", "100")
	before()
	for _, poison := range [][]byte{bytes.Repeat([]byte("a"), 9_000_000), bytes.Repeat([]byte{'"', 1}, 4_000_000),
		bytes.Repeat([]byte{0xff}, 9_000_000)} {
		if err := produce(poison); err != nil {
			t.Fatal(err)
		}
	}
	_, after := s.fleet("--devices", "3", "--rate", "200", "--events", "100")
	after()
	s.reconcile()
	// The first proof counts a dead letter as soon as it is in the log; the second waits until the store has it.
	s.reconcile()
	if n := s.stored(); n != 200 {
		t.Errorf("%d events are stored of 200", n)
	}
	if j := s.replay("--mode", "redrive", "--code", "invalid_json")(); j.Progress.Published != 0 ||
		j.Progress.Refused != 3 {
		t.Errorf("the redrive of what is cut: %+v", j)
	}
	began := time.Now()
	s.stop()
	if took := time.Since(began); took > 20*time.Second { // a retry that blocks the stop takes 30 s on any machine
		t.Errorf("the stop took %s", took)
	} else {
		t.Logf("the stop took %s", took)
	}
}
