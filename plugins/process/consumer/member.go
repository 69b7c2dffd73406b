package consumer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/internal/platform/kafka"
)

// assigned begins partitions that this member gets. The client keeps a pause from an earlier assignment, so it is
// lifted.
func (r *reader) assigned(_ context.Context, client *kgo.Client, come map[string][]int32) {
	r.flow.Lock()
	defer r.flow.Unlock()
	client.ResumeFetchPartitions(come)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(come)
	for topic, numbers := range come {
		for _, number := range numbers {
			p := newPartition(topic, number, &r.texts)
			p.moved = time.Now()
			r.mine[kafka.Partition{Topic: topic, Number: number}] = p
			r.order = append(r.order, p)
		}
	}
}

// revoked gives partitions back: it waits for batches in progress, up to revokeWait, and commits what is acknowledged.
// What is acknowledged later is not committed, because another member has the partition by then and reads it again.
func (r *reader) revoked(_ context.Context, _ *kgo.Client, leaving map[string][]int32) {
	late := time.NewTimer(revokeWait)
	defer late.Stop()
	for waiting := true; waiting; {
		r.mu.Lock()
		under := 0
		for _, p := range r.of(leaving) {
			p.leave()
			under += p.inFlight
		}
		if r.settles == nil {
			r.settles = make(chan struct{})
		}
		settles := r.settles
		r.mu.Unlock()
		if under == 0 {
			break
		}
		select {
		case <-settles:
		case <-late.C:
			waiting = false
		case <-r.stop.Done():
			waiting = false
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	r.tell(r.commit(ctx))
	r.lost(ctx, nil, leaving)
}

// lost forgets partitions that other members have already.
func (r *reader) lost(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(gone)
	r.nudge() // others may have waited for them
}

// of returns the partitions among some that this member has. The caller holds mu.
func (r *reader) of(some map[string][]int32) (found []*partition) {
	for topic, numbers := range some {
		for _, number := range numbers {
			if p := r.mine[kafka.Partition{Topic: topic, Number: number}]; p != nil {
				found = append(found, p)
			}
		}
	}
	return found
}

// forget drops partitions. The caller holds mu.
func (r *reader) forget(gone map[string][]int32) {
	for _, p := range r.of(gone) {
		p.leave()
		p.gone = true
		delete(r.mine, kafka.Partition{Topic: p.topic, Number: p.number})
		r.order = slices.DeleteFunc(r.order, func(o *partition) bool { return o == p })
	}
}

// commitAll commits once a second until the reader ends.
func (r *reader) commitAll() {
	tick := time.NewTicker(commitEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-r.stop.Done():
			return
		}
		ctx, cancel := context.WithTimeout(r.stop, commitTimeout)
		r.tell(r.commit(ctx))
		cancel()
	}
}

// tell logs, once, that commits keep failing.
func (r *reader) tell(err error) {
	r.commits.Lock()
	defer r.commits.Unlock()
	switch {
	case err == nil && r.failures >= commitPatient:
		r.log.Infof("group %s commits again", r.group)
		r.failures = 0
	case err == nil:
		r.failures = 0
	case r.stop.Err() == nil: // close commits once more
		if r.failures++; r.failures == commitPatient {
			r.log.Warnf("committing what group %s has settled: %v: trying again", r.group, r.cluster.Explain(err))
		}
	}
}

// commit commits what is settled. A partition whose commit fails stays dirty, so the next commit includes it.
func (r *reader) commit(ctx context.Context) error {
	r.commits.Lock()
	defer r.commits.Unlock()
	offsets := map[string]map[int32]kgo.EpochOffset{}
	var dirty []*partition
	r.mu.Lock()
	for _, p := range r.order {
		if !p.dirty() {
			continue
		}
		if offsets[p.topic] == nil {
			offsets[p.topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[p.topic][p.number] = p.settled
		dirty = append(dirty, p)
	}
	r.mu.Unlock()
	if len(dirty) == 0 {
		return nil
	}
	var failed error
	refused := map[kafka.Partition]bool{}
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				req.Topics[i].Partitions[j].Metadata = &r.note
			}
		}
		return nil
	})
	r.client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest,
		resp *kmsg.OffsetCommitResponse, err error) {
		if failed = err; err != nil {
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					refused[kafka.Partition{Topic: t.Topic, Number: p.Partition}] = true
					failed = fmt.Errorf("%s/%d: %w", t.Topic, p.Partition, err)
				}
			}
		}
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range dirty {
		if failed == nil || len(refused) > 0 && !refused[kafka.Partition{Topic: p.topic, Number: p.number}] {
			p.committed = offsets[p.topic][p.number]
		}
	}
	return failed
}
