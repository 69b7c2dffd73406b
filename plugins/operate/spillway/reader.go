package spillway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	batchMost   = 500  // records returned at a time
	bufferMost  = 1000 // records buffered per partition
	readTimeout = 30 * time.Second
)

// reader reads runs of several partitions, those with the oldest records first.
type reader struct {
	client *kgo.Client
	tails  map[partition]*tail
	idle   time.Time // when records came last
}

// tail is the part of a partition that is still to be read.
type tail struct {
	run
	at     *position
	buf    []*kgo.Record
	paused bool
	ended  bool // buf has the rest of the run
}

func openReader(opts []kgo.Opt, due map[partition]*position) (*reader, error) {
	from := map[string]map[int32]kgo.Offset{}
	r := &reader{tails: map[partition]*tail{}, idle: time.Now()}
	for p, at := range due {
		run := at.due()
		if from[p.topic] == nil {
			from[p.topic] = map[int32]kgo.Offset{}
		}
		from[p.topic][p.n] = kgo.NewOffset().At(run.first)
		r.tails[p] = &tail{run: run, at: at}
	}
	var err error
	r.client, err = kgo.NewClient(append(opts,
		kgo.ConsumePartitions(from),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), // records deleted meanwhile show as a gap
		kgo.KeepControlRecords(), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxPartitionBytes(512<<10), kgo.FetchMaxBytes(8<<20),
	)...)
	if err != nil {
		return nil, fmt.Errorf("opening a reader of the log: %w", err)
	}
	return r, nil
}

func (r *reader) close() { r.client.Close() }

// chunk is a part of a partition. It may have fewer records than offsets.
type chunk struct {
	p       partition
	at      *position
	records []*kgo.Record
	first   int64 // first offset
	next    int64 // offset after the chunk
}

// next returns the oldest records that are left. ok is false at the end of all runs.
func (r *reader) next(ctx context.Context) (c chunk, ok bool, err error) {
	for {
		p, waiting := r.oldest()
		if waiting == 0 {
			if p == nil {
				return c, false, nil
			}
			return r.take(*p), true, nil
		}
		if err := r.poll(ctx); err != nil {
			return c, false, err
		}
	}
}

// oldest returns the partition with the oldest buffered record, or one whose run is at its end, and
// the number of partitions whose next record has not come yet.
func (r *reader) oldest() (found *partition, waiting int) {
	var at time.Time
	for p, t := range r.tails {
		if len(t.buf) == 0 && t.ended {
			return &p, 0
		} else if len(t.buf) == 0 {
			waiting++
		} else if head := t.buf[0].Timestamp; found == nil || head.Before(at) {
			found, at = &p, head
		}
	}
	return found, waiting
}

func (r *reader) take(p partition) chunk {
	t := r.tails[p]
	n := min(len(t.buf), batchMost)
	c := chunk{p: p, at: t.at, first: t.first, records: t.buf[:n:n]}
	if n > 0 {
		t.first, t.buf = t.buf[n-1].Offset+1, t.buf[n:]
	}
	switch {
	case len(t.buf) == 0 && t.ended: // the rest of the run has no records
		t.first = t.limit
		delete(r.tails, p)
	case len(t.buf) == 0 && t.first >= t.limit:
		delete(r.tails, p)
	case t.paused && !t.ended && len(t.buf) < bufferMost/2:
		r.client.ResumeFetchPartitions(map[string][]int32{p.topic: {p.n}})
		t.paused = false
	}
	c.next = t.first
	return c
}

func (r *reader) poll(ctx context.Context) error {
	polled, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	fetches := r.client.PollRecords(polled, 10*batchMost)
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, e := range fetches.Errors() {
		if !errors.Is(e.Err, context.DeadlineExceeded) {
			return fmt.Errorf("reading %s/%d of the log: %w", e.Topic, e.Partition, e.Err)
		}
	}
	if fetches.NumRecords() > 0 {
		r.idle = time.Now()
	} else if time.Since(r.idle) > readTimeout {
		return fmt.Errorf("reading the log: nothing came for %s", readTimeout)
	}
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		p := partition{f.Topic, f.Partition}
		t := r.tails[p]
		if t == nil {
			return
		}
		for _, record := range f.Records {
			if record.Offset >= t.limit {
				t.ended = true
				r.pause(p, t)
				return
			}
			if record.Offset >= t.first {
				t.buf = append(t.buf, record)
			}
		}
		if len(t.buf) >= bufferMost {
			r.pause(p, t)
		}
	})
	return nil
}

func (r *reader) pause(p partition, t *tail) {
	r.client.PauseFetchPartitions(map[string][]int32{p.topic: {p.n}})
	t.paused = true
}
