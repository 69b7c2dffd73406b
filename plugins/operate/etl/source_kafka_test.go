package etl

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// kafkaLog is a broker of the test, with a topic of three partitions.
type kafkaLog struct {
	t       *testing.T
	broker  string
	topic   string
	client  *kgo.Client
	written int
}

func newKafkaLog(t *testing.T) *kafkaLog {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return logOn(t, cluster.ListenAddrs()[0], "orders")
}

func logOn(t *testing.T, broker, topic string, more ...kgo.Opt) *kafkaLog {
	t.Helper()
	client, err := kgo.NewClient(append(more, kgo.SeedBrokers(broker), kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &kafkaLog{t: t, broker: broker, topic: topic, client: client}
}

func (l *kafkaLog) put(records ...*kgo.Record) {
	l.t.Helper()
	if err := l.client.ProduceSync(l.t.Context(), records...).FirstErr(); err != nil {
		l.t.Fatal(err)
	}
}

// more writes numbered records, by turns into each partition.
func (l *kafkaLog) more(n int) {
	l.t.Helper()
	var all []*kgo.Record
	for range n {
		all = append(all, &kgo.Record{Partition: int32(l.written % 3), Value: fmt.Appendf(nil, `{"id": %d}`, l.written)})
		l.written++
	}
	l.put(all...)
}

func (l *kafkaLog) source(more string) string {
	return fmt.Sprintf(`{"type": "kafka", "brokers": [%q], "topic": %q, "columns": [{"name": "id", "type": "int64"}]%s}`,
		l.broker, l.topic, more)
}

func (l *kafkaLog) pipeline(text string) *Pipeline {
	l.t.Helper()
	p, err := loaded(l.t, map[string]string{"p.json": text})
	if err != nil {
		l.t.Fatal(err)
	}
	return p
}

// A run reads what is there when it begins, with what stands beside the value; what
// is of another schema is rejected with its place in the log.
func TestKafka_ARunReadsWhatIsThere(t *testing.T) {
	l := newKafkaLog(t)
	at := time.Date(2026, 11, 28, 1, 2, 3, 4_000_000, time.UTC)
	l.put(&kgo.Record{Partition: 1, Timestamp: at, Key: []byte("k"), Value: []byte(`{"id": 9007199254740993, "n": 1.10}`),
		Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "a", Value: nil}}},
		&kgo.Record{Partition: 1, Value: []byte(`{"id": "x", "n": 1}`)},
		&kgo.Record{Partition: 0, Timestamp: at, Value: []byte(`{"id": 2, "n": 2}`)},
		&kgo.Record{Partition: 2, Value: nil}, &kgo.Record{Partition: 2, Value: []byte(`no JSON`)},
		&kgo.Record{Partition: 2, Value: []byte(`{"id": 1, "n": 1, "more": 1}`)})
	p := l.pipeline(`{"name": "orders", "block": 2, "source": {"type": "kafka", "brokers": ["` + l.broker + `"], "topic": "orders",
		"columns": [{"name": "id", "type": "int64"}, {"name": "n", "type": "decimal(9,2)"}], "on_failure": "reject",
		"metadata": {"key": "key", "key_bytes": "raw", "partition": "p", "offset": "o", "timestamp": "at", "headers": "h"}},
		"sinks": [{"format": "ndjson", "url": "file://out", "object": "o.ndjson"}],
		"rejects": {"url": "file://out", "object": "r.ndjson"}}`)
	o := options(t)
	r := runs(t, p, o)
	l.put(&kgo.Record{Partition: 0, Value: []byte(`{"id": 3, "n": 3}`)}) // which is of no run yet
	if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 || r.Counts.Read != 6 {
		t.Errorf("%v, %v, %+v", findings, err, r.Counts)
	}
	got := contents(t, p)
	if want := `{"id":2,"n":"2.00","key":null,"raw":null,"p":0,"o":0,"at":"2026-11-28T01:02:03.004Z","h":[]}
{"id":9007199254740993,"n":"1.10","key":"k","raw":"aw==","p":1,"o":0,"at":"2026-11-28T01:02:03.004Z",` +
		`"h":[{"key":"a","value":"1"},{"key":"a","value":null}]}
`; got["o.ndjson"] != want {
		t.Errorf("%s\nwant\n%s", got["o.ndjson"], want)
	}
	if want := `{"row":3,"place":"orders/1/1","step":0,"reason":"column \"id\": a text is no int64","record":"{\"id\": \"x\", \"n\": 1}"}
{"row":4,"place":"orders/2/0","step":0,"reason":"the record has no value","record":""}
{"row":5,"place":"orders/2/1","step":0,"reason":"the record is no JSON","record":"no JSON"}
{"row":6,"place":"orders/2/2","step":0,"reason":"there is no column \"more\"","record":"{\"id\": 1, \"n\": 1, \"more\": 1}"}
`; got["r.ndjson"] != want {
		t.Errorf("%s\nwant\n%s", got["r.ndjson"], want)
	}
}

// A run that was interrupted goes on behind its last block, to the end that it had.
func TestKafka_ARunGoesOnToTheEndItHad(t *testing.T) {
	l := newKafkaLog(t)
	l.more(20)
	whole := func(name string) *Pipeline {
		return l.pipeline(`{"name": "` + name + `", "block": 3, "source": ` + l.source("") + `,
			"steps": [{"aggregate": {"columns": [{"column": "n", "count": "*"}, {"column": "sum", "sum": "id"}]}}],
			"sinks": [{"format": "csv", "url": "file://out", "object": "` + name + `.csv"}]}`)
	}
	p, o := whole("cut"), options(t)
	in, err := p.source.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	planned, _ := p.plan(in.columns())
	s := o.stage(p.Name)
	release, err := s.lock()
	if err != nil {
		t.Fatal(err)
	}
	at := &progress{Run: newRun(o.Now()), Pipeline: p.hash(), Source: in.identity()}
	at.Counts.Steps = make([]StepCounts, 1)
	if err := in.from(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		b, err := p.readBlock(in, planned, at)
		if err == nil {
			err = s.put(at.Blocks, b)
		}
		if err != nil {
			t.Fatal(err)
		}
		at.Blocks++
	}
	at.From, at.Columns = told(in.columns()), told(planned.columns())
	if err := s.save(at); err != nil {
		t.Fatal(err)
	}
	in.close()
	release()
	l.more(7)
	r := runs(t, p, o)
	if r.Counts.Read != 20 || contents(t, p)["cut.csv"] != "n,sum\n20,190\n" {
		t.Errorf("%+v: %s", r.Counts, contents(t, p)["cut.csv"])
	}
	if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 {
		t.Error(findings, err)
	}
}

func TestKafka_WhatIsWrongIsNamed(t *testing.T) {
	l := newKafkaLog(t)
	for more, says := range map[string]string{
		`"topic": "none"`: "there is no topic none",
		`"topic": "orders", "sasl": "PLAIN", "user": "u", "password": {"$file": "x"}`: "PLAIN sends the password as it is",
		`"topic": "orders", "sasl": "SCRAM-SHA-256"`:                                  `needs a "user" and a "password"`,
		`"topic": "orders", "password": {"$file": "x"}`:                               `"sasl" is missing`,
		`"topic": "orders", "password": "s3cret"`:                                     "a secret is not written",
		`"topic": "orders", "metadata": {"key": "id"}`:                                "each once",
		`"topic": "orders", "metadata": {"topic": "t"}`:                               "there is no such field",
	} {
		p, err := loaded(t, map[string]string{"p.json": `{"name": "a", "source": {"type": "kafka", "brokers": ["` + l.broker +
			`"], "columns": [{"name": "id", "type": "int64"}], ` + more + `},
			"sinks": [{"format": "csv", "url": "file://out", "object": "a.csv"}]}`})
		if err == nil {
			_, err = p.Run(t.Context(), options(t))
		}
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %s", more, err, says)
		}
	}
}

// recordOf is a record of a partition.
func recordOf(partition int32, value string) *kgo.Record {
	return &kgo.Record{Partition: partition, Value: []byte(value)}
}

// forget removes what is before an offset, as retention does.
func (l *kafkaLog) forget(partition int32, before int64) {
	l.t.Helper()
	var offsets kadm.Offsets
	offsets.AddOffset(l.topic, partition, before, -1)
	if _, err := kadm.NewClient(l.client).DeleteRecords(l.t.Context(), offsets); err != nil {
		l.t.Fatal(err)
	}
}

func files(t *testing.T, pattern ...string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(pattern...))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func lines(t *testing.T, files []string) (all []string) {
	t.Helper()
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.Split(strings.TrimSpace(string(raw)), "\n")...)
	}
	return all
}
