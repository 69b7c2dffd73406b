package etl

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/internal/platform/kafka"
)

// kafkaTopic is a topic as a sink. The records of a run, or of a batch of a stream, are written in
// one transaction, which also commits a note of them as an offset of a consumer group: a retry
// reads it to find out whether a commit of unknown result happened. Readers of committed records
// see all of a transaction or nothing. The transactional id is made of the pipeline's name and the
// topic: of two writers, the broker refuses the one that began first.
type kafkaTopic struct {
	kafkaServer
	topic string
	facts map[string]string // part of a record, beside its value -> name of the column for it
}

// sinkFacts returns the parts of a record, beside the value, that a column may be.
func sinkFacts() []string { return []string{"key", "key_bytes", "partition", "timestamp", "headers"} }

func (p *Pipeline) readTopic(r *reader) target {
	k := &kafkaTopic{kafkaServer: p.readKafkaServer(r), topic: r.text("topic", true), facts: map[string]string{}}
	if at := r.member("metadata"); at != nil {
		m := at.object(r.problems)
		for _, fact := range sinkFacts() {
			if name := m.text(fact, false); m.members[fact] != nil {
				k.facts[fact] = name
			}
		}
		m.end()
		if k.facts["key"] != "" && k.facts["key_bytes"] != "" {
			r.wrong(at, "a record has one key: key or key_bytes")
		}
	}
	return target{format: kafkaFormat, url: "kafka://" + strings.Join(k.brokers, ","), object: k.topic, topic: k}
}

// check returns an error that lists the columns which do not fit the part of a record they are
// named for.
func (k *kafkaTopic) check(columns []column) error {
	var wrong []error
	for _, fact := range sinkFacts() {
		name, is := k.facts[fact]
		if !is {
			continue
		}
		want := map[string]kind{"key": kindText, "key_bytes": kindBytes, "partition": kindInt32,
			"timestamp": kindTimestampTZ, "headers": kindJSON}[fact]
		if i := indexOf(columns, name); i < 0 {
			wrong = append(wrong, noColumn(columns, name))
		} else if columns[i].of.kind != want {
			wrong = append(wrong, fmt.Errorf("column %q is %s, and the %s of a record is %s", name, columns[i].of, fact, want))
		}
	}
	if len(k.facts) == len(columns) {
		wrong = append(wrong, errors.New("no column is left for the value of a record"))
	}
	if len(wrong) > 0 {
		return dataError{errors.Join(wrong...)}
	}
	return nil
}

// there returns an error if the topic does not exist or cannot be asked for.
func (k *kafkaTopic) there(ctx context.Context) error {
	client, cluster, err := k.connect(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = k.id(ctx, client, cluster)
	return err
}

func (k *kafkaTopic) id(ctx context.Context, client *kgo.Client, cluster kafka.Cluster) (kadm.TopicID, error) {
	topics, err := kadm.NewClient(client).ListTopics(ctx, k.topic)
	if err == nil {
		err = topics[k.topic].Err
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return kadm.TopicID{}, dataError{fmt.Errorf("there is no topic %s: make it", k.topic)}
	}
	if err != nil {
		return kadm.TopicID{}, refusedByKafka(cluster, "asking Kafka", err)
	}
	return topics[k.topic].ID, nil
}

// kafkaWriter writes transactions into a topic.
type kafkaWriter struct {
	*kafkaTopic
	client  *kgo.Client
	cluster kafka.Cluster
	again   func(context.Context) (*kafkaWriter, error) // makes another writer
	is      kadm.TopicID
	name    string // transactional id
	group   string
}

// mostTransaction bounds how long a transaction may take. The default limit of brokers is 15
// minutes.
const mostTransaction = 10 * time.Minute

// writer connects. When it returns nil, transactions of another writer with the same id are either
// committed and visible, or aborted.
func (k *kafkaTopic) writer(ctx context.Context, pipeline, group string) (*kafkaWriter, error) {
	name := "weir-etl-" + pipeline + "-" + k.topic
	opts := []kgo.Opt{kgo.TransactionalID(name), kgo.TransactionTimeout(mostTransaction),
		kgo.DefaultProduceTopic(k.topic), kgo.ProducerBatchCompression(kgo.ZstdCompression(), kgo.NoCompression())}
	if k.facts["partition"] != "" {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	client, cluster, err := k.connect(ctx, opts...)
	if err != nil {
		return nil, err
	}
	is, err := k.id(ctx, client, cluster)
	if err == nil {
		if _, _, err = client.ProducerID(ctx); err != nil {
			err = refusedByKafka(cluster, "beginning transactions", err)
		}
	}
	if err != nil {
		client.Close()
		return nil, err
	}
	again := func(ctx context.Context) (*kafkaWriter, error) { return k.writer(ctx, pipeline, group) }
	return &kafkaWriter{k, client, cluster, again, is, name, group}, nil
}

// unstableWait is the pause between attempts to read a group's offsets while a transaction is being
// ended, or, for at most coordinatorWait, while the cluster has no coordinator yet.
const (
	unstableWait    = 100 * time.Millisecond
	coordinatorWait = 30 * time.Second
)

// note is what the group has committed of the topic: an offset, and its metadata.
type note struct {
	at   int64
	says string
}

// noted returns the last note that was committed; says is "" if there is none.
func (w *kafkaWriter) noted(ctx context.Context) (last note, err error) {
	var offsets kadm.OffsetResponses
	began := time.Now()
	for { // an offset of an ended transaction may become visible a moment later
		offsets, err = kadm.NewClient(w.client).FetchOffsets(kadm.RequireStable(ctx), w.group)
		if err == nil {
			err = offsets.Error()
		}
		coordinator := errors.Is(err, kerr.CoordinatorNotAvailable) || errors.Is(err, kerr.CoordinatorLoadInProgress)
		if !errors.Is(err, kerr.UnstableOffsetCommit) && !(coordinator && time.Since(began) < coordinatorWait) {
			break
		}
		select {
		case <-ctx.Done():
			return note{}, fmt.Errorf("asking what was committed: %w", ctx.Err())
		case <-time.After(unstableWait):
		}
	}
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return note{}, refusedByKafka(w.cluster, "asking what was committed", err)
	}
	if o, is := offsets.Lookup(w.topic, 0); is && o.Err == nil && o.At >= 0 {
		last = note{o.At, o.Metadata}
	}
	return last, nil
}

// within writes records in one transaction, with a note. When it returns nil, both are committed.
// After an error they may be.
func (w *kafkaWriter) within(ctx context.Context, write func(encoder) error, columns []column,
	of func(*topicEncoder) note) error {
	if err := w.client.BeginTransaction(); err != nil {
		return refusedByKafka(w.cluster, "beginning a transaction", err)
	}
	e := newTopicEncoder(ctx, w, columns)
	err := write(e)
	if err == nil {
		err = w.client.Flush(ctx)
	}
	if err = errors.Join(err, e.failed()); err == nil {
		err = w.commit(ctx, of(e))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err != nil {
		return errors.Join(err, w.client.AbortBufferedRecords(ctx), w.client.EndTransaction(ctx, kgo.TryAbort))
	}
	if e.rows == 0 {
		return w.endEmpty(ctx, of(e))
	}
	if err := w.client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return refusedByKafka(w.cluster, "ending a transaction", err)
	}
	return nil
}

// endEmpty commits a transaction that has only a note. The client has no record in it and would not
// send a commit, so endEmpty sends it, and then replaces the client. The note shows whether another
// writer committed in between.
func (w *kafkaWriter) endEmpty(ctx context.Context, n note) error {
	id, epoch, err := w.client.ProducerID(ctx)
	if err == nil {
		err = w.client.EndTransaction(ctx, kgo.TryAbort) // of no records
	}
	if err != nil {
		return refusedByKafka(w.cluster, "ending a transaction", err)
	}
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = w.name, id, epoch, true
	answer, err := req.RequestWith(ctx, w.client)
	if err == nil {
		err = kerr.ErrorForCode(answer.ErrorCode)
	}
	if err != nil {
		return refusedByKafka(w.cluster, "ending a transaction", err)
	}
	next, err := w.again(ctx)
	if err != nil {
		return err
	}
	w.client.Close()
	*w = *next
	switch is, err := w.noted(ctx); {
	case err != nil:
		return err
	case is != n:
		return dataError{fmt.Errorf("somebody else writes to topic %s under the name of this pipeline", w.topic)}
	}
	return nil
}

// commit adds a note to the transaction; it takes effect when the transaction is committed.
func (w *kafkaWriter) commit(ctx context.Context, n note) error {
	id, epoch, err := w.client.ProducerID(ctx)
	if err != nil {
		return refusedByKafka(w.cluster, "committing", err)
	}
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = w.name, id, epoch, w.group
	added, err := add.RequestWith(ctx, w.client)
	if err == nil {
		err = kerr.ErrorForCode(added.ErrorCode)
	}
	if err != nil {
		return refusedByKafka(w.cluster, "committing", err)
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch, req.Generation = w.name, w.group, id, epoch, -1
	part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	part.Offset, part.Metadata = n.at, kmsg.StringPtr(n.says)
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID, topic.Partitions = w.topic, w.is, append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	answer, err := req.RequestWith(ctx, w.client)
	if err != nil {
		return refusedByKafka(w.cluster, "committing", err)
	}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return refusedByKafka(w.cluster, "committing", err)
			}
		}
	}
	return nil
}

func (w *kafkaWriter) close() { w.client.Close() }

// loadTopic writes the rows of a run to the topic, unless they are there. When it returns nil, they
// are committed.
func (p *Pipeline) loadTopic(ctx context.Context, s stage, run *progress, columns []column, t target, id string) (
	Sink, error) {
	sink := Sink{Format: kafkaFormat, URL: t.url, Object: t.object, Mode: modeAppend,
		Group: "weir-etl-" + p.Name + "-" + id}
	w, err := t.topic.writer(ctx, p.Name, sink.Group)
	if err != nil {
		return sink, err
	}
	defer w.close()
	came, err := w.came(ctx, run.Run, &sink)
	if came || err != nil {
		return sink, err
	}
	return sink, w.within(ctx, func(e encoder) error {
		sink.Rows = 0
		return p.encodeRows(ctx, s, run, &sink, e)
	}, columns, func(e *topicEncoder) note {
		sink.Bytes, sink.SHA256 = e.bytes, e.sum.hex()
		return note{sink.Rows, fmt.Sprintf("%s %d %s", run.Run, sink.Bytes, sink.SHA256)}
	})
}

// came tells whether the last committed run was this one, and fills in the sink from its note.
func (w *kafkaWriter) came(ctx context.Context, run string, sink *Sink) (bool, error) {
	n, err := w.noted(ctx)
	said := strings.Fields(n.says)
	if err != nil || len(said) != 3 || said[0] != run {
		return false, err
	}
	sink.Rows, sink.SHA256 = n.at, said[2]
	sink.Bytes, err = strconv.ParseInt(said[1], 10, 64)
	return true, err
}

// topicStream writes batches to a topic. The note of a batch's transaction is the position in the
// source's log after it.
type topicStream struct {
	p *Pipeline
	w *kafkaWriter
}

// streamTopic connects. With ask it begins no transactions, because that would abort those of a
// running stream.
func (p *Pipeline) streamTopic(ctx context.Context, k *kafkaTopic, ask bool) (streamSink, error) {
	group := "weir-etl-" + p.Name + "-" + k.topic
	if ask {
		client, cluster, err := k.connect(ctx)
		if err != nil {
			return nil, err
		}
		return &topicStream{p, &kafkaWriter{kafkaTopic: k, client: client, cluster: cluster, group: group}}, nil
	}
	w, err := k.writer(ctx, p.Name, group)
	if err != nil {
		return nil, err
	}
	return &topicStream{p, w}, nil
}

func (s *topicStream) at(ctx context.Context, log string) (*marks, error) {
	n, err := s.w.noted(ctx)
	of, places, _ := strings.Cut(n.says, " ")
	if err != nil || of != log {
		return nil, err
	}
	m := marks{log, map[int32]int64{}}
	for place := range strings.FieldsSeq(places) {
		var partition int32
		var next int64
		if _, err := fmt.Sscanf(place, "%d:%d", &partition, &next); err != nil {
			return nil, dataError{fmt.Errorf("group %s has committed what no stream commits: %w", s.w.group, err)}
		}
		m.Next[partition] = next
	}
	return &m, nil
}

// bring does not check the sink's position before it writes: if another writer had moved it, the
// broker would refuse this transaction.
func (s *topicStream) bring(ctx context.Context, d delivery) error {
	staged, run := d.staged(d.all())
	return s.w.within(ctx, func(e encoder) error {
		return s.p.encodeRows(ctx, staged, run, &Sink{}, e)
	}, d.columns, func(*topicEncoder) note { return note{0, d.to.Log + " " + d.to.String()} })
}

func (s *topicStream) close() error {
	s.w.close()
	return nil
}

// recountTopic returns what the topic has noted of a run. It knows only the last one.
func (p *Pipeline) recountTopic(ctx context.Context, report *Report, s Sink) (rows int64, sum string, err error) {
	for _, t := range p.sinks {
		if t.topic == nil || t.url != s.URL || t.object != s.Object {
			continue
		}
		client, cluster, err := t.topic.connect(ctx)
		if err != nil {
			return 0, "", err
		}
		w := &kafkaWriter{kafkaTopic: t.topic, client: client, cluster: cluster, group: s.Group}
		defer w.close()
		found := Sink{}
		came, err := w.came(ctx, report.Run, &found)
		if err == nil && !came {
			err = errNoLoad
		}
		return found.Rows, found.SHA256, err
	}
	return 0, "", dataError{errors.New("the pipeline has no such sink any more, and so not how to reach it")}
}
