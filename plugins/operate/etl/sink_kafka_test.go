package etl

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/tests/integration/require"
)

// topics makes topics of three partitions.
func (l *kafkaLog) topics(names ...string) {
	l.t.Helper()
	made, err := kadm.NewClient(l.client).CreateTopics(l.t.Context(), 3, 1, nil, names...)
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// committed are the records that a reader of what is committed has, up to the end.
func (l *kafkaLog) committed(topic string) (all []*kgo.Record) {
	l.t.Helper()
	p := l.pipeline(fmt.Sprintf(`{"name": "back", "source": {"type": "kafka", "brokers": [%q], "topic": %q,
		"columns": [{"name": "x", "type": "json"}], "on_failure": "drop"}, "sinks": [{"format": "csv", "url": "file://out",
		"object": "x"}]}`, l.broker, topic))
	in, err := p.source.(kafkaSource).reading(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	defer in.close()
	if err := in.from(l.t.Context(), ""); err != nil {
		l.t.Fatal(err)
	}
	for in.part < len(in.parts) {
		if _, _, err := in.next(); err == nil || errors.As(err, new(*rowError)) {
			all = append(all, in.last)
		}
	}
	return all
}

// A run is one transaction: what dies before its end is seen by no reader of what is
// committed, and one whose answer was lost finds that it has come.
func TestKafkaSink_ARunComesOnce(t *testing.T) {
	l := newKafkaLog(t)
	l.topics("out")
	at := []column{{"id", columnType{kind: kindInt64}}, {"k", columnType{kind: kindText}},
		{"p", columnType{kind: kindInt32}},
		{"at", columnType{kind: kindTimestampTZ}}, {"h", columnType{kind: kindJSON}}, {"d", columnType{kindDecimal, 9, 2}}}
	rows := []row{
		{{text: "9007199254740993"}, {text: "é"}, {text: "2"}, {text: "2026-11-28T01:02:03.004Z"},
			{text: `[{"key":"a","value":"1"},{"key":"a","value":null}]`}, {text: "1.10"}},
		{{text: "-1"}, {null: true}, {text: "0"}, {null: true}, {null: true}, {null: true}},
	}
	p := toDelta(t, t.TempDir(), "p", appends, at, rows)
	p.sinks = l.pipeline(`{"name": "p", "source": {"type": "csv", "path": "x", "columns": [{"name": "id", "type": "int64"}]},
		"sinks": [{"format": "kafka", "brokers": ["` + l.broker + `"], "topic": "out",
			"metadata": {"key": "k", "partition": "p", "timestamp": "at", "headers": "h"}}]}`).sinks
	o := options(t)
	s := o.stage(p.Name)
	release, err := s.lock()
	if err != nil {
		t.Fatal(err)
	}
	columns, run, err := p.stageRows(t.Context(), o, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.identity()
	if err != nil {
		t.Fatal(err)
	}
	died, err := p.sinks[0].topic.writer(t.Context(), p.Name, "g")
	if err != nil {
		t.Fatal(err)
	}
	if err := died.client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := died.client.ProduceSync(t.Context(), recordOf(0, "{}")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	for range 3 { // as if the answers of two were lost
		sink, err := p.loadTopic(t.Context(), s, run, columns, p.sinks[0], id)
		if err != nil || sink.Rows != 2 || sink.Bytes == 0 || sink.SHA256 == "" {
			t.Fatalf("%+v, %v", sink, err)
		}
	}
	if err := died.client.EndTransaction(t.Context(), kgo.TryCommit); err == nil {
		t.Error("a transaction of a writer that another has taken for dead came through")
	}
	died.close()
	release()
	r := runs(t, p, o)
	got := l.committed("out")
	if len(got) != 2 || r.Sinks[0].Rows != 2 {
		t.Fatalf("%v, %+v", got, r)
	}
	one, two := got[1], got[0]
	if string(one.Value) != `{"id":9007199254740993,"d":"1.10"}` || string(one.Key) != "é" || one.Partition != 2 ||
		one.Timestamp.UnixMilli() != 1795827723004 || len(one.Headers) != 2 || one.Headers[1].Value != nil {
		t.Errorf("%+v: %s", one, one.Value)
	}
	if string(two.Value) != `{"id":-1,"d":null}` || two.Key != nil || two.Partition != 0 {
		t.Errorf("%+v: %s", two, two.Value)
	}
	runs(t, p, o) // another run appends again
	if got := l.committed("out"); len(got) != 4 {
		t.Errorf("%d records", len(got))
	}
}

// From topic to topic, with the offsets in the transaction: each record once,
// whatever is lost; the same on Kafka itself.
func TestKafkaSink_AStreamBringsEachRecordOnce(t *testing.T) {
	t.Run("embedded", func(t *testing.T) { topicToTopic(t, newKafkaLog(t), "out") })
	t.Run("kafka", func(t *testing.T) {
		broker, name := require.Env(t, "WEIR_TEST_KAFKA_BROKERS"), "etl-"+strings.ToLower(newRun(time.Now()))
		l := logOn(t, broker, name)
		l.topics(name, name+"-out")
		t.Cleanup(func() { _, _ = kadm.NewClient(l.client).DeleteTopics(context.Background(), name, name+"-out") })
		topicToTopic(t, l, name+"-out")
	})
}

func topicToTopic(t *testing.T, l *kafkaLog, out string) {
	if out == "out" {
		l.topics(out)
	}
	p := l.pipeline(fmt.Sprintf(`{"name": %q, "mode": "stream", "block": 4, "every": "10ms", "source": %s,
		"steps": [{"filter": "this.id %% 5 != 4"}], "sinks": [{"format": "kafka", "brokers": [%q], "topic": %q},
			{"format": "csv", "url": "file://out", "object": "x"}]}`, strings.TrimSuffix(strings.NewReplacer(".", "-", "z", "-").
		Replace(out), "-"), l.source(""), l.broker, out))
	o := options(t)
	chance := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 3))
	for range 8 {
		l.more(chance.IntN(12))
		o.wrap = func(s streamSink) streamSink { return unsure{s, chance} }
		if _, err := p.Stream(t.Context(), untilEnd(o)); err != nil && !errors.Is(err, errLost) {
			t.Fatal(err)
		}
	}
	o.wrap = nil
	streams(t, p, o)
	for l.written%5 != 4 { // and then a batch without a row, and one with rows
		l.more(1)
	}
	for _, n := range []int{1, 6} {
		l.more(n)
		streams(t, p, o)
	}
	r := streams(t, p, o)
	var ids []int
	for _, rec := range l.committed(out) {
		var id int
		if _, err := fmt.Sscanf(string(rec.Value), `{"id":%d}`, &id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	wantIDs(t, "the topic", ids, l.written)
	wantIDs(t, "the folder", idsOf(t, files(t, p.dir, "out/x/*.csv")), l.written)
	if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 {
		t.Error(findings, err)
	}
}

func TestKafkaSink_WhatIsWrongIsNamed(t *testing.T) {
	l := newKafkaLog(t)
	l.topics("out")
	for more, says := range map[string]string{
		`"topic": "none"`: "there is no topic none",
		`"topic": "out", "metadata": {"key": "id"}`:                  `column "id" is int64, and the key of a record is text`,
		`"topic": "out", "metadata": {"key": "x"}`:                   "no column is left",
		`"topic": "out", "metadata": {"key": "a", "key_bytes": "b"}`: "a record has one key",
		`"topic": "out", "metadata": {"offset": "a"}`:                "there is no such field",
	} {
		p, err := loaded(t, map[string]string{"in.csv": "id\n1\n", "p.json": `{"name": "a", "source": {"type": "csv", "path": "in.csv",
			"columns": [{"name": "id", "type": "int64"}]}, "steps": [{"derive": {"column": "x", "type": "text",
			"mapping": "\"x\""}}` + map[bool]string{true: `, {"select": ["x"]}`}[strings.Contains(says, "left")] + `],
			"sinks": [{"format": "kafka", "brokers": ["` + l.broker + `"], ` + more + `}]}`})
		if err == nil {
			_, err = p.Run(t.Context(), options(t))
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %s", more, err, says)
		}
	}
}
