package simulate

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// tally counts a run's events. Its atomic counters may be read while it runs.
type tally struct {
	sent, accepted, rejected, failed, retried atomic.Int64 // events

	mu       sync.Mutex
	requests int64
	outcomes map[outcome]int64
	answers  map[string]int64 // requests without verdicts, by reason
	breaches map[string]int64
	example  []string
	latency  *hdrhistogram.Histogram // from when the event was due
	response *hdrhistogram.Histogram // from when its request was sent
}

// outcome is the final result of an event.
type outcome struct {
	kind    Kind
	verdict Verdict
	code    string
}

func newTally() *tally {
	hist := func() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(time.Hour/time.Microsecond), 3) }
	return &tally{
		outcomes: map[outcome]int64{}, answers: map[string]int64{}, breaches: map[string]int64{},
		latency: hist(), response: hist(),
	}
}

func (t *tally) sending(events, attempt int) {
	if attempt == 1 {
		t.sent.Add(int64(events))
	} else {
		t.retried.Add(int64(events))
	}
}

// again records a request that will be sent again.
func (t *tally) again(a *answer, events int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
	t.answers[a.code]++
	if a.breach != "" {
		t.breach("answer", a.breach)
	}
}

// settle records the final answer of a request. Only events with a verdict count for the latencies, and only if
// timed.
func (t *tally) settle(a *answer, items []item, timed bool, latency, response time.Duration) {
	var accepted, rejected int64
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
	if a.breach != "" {
		t.breach("answer", a.breach)
	}
	for i, it := range items {
		e := a.of(i)
		t.outcomes[outcome{it.kind, e.verdict, e.code}]++
		switch {
		case e.verdict == verdictAccepted:
			accepted++
			if it.kind == kindMalformed {
				t.breach("malformed event accepted", fmt.Sprintf("sending %d", it.seq))
			}
		case e.verdict == verdictRejected:
			rejected++
			if it.kind != kindMalformed {
				t.breach("good event rejected", fmt.Sprintf("sending %d, %s: %s", it.seq, it.kind, e.code))
			}
		}
	}
	n := accepted + rejected
	switch {
	case n > 0 && timed: // the histogram ends at an hour: record longer times as that
		us := func(d time.Duration) int64 { return min(max(d.Microseconds(), 1), t.latency.HighestTrackableValue()) }
		_ = t.latency.RecordValues(us(latency), n)
		_ = t.response.RecordValues(us(response), n)
	case n == 0:
		t.answers[a.code]++
	}
	t.accepted.Add(accepted)
	t.rejected.Add(rejected)
	t.failed.Add(int64(len(items)) - n)
}

// breach records a violation of the gate's contract. The caller holds t.mu.
func (t *tally) breach(what, detail string) {
	t.breaches[what]++
	if len(t.example) < 10 {
		t.example = append(t.example, what+": "+detail)
	}
}
