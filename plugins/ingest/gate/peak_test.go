package gate

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Five times as much is sent as is processed. The gate refuses what it must: the
// backlog stays near its bound, everything accepted is processed in the end, and
// every device that honours Retry-After finishes.
func TestGate_PeakIsHeldBackAndFinishes(t *testing.T) {
	const (
		devices, batches, size = 30, 10, 20 // 6,000 events
		bound                  = 1500
		rate                   = 600 // events a second that are processed
	)
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "raw-events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	broker := c.ListenAddrs()[0]
	w := setup{
		gate: fmt.Sprintf(`    backpressure:
      seed_brokers: [ "%s" ]
      groups: [ weir-raw ]
      max_records: %d
      interval: 100ms`, broker, bound),
		output: fmt.Sprintf("kafka_franz:\n  seed_brokers: [ \"%s\" ]\n  topic: raw-events\n  max_in_flight: 64", broker),
	}.start(t)

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	var processed, worst atomic.Int64
	go process(ctx, t, broker, rate, &processed)
	go watch(ctx, t, broker, &worst)

	var refused, accepted atomic.Int64
	var fleet sync.WaitGroup
	for range devices {
		fleet.Go(func() {
			for range batches {
				for {
					r := w.send("POST", "/v1/events", "application/json", batchBody(size, ",", "[", "]"))
					if r.status == http.StatusAccepted {
						accepted.Add(size)
						break
					}
					after, err := strconv.Atoi(r.header.Get("Retry-After"))
					if r.status != http.StatusTooManyRequests || err != nil || after < 1 ||
						!strings.HasSuffix(r.Type, "backlog-full") {
						t.Errorf("%d, Retry-After %q: %s", r.status, r.header.Get("Retry-After"), r.body)
						return
					}
					refused.Add(1)
					select {
					case <-time.After(time.Duration(after) * time.Second):
					case <-ctx.Done():
						t.Error("a device does not finish")
						return
					}
				}
			}
		})
	}
	start := time.Now()
	fleet.Wait()
	took := time.Since(start)
	for processed.Load() < accepted.Load() && ctx.Err() == nil {
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("%d events in %v, %d requests refused, at most %d behind", accepted.Load(), took.Round(time.Second),
		refused.Load(), worst.Load())
	if accepted.Load() != devices*batches*size || processed.Load() != accepted.Load() {
		t.Errorf("%d accepted, %d processed", accepted.Load(), processed.Load())
	}
	if refused.Load() == 0 {
		t.Error("nothing was refused")
	}
	// Beside the bound there is what a busy machine takes in between two looks at
	// the backlog; a gate that held nothing back would be at nearly all of it.
	const overrun = 2
	if worst.Load() > bound*overrun+devices*size { // what was in flight when it was measured
		t.Errorf("%d records behind, of %d", worst.Load(), bound)
	}
}

// process is a slow consumer group.
func process(ctx context.Context, t *testing.T, broker string, rate int, processed *atomic.Int64) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics("raw-events"), kgo.ConsumerGroup("weir-raw"),
		kgo.DisableAutoCommit())
	if err != nil {
		t.Error(err)
		return
	}
	defer cl.Close()
	for ctx.Err() == nil {
		got := cl.PollRecords(ctx, rate/10)
		if got.NumRecords() == 0 {
			continue
		}
		time.Sleep(time.Duration(got.NumRecords()) * time.Second / time.Duration(rate))
		if err := cl.CommitRecords(ctx, got.Records()...); err == nil {
			processed.Add(int64(got.NumRecords()))
		}
	}
}

// watch keeps the largest backlog that there was.
func watch(ctx context.Context, t *testing.T, broker string, worst *atomic.Int64) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Error(err)
		return
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	for ctx.Err() == nil {
		if lags, err := admin.Lag(ctx, "weir-raw"); err == nil {
			if group := lags["weir-raw"]; group.Error() == nil {
				worst.Store(max(worst.Load(), group.Lag.Total()))
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
}
