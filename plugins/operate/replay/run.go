package replay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"weir/internal/platform/jobs"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/kafka"
	"weir/plugins/operate/recount"
)

const (
	heartbeat   = time.Second      // between looks at what people want of a job
	parcelsMost = 16               // in flight for one job
	parcelBytes = 4 << 20          // a parcel is sent with the event that reaches this
	failuresMax = 6                // tries without progress before a job fails
	drainMost   = 20 * time.Second // wait for what is in flight when a job is held
)

var (
	errHeld    = errors.New("people have paused, resumed or cancelled the job")
	errStopped = errors.New("this process is stopping")
)

// tools are what a runner of jobs works with.
type tools struct {
	store   *Store
	owner   string
	out     chan<- *parcel
	batch   int
	topic   string
	settle  time.Duration
	upcast  *bloblang.Executor // nil: events are counted as they are stored
	log     *service.Logger
	events  events
	letters deadLetters
	logs    *kafka.Logs // nil without brokers
	rollups rollups
	later   laterStore // nil: this weir enriches nothing later
	looked  func(outcome string, n int64)
	schemas func(ctx context.Context) (recount.Schemas, error) // nil: metrics are known as they were when stored
}

// run is one job being run.
type run struct {
	tools
	job    *Job
	flight *flight
	pace   *pace
	today  recount.Schemas // of a rebuild

	mu sync.Mutex // guards job.Result
}

// found changes what the job has found out.
func (r *run) found(change func(*Result)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.job.Result)
}

// send hands a parcel to the stream when there is room and time for it.
func (r *run) send(ctx context.Context, p *parcel) error {
	if err := r.pace.wait(ctx, int(p.read)); err != nil {
		return err
	}
	if err := r.flight.below(ctx, parcelsMost); err != nil {
		return err
	}
	p.mode = r.job.Mode
	r.flight.add(p)
	if len(p.messages) == 0 {
		return nil
	}
	select {
	case r.out <- p:
		return nil
	case <-ctx.Done():
		r.flight.withdraw(p)
		return context.Cause(ctx)
	}
}

// carry runs the job until it ends, is held, or ctx ends, and lets go of it.
// What is saved then, another process goes on from.
func (r *run) carry(ctx context.Context) error {
	working, stop := context.WithCancelCause(ctx)
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		r.beat(working, stop)
	}()
	err := r.work(working)
	// What is in flight is waited for: then the position is exact. What the log
	// does not take in time is published again, under the same coordinates.
	patience := drainMost
	if ctx.Err() != nil { // the stream has stopped: nothing is acknowledged any more
		patience = 0
	}
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	drained := r.flight.below(draining, 1)
	cancel()
	r.flight.abandon()
	stop(errStopped)
	<-beating
	if errors.Is(err, jobs.ErrLost) {
		return err
	}
	state, reason := Done, ""
	switch {
	case errors.Is(err, errHeld), errors.Is(err, errStopped):
		state = Running // whoever takes it goes on
	case err != nil:
		state, reason = Failed, err.Error()
	case drained != nil:
		state = Running
	}
	r.pace.rest()
	if state == Done {
		r.flight.count(func(p *Progress) { p.Total = p.Read })
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), lease)
	defer cancel()
	if _, err := r.save(ending); err != nil {
		return err
	}
	return r.store.release(ending, r.owner, r.job, state, reason)
}

func (r *run) save(ctx context.Context) (State, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flight.count(func(p *Progress) { p.Held = r.pace.held() })
	progress, position := r.flight.state()
	return r.store.save(ctx, r.owner, r.job, progress, position)
}

// beat saves how far the job is, and stops the work when people want it held,
// or another process has the job.
func (r *run) beat(ctx context.Context, stop context.CancelCauseFunc) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	saved := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		saving, cancel := context.WithTimeout(ctx, lease)
		state, err := r.save(saving)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, jobs.ErrLost):
			stop(jobs.ErrLost)
			return
		case err != nil:
			if time.Since(saved) > lease {
				r.log.Warnf("replay %s is let go: %v", r.job.ID, err)
				stop(jobs.ErrLost)
				return
			}
		case state != Running:
			stop(errHeld)
			return
		default:
			saved = time.Now()
		}
	}
}

// work does the job, and tries again what an outage interrupts: a job fails
// when it has got nowhere several times in a row.
func (r *run) work(ctx context.Context) error {
	if err := r.survey(ctx); err != nil {
		r.log.Warnf("replay %s does not know how much there is to read: %v", r.job.ID, err)
	}
	for failures := 0; ; {
		before, _ := r.flight.state()
		err := r.try(ctx)
		switch {
		case err == nil:
			return r.flight.below(ctx, 1)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errPatch), errors.Is(err, errNoLookups), errors.Is(err, errUnended):
			return err // it stays as it is
		}
		if waited := r.flight.below(ctx, 1); waited != nil {
			return waited
		}
		if after, _ := r.flight.state(); after.Read > before.Read {
			failures = 0
		}
		if failures++; failures >= failuresMax {
			return err
		}
		r.log.Warnf("replay %s goes on from where it was, after: %v", r.job.ID, err)
		if err := sleep(ctx, time.Second<<failures); err != nil {
			return err
		}
	}
}

func (r *run) try(ctx context.Context) error {
	switch r.job.Mode {
	case Reprocess:
		return r.reprocess(ctx)
	case Rebuild:
		return r.rebuild(ctx)
	case Redrive:
		return r.redrive(ctx)
	case Enrich:
		return r.enrich(ctx)
	}
	return fmt.Errorf("running a replay: unknown mode %q", r.job.Mode)
}

// survey sets how much there is to read, for those who watch.
func (r *run) survey(ctx context.Context) error {
	if progress, _ := r.flight.state(); progress.Total > 0 || r.job.Mode == Redrive {
		return nil
	}
	size, err := r.events.Size(ctx, r.job.stored())
	if err != nil {
		return err
	}
	r.flight.count(func(p *Progress) { p.Total = size.Events })
	return nil
}
