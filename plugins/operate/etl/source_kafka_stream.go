package etl

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// logStream reads all partitions of a topic without an end, in batches.
type logStream struct {
	*kafkaReading
	next   marks
	held   map[int32][]*kgo.Record // records of each partition that were fetched and not taken
	ends   marks                   // ends of the partitions when they were last asked for
	looked time.Time               // when that was
}

func (k kafkaSource) dial(ctx context.Context) (following, error) {
	r, err := k.reading(ctx)
	if err != nil {
		return nil, err
	}
	return &logStream{kafkaReading: r}, nil
}

func (s *logStream) id() string       { return s.log }
func (s *logStream) describe() string { return "topic " + s.topic }
func (s *logStream) stands() marks    { return s.next }
func (s *logStream) bound() marks     { return s.ends }
func (s *logStream) unit() string     { return unitRecords }
func (s *logStream) came(marks)       {} // what a topic keeps does not depend on its readers

// begin goes to the position of the sink that is furthest behind. It is an error if the topic no
// longer has what comes after it, or ends before it.
func (s *logStream) begin(ctx context.Context, reached []marks, _ bool) error {
	starts, ends, err := s.bounds(ctx)
	if err != nil {
		return err
	}
	s.next, s.ends, s.held, s.looked = least(starts, reached), ends, map[int32][]*kgo.Record{}, time.Now()
	offsets := map[int32]kgo.Offset{}
	for n, next := range s.next.Next {
		switch {
		case next < starts.Next[n]:
			err = s.gone(n, next, starts.Next[n])
		case next > ends.Next[n]:
			err = s.shorter(n, next, ends.Next[n])
		}
		offsets[n] = kgo.NewOffset().At(next)
	}
	if err != nil {
		return err
	}
	s.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{s.topic: offsets})
	return nil
}

func (g trigger) full(b *kafkaBatch) bool { return len(b.records) >= g.rows || b.bytes >= g.bytes }

// kafkaBatch are the records between two positions.
type kafkaBatch struct {
	from    marks
	records []*kgo.Record
	bytes   int
}

// batchOf returns a batch that converts the records to changes.
func (s *logStream) batchOf(k *kafkaBatch) *logBatch {
	b := &logBatch{from: k.from, to: s.next.clone(), changes: len(k.records)}
	for _, rec := range k.records {
		if b.oldest.IsZero() || rec.Timestamp.Before(b.oldest) {
			b.oldest = rec.Timestamp
		}
	}
	b.each = func(do func(change) error) error {
		for _, rec := range k.records {
			c := change{place: placeOf(rec)}
			if c.row, c.err = s.row(rec); c.err != nil && !errors.As(c.err, new(*rowError)) {
				return c.err
			}
			if err := do(c); err != nil {
				return err
			}
		}
		return nil
	}
	return b
}

// batch returns the next records. It may have none; then its end may be equal to its beginning.
func (s *logStream) batch(ctx context.Context, g trigger) (*logBatch, error) {
	b := &kafkaBatch{from: s.next.clone()}
	for n := range s.next.Next {
		s.take(b, g, n)
	}
	began := time.Now()
	for !g.full(b) && !(g.until != nil && s.next.reached(*g.until)) {
		wait := g.idle
		if len(b.records) > 0 {
			wait = g.every
		}
		if wait -= time.Since(began); wait <= 0 {
			break
		}
		polled, cancel := context.WithTimeout(ctx, wait)
		fetches := s.client.PollRecords(polled, mostPolled)
		cancel()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for _, e := range errorsOf(fetches) {
			return nil, s.failed(e.Err)
		}
		if len(b.records) == 0 && !fetches.Empty() {
			began = time.Now()
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if _, known := s.next.Next[p.Partition]; known && len(p.Records) > 0 {
				s.held[p.Partition] = append(s.held[p.Partition], p.Records...)
				if s.take(b, g, p.Partition); len(s.held[p.Partition]) > mostHeld || g.ends(s.held[p.Partition]) {
					s.client.PauseFetchPartitions(map[string][]int32{s.topic: {p.Partition}})
				}
			}
		})
	}
	return s.batchOf(b), nil
}

// take moves held records of a partition into a batch, as far as g allows, and resumes the
// partition when none are left.
func (s *logStream) take(b *kafkaBatch, g trigger, partition int32) {
	held := s.held[partition]
	for len(held) > 0 && !g.full(b) {
		rec := held[0]
		if g.until != nil && rec.Offset >= g.until.Next[partition] {
			// Records before it may have been compacted away.
			s.next.Next[partition] = max(s.next.Next[partition], g.until.Next[partition])
			break
		}
		held = held[1:]
		if rec.Offset < s.next.Next[partition] {
			continue
		}
		s.next.Next[partition] = rec.Offset + 1
		if !rec.Attrs.IsControl() {
			b.records = append(b.records, rec)
			b.bytes += len(rec.Key) + len(rec.Value) + recordBytes
		}
	}
	if len(held) == 0 {
		held = nil
		s.client.ResumeFetchPartitions(map[string][]int32{s.topic: {partition}}) // it may not be paused
	}
	s.held[partition] = held
}

// ends tells whether the records held of a partition are after the position at which the batch has
// to end.
func (g trigger) ends(held []*kgo.Record) bool {
	return g.until != nil && len(held) > 0 && held[0].Offset >= g.until.Next[held[0].Partition]
}

// mostHeld is the number of held records above which a partition is paused.
const mostHeld = 2 * mostPolled

// recordBytes estimates the memory of a record beside its key and value.
const recordBytes = 200

// look asks for the ends of the log, at most every lagEvery, and begins partitions that are new.
func (s *logStream) look(ctx context.Context) error {
	if time.Since(s.looked) < lagEvery {
		return nil
	}
	starts, ends, err := s.bounds(ctx)
	if err != nil {
		return err
	}
	s.ends, s.looked = ends, time.Now()
	for n, start := range starts.Next {
		if _, known := s.next.Next[n]; !known {
			s.next.Next[n] = start
			s.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{s.topic: {n: kgo.NewOffset().At(start)}})
		}
	}
	return nil
}

// lag returns the number of offsets between what was read and the last known end, for each
// partition.
func (s *logStream) lag() map[int32]int64 {
	all := map[int32]int64{}
	for n, end := range s.ends.Next {
		all[n] = max(0, end-s.next.Next[n])
	}
	return all
}
