package consumer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
	"weir/internal/platform/trace"
)

const (
	commitEvery   = time.Second
	commitTimeout = 10 * time.Second
	commitPatient = 3               // commits that may fail before it is logged: a rebalance makes one fail
	revokeWait    = 3 * time.Second // for batches in progress when their partition is revoked
	leaveTimeout  = 5 * time.Second // for the last commit, and for telling the group that this member goes
)

// reader is a member of the group, from its connection to its end. Three goroutines work for it: one polls, one
// commits, and one measures how far the group is behind. The client calls assigned, revoked and lost, and calls none
// of them between a poll and AllowRebalance.
type reader struct {
	config
	cluster kafka.Cluster
	log     *service.Logger
	client  *kgo.Client
	trace   *trace.Provider
	stop    context.Context // done when the reader is to end
	end     context.CancelFunc
	tasks   sync.WaitGroup
	wake    chan struct{} // there may be a batch
	texts   texts         // of whoever asks for the next batch

	flow sync.Mutex // held while pausing and resuming, around mu

	mu      sync.Mutex
	mine    map[kafka.Partition]*partition
	order   []*partition  // those of mine; the next to hand out a batch first
	again   []refused     // refused batches, in the order in which they were refused
	settles chan struct{} // closed and replaced when a batch is settled, while somebody waits

	commits  sync.Mutex // held during a commit, around mu
	failures int        // commits that failed one after the other; of commits
}

// read makes the member and starts it. It has not joined the group yet.
func read(c config, cluster kafka.Cluster, log *service.Logger) (*reader, error) {
	r := &reader{config: c, cluster: cluster, log: log, wake: make(chan struct{}, 1),
		mine: map[kafka.Partition]*partition{}}
	r.stop, r.end = context.WithCancel(context.Background())
	client, err := kgo.NewClient(append(append(cluster.Options(c.group), c.options()...),
		kgo.WithLogger(kafka.ClientLog{To: log}), kgo.WithPools(&pool{}), kgo.OnPartitionsAssigned(r.assigned),
		kgo.OnPartitionsRevoked(r.revoked), kgo.OnPartitionsLost(r.lost))...)
	if err != nil {
		return nil, err
	}
	r.client = client
	return r, nil
}

func (r *reader) start(lag func(int64, ...string)) {
	r.tasks.Go(r.poll)
	r.tasks.Go(r.commitAll)
	m := &lagMeter{group: r.group, topics: r.topics, at: kafka.Positions{Admin: kadm.NewClient(r.client)}, set: lag,
		log: r.log, appear: r.client.ForceMetadataRefresh, absent: map[string]bool{}}
	r.tasks.Go(func() { m.run(r.stop) })
}

// poll reads records until the reader ends. The brokers answer a fetch as soon as they have one record. So after a
// small fetch poll waits for more records before it fetches again, which saves requests.
func (r *reader) poll() {
	pause, rest := time.Duration(0), time.Duration(0)
	var last time.Time
	for r.stop.Err() == nil {
		asked := time.Now()
		fetches := r.client.PollFetches(r.stop)
		if rest > 0 && time.Since(asked) < r.answer {
			fetches = append(fetches, r.newest()...)
		}
		failed := r.complain(fetches)
		large, now := isLarge(fetches), time.Now() // before others have the records
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if len(f.Records) == 0 {
				return
			}
			r.mu.Lock()
			p := r.mine[kafka.Partition{Topic: f.Topic, Number: f.Partition}]
			if p != nil {
				p.push(f.Records, now)
				if p.end = f.LastStableOffset; p.end < 0 {
					p.end = f.HighWatermark
				}
			}
			r.mu.Unlock()
			if p != nil {
				r.adjust(p)
			}
		})
		r.client.AllowRebalance()
		r.nudge()
		rest = r.rest(last, now, large)
		if last = now.Add(rest); !failed || !fetches.Empty() {
			pause = 0
		} else {
			pause = min(max(2*pause, 100*time.Millisecond), time.Second)
		}
		if rest = max(rest, pause); rest == 0 {
			continue
		}
		select {
		case <-time.After(rest):
		case <-r.stop.Done():
		}
	}
}

// newest returns the records that came while the reader waited. Those that the client had before are the answer to a
// fetch from before the wait: handing them out makes it fetch the rest.
func (r *reader) newest() kgo.Fetches {
	select {
	case <-time.After(r.answer):
	case <-r.stop.Done():
	}
	var there context.Context // nil: PollFetches returns what there is and does not wait
	return r.client.PollFetches(there)
}

// isLarge reports whether fetches have so many bytes that the cost of a request is small for each record.
func isLarge(fetches kgo.Fetches) bool {
	bytes := 0
	fetches.EachRecord(func(record *kgo.Record) {
		if bytes < fetchLarge {
			bytes += sizeOf(record)
		}
	})
	return bytes >= fetchLarge
}

// rest returns how long to wait before the next fetch: not at all after a large one, nor if the last one was at least
// r.wait ago.
func (r *reader) rest(last, now time.Time, large bool) time.Duration {
	if large {
		return 0
	}
	return max(r.wait-now.Sub(last), 0)
}

// complain logs the errors of fetches, and reports whether there are any. The client retries by itself.
func (r *reader) complain(fetches kgo.Fetches) (failed bool) {
	for _, e := range fetches.Errors() {
		if errors.Is(e.Err, context.Canceled) || errors.Is(e.Err, kgo.ErrClientClosed) {
			continue
		}
		failed = true
		if e.Topic == "" {
			r.log.Errorf("reading the log as group %s: %v", r.group, r.cluster.Explain(e.Err))
		} else {
			r.log.Errorf("reading %s/%d of the log: %v", e.Topic, e.Partition, r.cluster.Explain(e.Err))
		}
	}
	return failed
}

// nudge wakes the caller that waits for a batch.
func (r *reader) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// adjust pauses and resumes the fetching of a partition.
func (r *reader) adjust(p *partition) {
	r.flow.Lock()
	defer r.flow.Unlock()
	r.mu.Lock()
	pausing := p.pausing(r.limits)
	change := !p.gone && !p.leaving && pausing != p.paused
	if change {
		p.paused = pausing
	}
	r.mu.Unlock()
	one := map[string][]int32{p.topic: {p.number}}
	switch {
	case change && pausing:
		r.client.PauseFetchPartitions(one)
	case change:
		r.client.ResumeFetchPartitions(one)
	}
}

// next waits for a batch. It is for one caller at a time.
func (r *reader) next(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	for {
		now := time.Now()
		one, is, due := r.takeAgain(now)
		if is {
			batch, ack := r.handOut(one.p, one.s, one.records, one.times)
			return batch, ack, nil
		}
		p, records, s, later := r.take(now)
		if p != nil {
			kept := slices.Clone(records)
			clear(records) // the queue's memory outlives them
			batch, ack := r.handOut(p, s, kept, 0)
			return batch, ack, nil
		}
		due = earliest(due, later)
		var timer <-chan time.Time
		if !due.IsZero() {
			timer = time.After(time.Until(due))
		}
		select {
		case <-r.wake:
		case <-timer:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-r.stop.Done():
			return nil, nil, service.ErrNotConnected
		}
	}
}

// handOut makes a batch of records that were refused so many times before. The records of it that are refused are
// handed out again.
func (r *reader) handOut(p *partition, s *span, records []*kgo.Record, times int) (service.MessageBatch,
	service.AckFunc) {
	batch := p.told.messages(records, s.turn)
	spans := r.trace.Receive(r.group, batch)
	var answered atomic.Bool
	return batch, func(_ context.Context, err error) error {
		if answered.Swap(true) {
			return nil
		}
		spans.End(err)
		if err == nil {
			r.settle(p, s)
			recycle(records)
		} else {
			r.refuse(p, s, records, times+1, err)
		}
		return nil
	}
}

// take cuts a batch of the next partition that has one. If none has, due is when one will have, or the zero time if
// only an event can change that.
func (r *reader) take(now time.Time) (p *partition, records []*kgo.Record, s *span, due time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, p := range r.order {
		at, ever := p.due(r.limits)
		b := bound{none: true}
		if ever {
			b = r.boundOf(p, now)
		}
		if ever && !b.passes(p.queue[0], now) {
			at, ever = b.again, !b.again.IsZero()
		}
		switch {
		case !ever:
		case !at.After(now):
			copy(r.order[i:], r.order[i+1:])
			r.order[len(r.order)-1] = p
			records, s = p.cut(r.limits, b, now)
			return p, records, s, time.Time{}
		case due.IsZero() || at.Before(due):
			due = at
		}
	}
	return nil, nil, nil, due
}

// settle notes that a batch is acknowledged.
func (r *reader) settle(p *partition, s *span) {
	r.mu.Lock()
	p.settle(s)
	p.moved = time.Now()
	change := p.pausing(r.limits) != p.paused
	if r.settles != nil {
		close(r.settles)
		r.settles = nil
	}
	r.mu.Unlock()
	if change {
		r.adjust(p)
	}
	if r.limits.ordered || r.abreast > 0 {
		r.nudge()
	}
}

// close ends the member: it commits what is acknowledged, and leaves the group. It does not wait for batches in
// progress.
func (r *reader) close() {
	r.end()
	r.tasks.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	if err := r.commit(ctx); err != nil {
		r.log.Warnf("committing what group %s has settled: %v: it comes again", r.group, r.cluster.Explain(err))
	}
	cancel()
	ctx, cancel = context.WithTimeout(context.Background(), leaveTimeout)
	if err := r.client.LeaveGroupContext(ctx); err != nil {
		r.log.Warnf("leaving group %s: %v: its partitions go to others after the session timeout", r.group, err)
	}
	cancel()
	r.client.CloseAllowingRebalance()
}
