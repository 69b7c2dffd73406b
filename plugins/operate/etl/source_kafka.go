package etl

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
	"weir/internal/platform/rawjson"
)

// kafkaSource is a topic of Kafka. A run reads the records that are committed when it begins; a
// stream goes on without an end.
type kafkaSource struct {
	kafkaServer
	topic   string
	columns []column   // columns of the value, then those of other parts of a record
	values  int        // number of columns of the value
	facts   []string   // parts of a record for the other columns
	avro    *avroValue // decoder; nil: values are JSON
	missing bool       // a column that an object lacks is null
	ignore  bool       // a name that is no column is skipped
}

// recordFacts returns the parts of a record, beside its value, that may be columns, in the order of
// these.
func recordFacts() []string {
	return []string{"key", "key_bytes", "partition", "offset", "timestamp", "headers"}
}

func (p *Pipeline) readKafka(r *reader) (source, []column) {
	k := kafkaSource{kafkaServer: p.readKafkaServer(r), topic: r.text("topic", true)}
	if r.oneOf("format", "json", "avro") == "avro" {
		k.avro, k.columns = readAvro(r)
	} else {
		k.columns = readColumns(r)
		k.missing = r.oneOf("missing", "refuse", "null") == "null"
		k.ignore = r.oneOf("unknown", "refuse", "ignore") == "ignore"
	}
	k.values = len(k.columns)
	if at := r.member("metadata"); at != nil {
		m := at.object(r.problems)
		for _, fact := range recordFacts() {
			name := m.text(fact, false)
			if m.members[fact] == nil {
				continue
			}
			if name == "" || indexOf(k.columns, name) >= 0 {
				r.wrong(m.members[fact], "expected the name of a column, each once")
			}
			of := map[string]kind{"key": kindText, "key_bytes": kindBytes, "partition": kindInt32, "offset": kindInt64,
				"timestamp": kindTimestampTZ, "headers": kindJSON}[fact]
			k.columns, k.facts = append(k.columns, column{name, columnType{kind: of}}), append(k.facts, fact)
		}
		m.end()
	}
	return k, k.columns
}

func (k kafkaSource) describe() string { return "topic " + k.topic + " of Kafka" }

// reader returns a converter of the topic's records.
func (k kafkaSource) reader() *recordReader {
	return &recordReader{kafkaSource: k, objects: newObjectReader("the record", k.columns[:k.values], k.missing, k.ignore)}
}

// recordReader converts records to rows. It is not for concurrent use.
type recordReader struct {
	kafkaSource
	objects *objectReader
}

// row converts a record to a row.
func (k *recordReader) row(rec *kgo.Record) (row, error) {
	if rec.Value == nil {
		return nil, &rowError{reason: "the record has no value"}
	}
	r, err := k.valueOf(rec)
	if err != nil {
		return nil, &rowError{err.Error(), k.shown(rec)}
	}
	for i, fact := range k.facts {
		c, err := k.fact(rec, fact)
		if err != nil {
			return nil, &rowError{fmt.Sprintf("column %q: %v", k.columns[k.values+i].name, err), k.shown(rec)}
		}
		r = append(r, c)
	}
	return r, nil
}

func (k *recordReader) valueOf(rec *kgo.Record) (row, error) {
	if k.avro != nil {
		return k.avro.row(rec.Value)
	}
	return k.objects.read(rec.Value, len(k.facts))
}

// shown returns a record's value for a line of rejects; Avro is encoded in base64.
func (k kafkaSource) shown(rec *kgo.Record) []byte {
	if k.avro != nil {
		return []byte(base64.StdEncoding.EncodeToString(rec.Value))
	}
	return rec.Value
}

func (k *recordReader) fact(rec *kgo.Record, fact string) (cell, error) {
	slab := &k.objects.slab
	switch fact {
	case "key", "key_bytes":
		if rec.Key == nil {
			return cell{null: true}, nil
		}
		if fact == "key" && !utf8.Valid(rec.Key) {
			return cell{}, errors.New("the key is not UTF-8: take key_bytes")
		}
		return cell{text: slab.text(rec.Key)}, nil
	case "partition":
		return cell{text: slab.number(int64(rec.Partition))}, nil
	case "offset":
		return cell{text: slab.number(rec.Offset)}, nil
	case "timestamp":
		return cell{text: slab.instant(rec.Timestamp)}, nil
	}
	return headersOf(rec)
}

// headersOf returns headers as a JSON list, since a name may occur twice: [{"key": …, "value": …}].
func headersOf(rec *kgo.Record) (cell, error) {
	b := []byte{'['}
	for i, h := range rec.Headers {
		if !utf8.ValidString(h.Key) || !utf8.Valid(h.Value) {
			return cell{}, errors.New("a header is not UTF-8")
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = rawjson.AppendString(append(b, `{"key":`...), h.Key)
		if b = append(b, `,"value":`...); h.Value == nil {
			b = append(b, "null}"...)
		} else {
			b = append(rawjson.AppendString(b, string(h.Value)), '}')
		}
	}
	return cell{text: string(append(b, ']'))}, nil
}

// logReading is a reading whose rows have places that are meaningful outside of weir.
type logReading interface {
	// place returns the place of the last row: TOPIC/PARTITION/OFFSET.
	place() string
	// position returns the position after the last row.
	position() string
	// countTo counts the rows up to a position.
	countTo(ctx context.Context, position string) (int64, error)
}

// stretch is a range of a partition's offsets, [Begin, End), and the next one to read.
type stretch struct {
	Partition int32 `json:"partition"`
	Begin     int64 `json:"begin"`
	Next      int64 `json:"next"`
	End       int64 `json:"end"`
}

// kafkaReading reads one partition after the other, each to its end when the run began. So a retry
// reads the same records in the same order.
type kafkaReading struct {
	*recordReader
	client  *kgo.Client
	cluster kafka.Cluster
	log     string
	parts   []stretch
	part    int
	polled  []*kgo.Record
	poll    func() kgo.Fetches
	last    *kgo.Record
}

// reading connects, and asks for the topic's id.
func (k kafkaSource) reading(ctx context.Context) (*kafkaReading, error) {
	client, cluster, err := k.connect(ctx, kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.KeepControlRecords(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxBytes(16<<20), kgo.FetchMaxPartitionBytes(4<<20),
		kgo.MaxConcurrentFetches(2))
	if err != nil {
		return nil, err
	}
	logs := kafka.NewLogs(cluster, "weir-etl")
	defer logs.Close()
	of, err := logs.Of(ctx, time.Now(), k.topic)
	if err == nil && of[0] == 0 {
		err = dataError{fmt.Errorf("there is no topic %s", k.topic)}
	}
	if err != nil {
		client.Close()
		return nil, refusedByKafka(cluster, "asking Kafka", err)
	}
	return &kafkaReading{recordReader: k.reader(), client: client, cluster: cluster, log: of[0].String()}, nil
}

func (k kafkaSource) open(ctx context.Context) (reading, error) {
	r, err := k.reading(ctx)
	if err != nil {
		return nil, err // a nil *kafkaReading would be a non-nil reading
	}
	return r, nil
}

// bounds returns the first offset of each partition, and the end of its committed records.
func (r *kafkaReading) bounds(ctx context.Context) (starts, ends marks, err error) {
	at := kafka.Positions{Admin: kadm.NewClient(r.client)}
	first, err := at.Starts(ctx, r.topic)
	if err == nil {
		ends = marks{r.log, map[int32]int64{}}
		var last map[kafka.Partition]int64
		last, err = at.StableEnds(ctx, r.topic)
		for p, offset := range last {
			ends.Next[p.Number] = offset
		}
	}
	if err != nil {
		return marks{}, marks{}, refusedByKafka(r.cluster, "asking Kafka", err)
	}
	starts = marks{r.log, map[int32]int64{}}
	for p, offset := range first {
		starts.Next[p.Number] = offset
	}
	return starts, ends, nil
}

func (r *kafkaReading) columns() []column { return r.kafkaSource.columns }

func (r *kafkaReading) identity() string { return "log " + r.log }

func (r *kafkaReading) from(ctx context.Context, position string) error {
	starts, ends, err := r.bounds(ctx)
	if err != nil {
		return err
	}
	if position == "" {
		r.parts = nil
		for _, n := range ends.partitions() {
			r.parts = append(r.parts, stretch{n, starts.Next[n], starts.Next[n], ends.Next[n]})
		}
	} else if err := json.Unmarshal([]byte(position), &r.parts); err != nil {
		return fmt.Errorf("reading where the last run ended: %w", err)
	}
	for _, s := range r.parts {
		if s.Next < starts.Next[s.Partition] && s.Next < s.End {
			return r.gone(s.Partition, s.Next, starts.Next[s.Partition])
		}
	}
	r.poll = func() kgo.Fetches {
		ctx, cancel := context.WithTimeout(ctx, kafkaIdle)
		defer cancel()
		return r.client.PollRecords(ctx, mostPolled)
	}
	r.begin()
	return nil
}

const (
	kafkaIdle  = 60 * time.Second // longest wait for records
	mostPolled = 10_000
)

func (r *kafkaReading) gone(partition int32, from, to int64) error {
	return dataError{fmt.Errorf("records of %s/%d from offset %d to %d are gone before they were read: the topic no "+
		"longer keeps them", r.topic, partition, from, to-1)}
}

func (r *kafkaReading) shorter(partition int32, at, end int64) error {
	return dataError{fmt.Errorf("%s/%d was read to offset %d, and ends at %d: the log has lost records, or is another",
		r.topic, partition, at, end)}
}

// begin starts to fetch the next partition that is not at its end.
func (r *kafkaReading) begin() {
	for r.part < len(r.parts) && r.parts[r.part].Next >= r.parts[r.part].End {
		r.part++
	}
	if r.part < len(r.parts) {
		s := r.parts[r.part]
		r.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: {s.Partition: kgo.NewOffset().At(s.Next)}})
	}
}

// end stops fetching the partition, and begins the next one.
func (r *kafkaReading) end() {
	r.client.RemoveConsumePartitions(map[string][]int32{r.topic: {r.parts[r.part].Partition}})
	r.polled = nil
	r.begin()
}

func (r *kafkaReading) next() (row, string, error) {
	for r.part < len(r.parts) {
		s := &r.parts[r.part]
		if len(r.polled) == 0 {
			if err := r.more(s); err != nil {
				return nil, "", err
			}
			continue
		}
		rec := r.polled[0]
		r.polled = r.polled[1:]
		if rec.Partition != s.Partition || rec.Offset < s.Next {
			continue
		}
		in := rec.Offset < s.End
		if s.Next = rec.Offset + 1; s.Next >= s.End {
			s.Next = s.End
			r.end()
		}
		if !in || rec.Attrs.IsControl() {
			continue
		}
		r.last = rec
		out, err := r.row(rec)
		return out, "", err
	}
	return nil, "", io.EOF
}

// more polls. Records of other partitions may still come, from fetches that were under way.
func (r *kafkaReading) more(s *stretch) error {
	fetches := r.poll()
	for _, e := range fetches.Errors() {
		switch {
		case errors.Is(e.Err, context.DeadlineExceeded):
			return fmt.Errorf("reading %s/%d: nothing came for %s at offset %d, and it ends at %d", r.topic, s.Partition,
				kafkaIdle, s.Next, s.End)
		case e.Partition != s.Partition && e.Topic != "":
		default:
			return r.failed(e.Err)
		}
	}
	r.polled = fetches.Records()
	return nil
}

func (r *kafkaReading) failed(err error) error {
	if errors.Is(err, kerr.OffsetOutOfRange) || errors.As(err, new(*kgo.ErrDataLoss)) {
		return dataError{fmt.Errorf("reading topic %s: the broker no longer has what comes next: %w", r.topic, err)}
	}
	return refusedByKafka(r.cluster, "reading topic "+r.topic, err)
}

func (r *kafkaReading) place() string { return placeOf(r.last) }

func placeOf(rec *kgo.Record) string {
	return rec.Topic + "/" + strconv.Itoa(int(rec.Partition)) + "/" + strconv.FormatInt(rec.Offset, 10)
}

func (r *kafkaReading) position() string {
	raw, _ := json.Marshal(r.parts) // cannot fail: only numbers
	return string(raw)
}

func (r *kafkaReading) count(ctx context.Context) (int64, error) {
	if err := r.from(ctx, ""); err != nil {
		return 0, err
	}
	return r.records(ctx)
}

func (r *kafkaReading) countTo(ctx context.Context, position string) (int64, error) {
	var parts []stretch
	if err := json.Unmarshal([]byte(position), &parts); err != nil {
		return 0, fmt.Errorf("reading where the run ended: %w", err)
	}
	for i := range parts {
		parts[i].End, parts[i].Next = parts[i].Next, parts[i].Begin
	}
	raw, err := json.Marshal(parts)
	if err != nil {
		return 0, err
	}
	if err := r.from(ctx, string(raw)); err != nil {
		return 0, err
	}
	return r.records(ctx)
}

// countBetween counts the records between two positions.
func (r *kafkaReading) countBetween(ctx context.Context, from, to marks) (n int64, known bool, err error) {
	var parts []stretch
	for _, n := range to.partitions() {
		parts = append(parts, stretch{n, from.Next[n], from.Next[n], to.Next[n]})
	}
	raw, err := json.Marshal(parts)
	if err == nil {
		err = r.from(ctx, string(raw))
	}
	if err == nil {
		n, err = r.records(ctx)
	}
	return n, true, err
}

func (r *kafkaReading) records(ctx context.Context) (n int64, err error) {
	for ; ; n++ {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		_, _, err := r.next()
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil && !errors.As(err, new(*rowError)):
			return 0, err
		}
	}
}

func (r *kafkaReading) close() { r.client.Close() }

// errorsOf returns the errors of fetches, except those of a wait that has ended.
func errorsOf(fetches kgo.Fetches) []kgo.FetchError {
	return slices.DeleteFunc(fetches.Errors(), func(e kgo.FetchError) bool {
		return errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, context.Canceled)
	})
}
