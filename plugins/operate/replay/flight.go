package replay

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

// parcel is a sequence of events that a job has read: the messages to publish, and the position that is reached when
// they are settled.
type parcel struct {
	messages service.MessageBatch
	position json.RawMessage // nil: the position of the previous parcel
	read     int64
	bytes    int // the size of the messages
	skipped  int64
	refused  []string            // the reasons of those that failed before they were sent
	accounts map[string]*Account // enrich: the outcomes of look-ups
	// settle is called when the log has acknowledged the messages, with those that were refused on the way, by index.
	// nil: there is nothing to store.
	settle func(ctx context.Context, refused map[int]*event.Rejection) error
	// back is called with the reason when the stream has returned the messages, which are then emitted again. nil: it is
	// treated as an outage of the log.
	back func(why error)

	mode   Mode
	flight *flight
	done   bool // guarded by flight.mu
}

// emit returns the messages for one attempt, and their verdicts.
func (p *parcel) emit() (service.MessageBatch, *event.Verdicts) {
	verdicts := &event.Verdicts{}
	batch := make(service.MessageBatch, len(p.messages))
	for i, msg := range p.messages {
		batch[i] = msg.Copy()
		verdicts.Attach(batch[i], i)
	}
	return batch, verdicts
}

// flight has the parcels that a job has read and that are not settled, in the order of reading. The job's position and
// progress move when all parcels before are settled: a crash publishes at most those in flight again, with the same
// coordinates.
type flight struct {
	mu       sync.Mutex
	queue    []*parcel
	position json.RawMessage
	progress Progress
	gone     bool
	changed  chan struct{} // closed and replaced when the queue gets shorter
}

func newFlight(j *Job) *flight {
	return &flight{position: j.position, progress: j.Progress, changed: make(chan struct{})}
}

// add adds a parcel. One without messages counts as settled.
func (f *flight) add(p *parcel) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.flight = f
	f.queue = append(f.queue, p)
	if len(p.messages) == 0 {
		f.finish(p, nil)
	}
}

// settled marks a parcel as settled: the log has its messages, except the refused ones.
func (f *flight) settled(p *parcel, refused map[int]*event.Rejection) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.finish(p, refused)
}

func (f *flight) finish(p *parcel, refused map[int]*event.Rejection) {
	p.done = true
	if p.mode != Enrich { // enrich publishes nothing
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

// withdraw removes the parcel that was added last and not emitted.
func (f *flight) withdraw(p *parcel) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.queue); n > 0 && f.queue[n-1] == p {
		f.queue = f.queue[:n-1]
	}
}

// empty removes all parcels that are not settled: nobody waits for them any more.
func (f *flight) empty() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = nil
	close(f.changed)
	f.changed = make(chan struct{})
}

// abandon gives up the parcels in flight: the next runner of the job publishes them again.
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

// state returns the job's progress and position.
func (f *flight) state() (Progress, json.RawMessage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.progress, f.position
}

// count changes the progress.
func (f *flight) count(change func(*Progress)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.progress)
}
