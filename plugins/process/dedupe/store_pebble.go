package dedupe

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"weir/internal/platform/calls"
)

// pebbleStore keeps claims in a folder.
//
// One goroutine owns the claims: it decides and applies the requests of all
// streams together, a second one waits for the disk and answers. So requests
// that arrive during a sync share the next one, and no answer is given before
// the claims it rests on are synced. A crash leaves the claims that were
// answered, and perhaps some that were not: their events are redelivered with
// the same coordinates and pass.
type pebbleStore struct {
	fs       vfs.FS
	path     string
	ttl      time.Duration
	log      logger
	meter    *calls.Meter // nil: none
	now      func() time.Time
	sweep    time.Duration // between two looks for expired claims
	requests chan *request
	stop     chan struct{}
	once     sync.Once
	start    sync.Once
	done     sync.WaitGroup
	ready    atomic.Bool
	files    *files // of the owner goroutine; nil until it is open
	learning <-chan learned
	closeErr error
}

type request struct {
	claims []claim
	err    error
	done   chan struct{}
}

// written is a group of requests that is applied but not yet synced.
type written struct {
	batch    *pebble.Batch // nil: nothing new to sync
	requests []*request
}

// groupMost bounds the claims that share one commit.
const groupMost = 32 << 10

func newPebble(fs vfs.FS, path string, ttl time.Duration, log logger) *pebbleStore {
	return &pebbleStore{
		fs: fs, path: path, ttl: ttl, log: log, now: time.Now,
		sweep:    min(max(ttl/16, 10*time.Millisecond), time.Minute),
		requests: make(chan *request), stop: make(chan struct{}),
	}
}

var errClosed = errors.New("claiming events: the claims store is closed")

func (p *pebbleStore) open(ctx context.Context) error {
	if p.ready.Load() {
		return nil
	}
	return p.claim(ctx, nil)
}

func (p *pebbleStore) claim(ctx context.Context, claims []claim) error {
	began := time.Now()
	err := p.ask(ctx, claims)
	if len(claims) > 0 && !errors.Is(err, context.Canceled) && !errors.Is(err, errClosed) { // else nobody waits any more
		p.meter.Note(callClaim, began, err)
	}
	return err
}

// ask has the owner decide.
func (p *pebbleStore) ask(ctx context.Context, claims []claim) error {
	p.start.Do(func() { p.done.Go(p.own) })
	r := &request{claims: claims, done: make(chan struct{})}
	select {
	case p.requests <- r:
	case <-p.stop:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// own runs until the store is closed.
func (p *pebbleStore) own() {
	unsynced := make(chan written, 1)
	var syncer sync.WaitGroup
	syncer.Go(func() {
		for w := range unsynced {
			w.answer()
		}
	})
	defer func() {
		close(unsynced)
		syncer.Wait()
		if p.files != nil {
			p.closeErr = p.files.close()
		}
	}()
	tick := time.NewTicker(p.sweep)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			if p.files != nil {
				p.files.expire(p.now())
			}
		case l := <-p.learning:
			p.files.know(l)
		case r := <-p.requests:
			w, err := p.decide(p.gather(r))
			if err != nil {
				for _, r := range w.requests {
					r.err = err
					close(r.done)
				}
				continue
			}
			unsynced <- w
		}
	}
}

// gather adds the requests that are already waiting.
func (p *pebbleStore) gather(first *request) []*request {
	group, n := []*request{first}, len(first.claims)
	for n < groupMost {
		select {
		case r := <-p.requests:
			group, n = append(group, r), n+len(r.claims)
		default:
			return group
		}
	}
	return group
}

func (p *pebbleStore) decide(group []*request) (written, error) {
	w := written{requests: group}
	if p.files == nil {
		f, err := openFiles(p.fs, p.path, p.ttl, p.log)
		if err != nil {
			return w, err
		}
		p.files = f
		p.ready.Store(true)
	}
	var err error
	w.batch, err = p.files.decide(p.now(), group)
	if p.learning == nil {
		p.learning = p.files.learn(p.stop)
	}
	return w, err
}

func (w written) answer() {
	var err error
	if w.batch != nil {
		if err = w.batch.SyncWait(); err == nil {
			err = w.batch.Close()
		}
	}
	for _, r := range w.requests {
		r.err = err
		close(r.done)
	}
}

func (p *pebbleStore) close() error {
	p.once.Do(func() { close(p.stop) })
	p.start.Do(func() {}) // nobody may start it any more
	p.done.Wait()
	return p.closeErr
}
