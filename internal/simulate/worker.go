package simulate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// worker is one connection and the devices behind it.
type worker struct {
	conf    Config
	plan    workerPlan
	start   time.Time
	tally   *tally
	journal *journal
	client  *client
	model   *model
	real    version // firmware of the series' devices
	random  source
	clock   clock

	body    []byte
	items   []item
	lines   []byte // journal lines of the request
	sent    int64  // events sent
	turn    int    // number of simulated events, which determines the next device
	reading int    // index of the next reading
	recent  ring   // events that may be sent again as duplicates
}

// item is one event of a request.
type item struct {
	seq        int64
	kind       Kind
	start, end int // offsets in the body
}

func newWorker(conf Config, p workerPlan, start time.Time, t *tally, j *journal) (*worker, error) {
	c, err := newClient(conf)
	if err != nil {
		return nil, err
	}
	mixed := conf.Firmware
	if len(mixed) == 0 {
		mixed = []Firmware{{Version: "2.1.0", Weight: 1}}
	}
	w := &worker{
		conf: conf, plan: p, start: start, tally: t, journal: j, client: c,
		model:  newModel(conf.Seed, conf.Prefix, mixed),
		random: source(mix(conf.Seed + uint64(p.index))),
	}
	w.real = versionOf(mixed[p.index%len(mixed)])
	w.real.readings = w.real.readings[1:] // without cpu_temp, which the series has
	return w, nil
}

// ErrKey says that the gate accepts nothing with the run's key; it ends the run.
var ErrKey = errors.New("the gate does not know the key: make one with 'weir keys create --fleet NAME', or look " +
	"whether it is a key of this weir")

// masked returns the public part of a key.
func masked(key string) string {
	if prefix, _, is := strings.Cut(strings.TrimPrefix(key, "weir_"), "_"); is && strings.HasPrefix(key, "weir_") {
		return "key " + prefix
	}
	return "something that has not the form of a key"
}

// run sends the plan's requests, each when it is due. It fails only when the journal cannot be written or the gate
// never accepted the key.
func (w *worker) run(ctx context.Context) error {
	defer w.client.close()
	for n := int64(0); ; n++ {
		due := w.plan.due(w.start, w.conf.Batch, n)
		if w.conf.Duration > 0 && due.Sub(w.start) >= w.conf.Duration {
			return nil
		}
		if !sleepUntil(ctx, due) {
			return nil
		}
		now := time.Now()
		if w.plan.rate == 0 {
			if due = now; w.conf.Duration > 0 && now.Sub(w.start) >= w.conf.Duration {
				return nil
			}
		}
		size := w.conf.Batch
		if w.plan.events >= 0 {
			size = int(min(int64(size), w.plan.events-w.sent))
		}
		if w.build(size, now); len(w.items) == 0 {
			return nil
		}
		if err := w.exchange(ctx, due); err != nil {
			return err
		}
	}
}

// exchange sends the built request until it has a verdict or retrying is pointless or out of time.
func (w *worker) exchange(ctx context.Context, due time.Time) error {
	giveUp := time.Now().Add(w.conf.RetryFor)
	for attempt := 1; ; attempt++ {
		sent := time.Now()
		if err := w.writeSent(attempt, sent); err != nil {
			return err
		}
		w.tally.sending(len(w.items), attempt)
		a := w.client.post(w.body, len(w.items))
		at := time.Now()
		if err := w.writeVerdicts(a, attempt, at); err != nil {
			return err
		}
		if a.status == http.StatusUnauthorized || a.status == http.StatusForbidden {
			if w.tally.accepted.Load()+w.tally.rejected.Load() == 0 {
				w.tally.settle(a, w.items, due.Sub(w.start) >= w.conf.Warmup, at.Sub(due), at.Sub(sent))
				return fmt.Errorf("%w (%d, with %s)", ErrKey, a.status, masked(w.conf.Key))
			}
		}
		if w.conf.Retry && a.retryable() && ctx.Err() == nil {
			again := at.Add(backoff(a, attempt))
			if again.Before(giveUp) {
				w.tally.again(a, len(w.items))
				if sleepUntil(ctx, again) {
					continue
				}
			}
		}
		w.tally.settle(a, w.items, due.Sub(w.start) >= w.conf.Warmup, at.Sub(due), at.Sub(sent))
		return nil
	}
}

// backoff returns how long to wait before a retry: what the gate asked for plus up to a fifth, so that a fleet does
// not return in one wave; or, when the gate asked for nothing, a random time that grows with the attempts.
func backoff(a *answer, attempt int) time.Duration {
	if a.retryAfter > 0 {
		return a.retryAfter + rand.N(a.retryAfter/5+1)
	}
	ceiling := min(100*time.Millisecond<<min(attempt-1, 6), 5*time.Second)
	return ceiling/2 + rand.N(ceiling/2)
}

func (w *worker) writeSent(attempt int, at time.Time) error {
	if w.conf.Journal == nil {
		return nil
	}
	w.lines = w.lines[:0]
	for _, it := range w.items {
		w.lines = appendSent(w.lines, it, attempt, at, w.body[it.start:it.end])
	}
	return w.journal.write(w.lines)
}

func (w *worker) writeVerdicts(a *answer, attempt int, at time.Time) error {
	if w.conf.Journal == nil {
		return nil
	}
	w.lines = w.lines[:0]
	for i, it := range w.items {
		w.lines = appendVerdict(w.lines, it, attempt, at, w.body[it.start:it.end], a, a.of(i))
	}
	return w.journal.write(w.lines)
}

// sleepUntil waits until t. It returns false when ctx ends first.
func sleepUntil(ctx context.Context, t time.Time) bool {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
