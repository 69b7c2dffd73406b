package replay

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

// parcel is a run of events that a job has read: those to publish, and the
// place that is reached when they are settled.
type parcel struct {
	messages service.MessageBatch
	position json.RawMessage // nil: that of the parcel before
	read     int64
	bytes    int // of what was read, as far as it is to be published
	skipped  int64
	refused  []string            // why, of those that failed before they were sent
	accounts map[string]*Account // enrich: what came of look-ups
	// settle is called when the log has acknowledged the messages, with those
	// that were refused on the way, by their index. nil: nothing is to be kept.
	settle func(ctx context.Context, refused map[int]*event.Rejection) error
	// back is called when the stream has given the messages back, with why; they are
	// emitted again. nil: that is an outage of the log.
	back func(why error)

	mode   Mode
	flight *flight
	done   bool // guarded by flight.mu
}

// emit returns the messages for one try, and the verdicts on them.
func (p *parcel) emit() (service.MessageBatch, *event.Verdicts) {
	verdicts := &event.Verdicts{}
	batch := make(service.MessageBatch, len(p.messages))
	for i, msg := range p.messages {
		batch[i] = msg.Copy()
		verdicts.Attach(batch[i], i)
	}
	return batch, verdicts
}

// flight is what a job has read and not settled yet, in the order of reading.
// The job's position and numbers move when all before it is settled: a crash
// publishes again at most what is in flight, under the same coordinates.
type flight struct {
	mu       sync.Mutex
	queue    []*parcel
	position json.RawMessage
	progress Progress
	gone     bool
	changed  chan struct{} // closed and made anew when the queue gets shorter
}

func newFlight(j *Job) *flight {
	return &flight{position: j.position, progress: j.Progress, changed: make(chan struct{})}
}

// add notes a parcel that is on its way. One without messages is settled.
func (f *flight) add(p *parcel) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.flight = f
	f.queue = append(f.queue, p)
	if len(p.messages) == 0 {
		f.finish(p, nil)
	}
}

// settled notes that the log has a parcel's messages, but for those refused.
func (f *flight) settled(p *parcel, refused map[int]*event.Rejection) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.finish(p, refused)
}

func (f *flight) finish(p *parcel, refused map[int]*event.Rejection) {
	p.done = true
	if p.mode != Enrich { // which publishes nothing
		f.progress.Published += int64(len(p.messages) - len(refused))
		for _, why := range refused {
			f.progress.because(why.Error())
		}
	}
	for len(f.queue) > 0 && f.queue[0].done {
		head := f.queue[0]
		f.queue = f.queue[1:]
		f.progress.Read += head.read
		f.progress.Skipped += head.skipped
		f.progress.account(head.accounts)
		for _, why := range head.refused {
			f.progress.because(why)
		}
		if head.position != nil {
			f.position = head.position
		}
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

// withdraw takes back the parcel that was added last, which was not emitted.
func (f *flight) withdraw(p *parcel) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.queue); n > 0 && f.queue[n-1] == p {
		f.queue = f.queue[:n-1]
	}
}

// empty takes back all that is not settled: nobody waits for it any more.
func (f *flight) empty() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = nil
	close(f.changed)
	f.changed = make(chan struct{})
}

// abandon gives up on what is in flight still: whoever takes the job up again
// publishes it again.
func (f *flight) abandon() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = true
}

func (f *flight) abandoned() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gone
}

// below waits until fewer than n parcels are in flight.
func (f *flight) below(ctx context.Context, n int) error {
	for {
		f.mu.Lock()
		count, changed := len(f.queue), f.changed
		f.mu.Unlock()
		if count < n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// state returns how far the job has come.
func (f *flight) state() (Progress, json.RawMessage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.progress, f.position
}

// count changes the numbers.
func (f *flight) count(change func(*Progress)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.progress)
}
