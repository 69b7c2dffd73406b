package replay

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
	"weir/internal/platform/kafka"
)

const (
	watchPause = time.Second
	pingPause  = 50 * time.Millisecond
	watchMost  = 5 * time.Second
	liveFor    = 3 * time.Second // after its last event, traffic counts as live
)

// watcher sees in the log whether live events come in, and how far the
// consumers are behind with what jobs publish. When it cannot ask, what it last
// saw stands: a log that is down takes nothing from jobs either.
type watcher struct {
	cluster kafka.Cluster
	admin   *kadm.Client
	live    string            // the topic of live events
	topic   string            // that of replayed ones
	groups  map[string]string // target → consumer group
	busy    func() bool
	yield   *yield
	log     *service.Logger
	stopped sync.WaitGroup

	mu     sync.Mutex
	behind map[string]int64 // target → records of topic that are to be processed
}

func startWatcher(ctx context.Context, cluster kafka.Cluster, consumers []event.Consumer, live, topic string,
	busy func() bool, y *yield, log *service.Logger) (*watcher, error) {
	client, err := kgo.NewClient(cluster.Options("weir-replay-watch")...)
	if err != nil {
		return nil, fmt.Errorf("watching the log: %w", err)
	}
	w := &watcher{cluster: cluster, admin: kadm.NewClient(client), live: live, topic: topic, busy: busy, yield: y,
		log: log, groups: map[string]string{}}
	for _, c := range consumers {
		if c.Target != "" {
			w.groups[c.Target] = c.Group
		}
	}
	w.stopped.Go(func() { w.watch(ctx) })
	w.stopped.Go(func() { w.ping(ctx) })
	return w, nil
}

// close returns when the watcher has stopped; its context has ended before.
func (w *watcher) close() {
	w.stopped.Wait()
	w.admin.Close()
}

func (w *watcher) watch(ctx context.Context) {
	var end int64 = -1
	var grew time.Time
	failing := false
	for ; ctx.Err() == nil; _ = sleep(ctx, watchPause) { // when it ends, so does the loop
		busy := w.busy()
		now, err := w.look(ctx, busy)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !failing {
				w.log.Warnf("replays keep the pace they have: %v", w.cluster.Explain(err))
			}
			failing = true
			continue
		}
		failing = false
		if end < 0 { // one look tells of no growth
			end = now
			continue
		}
		if now > end {
			grew = time.Now()
		}
		end = now
		w.yield.step(time.Now(), time.Since(grew) < liveFor, busy)
	}
}

// look reads where the live topic ends, and, for busy processes, how far
// consumers are behind with replays.
func (w *watcher) look(ctx context.Context, busy bool) (end int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, watchMost)
	defer cancel()
	log := kafka.Positions{Admin: w.admin}
	live, err := log.Ends(ctx, w.live)
	if err != nil {
		return 0, err
	}
	for _, at := range live {
		end += at
	}
	if !busy {
		return end, nil
	}
	behind := map[string]int64{}
	for target, group := range w.groups { // before the ends: a group is never ahead of the log
		committed, err := log.Committed(ctx, group)
		if err != nil {
			return 0, err
		}
		for p, at := range committed {
			if p.Topic == w.topic {
				behind[target] -= at
			}
		}
	}
	replayed, err := log.Ends(ctx, w.topic)
	if err != nil {
		return 0, err
	}
	for target := range w.groups {
		for _, at := range replayed {
			behind[target] += at
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.behind = behind
	return end, nil
}

// ping asks the log something small while jobs make way for live traffic: for
// those that publish nothing, its answers tell what they do to it.
func (w *watcher) ping(ctx context.Context) {
	for ; ctx.Err() == nil; _ = sleep(ctx, pingPause) { // when it ends, so does the loop
		if _, yields := w.yield.allowed(); !yields || !w.busy() {
			continue
		}
		began := time.Now()
		if _, err := (kafka.Positions{Admin: w.admin}).Ends(ctx, w.live); err == nil {
			w.yield.saw(ping, time.Since(began))
		}
	}
}

// furthest returns which of the targets is furthest behind.
func (w *watcher) furthest(targets []string) (group string, records int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, target := range targets {
		if n := w.behind[target]; n > records {
			group, records = w.groups[target], n
		}
	}
	return group, records
}
