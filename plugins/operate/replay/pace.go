package replay

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	parcelsASecond = 20 // of a job that makes way: even, and enough answers to judge by
	parcelLeast    = 10 // events
	behindPause    = 200 * time.Millisecond
)

// pace keeps a job to what it may read a second, and waits for the consumers
// that it is for.
type pace struct {
	most    int // events a second of this job
	targets []string
	behind  int64 // records that a group may be behind
	jobs    func() int64
	yield   *yield
	watcher *watcher // nil: nobody is waited for

	next  time.Time
	mu    sync.Mutex
	waits string
}

func (in *input) pace(j *Job) *pace {
	p := &pace{most: in.rate, behind: int64(in.behind), jobs: in.busy.Load, yield: in.yield, watcher: in.watcher}
	if j.Rate > 0 {
		p.most = j.Rate
	}
	if j.Mode != Rebuild && j.Mode != Enrich && !j.DryRun { // others publish nothing
		p.targets = j.targets()
	}
	return p
}

// rate is how many events a second the job may read now.
func (p *pace) rate() (rate float64, yields bool) {
	rate, yields = p.yield.allowed()
	return min(float64(p.most), rate/float64(max(p.jobs(), 1))), yields
}

// parcel is how many events to publish at once: a batch, or fewer and more
// often beside live traffic.
func (p *pace) parcel(batch int) int {
	rate, yields := p.rate()
	if !yields {
		return batch
	}
	return min(max(int(rate/parcelsASecond), parcelLeast), batch)
}

// second is how many events to take at once of what publishes nothing: a rebuild, an
// enrich.
func (p *pace) second(most int) int {
	rate, yields := p.rate()
	if !yields {
		return most
	}
	return min(int(rate), most)
}

// wait returns when n more events may go.
func (p *pace) wait(ctx context.Context, n int) error {
	if p.watcher != nil {
		for {
			group, records := p.watcher.furthest(p.targets)
			if records < p.behind {
				break
			}
			p.note(fmt.Sprintf("waits for %s, which is %d replayed events behind", group, records))
			if err := sleep(ctx, behindPause); err != nil {
				return err
			}
		}
	}
	rate, yields := p.rate()
	if yields {
		p.note(fmt.Sprintf("makes way for live traffic: %.0f events a second", rate))
	} else {
		p.note("")
	}
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	due := p.next
	p.next = p.next.Add(time.Duration(float64(n) / rate * float64(time.Second)))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if due.Equal(now) {
		return nil
	}
	return sleep(ctx, time.Until(due))
}

func (p *pace) note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waits = text
}

// held says what the job makes way or waits for, for those who watch.
func (p *pace) held() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waits
}

// rest notes that the job waits for nothing any more.
func (p *pace) rest() { p.note("") }
