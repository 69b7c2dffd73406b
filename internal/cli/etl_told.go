package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"weir/internal/control/etlrun"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
	"weir/plugins/operate/etl"
)

const (
	heardEvery   = 10 * time.Second // interval of reports
	heardTimeout = 5 * time.Second  // timeout of one report
)

// toldRun reports a run's progress to a control store, for the console. It is a copy: an unreachable store is
// reported and does not end the run.
type toldRun struct {
	store *etlrun.Store
	say   func(line string)
	stop  chan struct{}
	done  sync.WaitGroup

	away atomic.Bool // the last report failed
	mu   sync.Mutex
	run  etlrun.Run
}

// tellRun starts reporting to the control store of --store or WEIR_CONTROL_URL, if any. The caller must call end with
// the run's result.
func tellRun(c *cli.Context, p *etl.Pipeline, o *etl.Options) (end func(*etl.Report, error) error, err error) {
	if c.String(flagStore) == "" && os.Getenv(envControl) == "" {
		return func(*etl.Report, error) error { return nil }, nil
	}
	url, err := controlURL(c)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("asking for the name of this machine: %w", err)
	}
	nobody := func(err error) (func(*etl.Report, error) error, error) {
		o.Tell(fmt.Sprintf("the control store is not told how the run goes, which begins: %v", err))
		return func(*etl.Report, error) error { return nil }, nil
	}
	db, err := sqldb.Open(c.Context, url)
	if err != nil {
		return nobody(err)
	}
	store, err := etlrun.Open(c.Context, db)
	if err != nil {
		return nobody(errors.Join(err, db.Close()))
	}
	t := &toldRun{store: store, say: o.Tell, stop: make(chan struct{}), run: etlrun.Run{Pipeline: p.Name, Host: host,
		State: etlrun.Running, Stream: p.Streaming(), Began: time.Now()}}
	watch := o.Watch
	o.Watch = func(now etl.Progress) {
		if watch != nil {
			watch(now)
		}
		t.heard(now)
	}
	t.done.Go(t.beat)
	return func(report *etl.Report, err error) error {
		close(t.stop)
		t.done.Wait()
		return errors.Join(t.end(report, err), db.Close())
	}, nil
}

// beat reports periodically, so that a killed run is recognised by its silence.
func (t *toldRun) beat() {
	tick := time.NewTicker(heardEvery)
	defer tick.Stop()
	for {
		select {
		case <-t.stop:
			return
		case <-tick.C:
			t.mu.Lock()
			run := t.run
			t.mu.Unlock() // the run must not wait for the store
			if run.Run != "" {
				t.put(run)
			}
		}
	}
}

// heard records the run's progress, and reports the first one at once.
func (t *toldRun) heard(now etl.Progress) {
	t.mu.Lock()
	first := t.run.Run != now.Run
	t.run.Run = now.Run
	t.count(now.Counts)
	if t.run.Stream && now.Unit != etl.UnitBytes {
		var lag int64
		for _, n := range now.Lag {
			lag += n
		}
		t.run.Lag = &lag
	}
	run := t.run
	t.mu.Unlock()
	if first {
		t.put(run)
	}
}

func (t *toldRun) count(c etl.Counts) {
	t.run.Read, t.run.Written, t.run.Rejected = c.Read, c.Written, c.Rejected
	t.run.LeftOut = c.Filtered + c.Dropped + c.Duplicates
}

// put reports to the store.
func (t *toldRun) put(run etlrun.Run) {
	ctx, cancel := context.WithTimeout(context.Background(), heardTimeout)
	defer cancel()
	run.Heard = time.Now()
	err := t.store.Put(ctx, run)
	if err != nil && !t.away.Load() {
		t.say(fmt.Sprintf("the control store is not told how the run goes, which goes on: %v", err))
	}
	t.away.Store(err != nil)
}

// end reports how the run ended. A failure to report does not change the run's result.
func (t *toldRun) end(report *etl.Report, failed error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case failed != nil:
		t.run.State, t.run.Error = etlrun.Failed, failed.Error()
		if t.run.Run == "" { // it failed before it had an id
			t.run.Run = t.run.Began.UTC().Format("20060102T150405.000000Z")
		}
	default:
		raw, err := text.JSON(report)
		if err != nil {
			return fmt.Errorf("telling how the run ended: %w", err)
		}
		t.run.State, t.run.Run, t.run.Report = etlrun.Done, report.Run, raw
		t.count(report.Counts)
	}
	t.put(t.run) // beat has ended, so nobody waits for the lock
	return nil
}
