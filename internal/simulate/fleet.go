// Package simulate is a device simulator and measuring instrument: it posts events to a gate at a fixed rate, honours
// the gate's answers, and can write a journal from which the expected contents of the stores can be computed.
//
// The load is open loop: every request has a time at which it is due, and its
// latency counts from then, so that a slow server cannot hide its slowness by
// slowing the generator (no coordinated omission).
//
// Devices belong to connections: a connection sends one request at a time, so the events of a device leave in order,
// and a device that must retry later delays only the devices of its connection.
package simulate

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"
)

// maxBatch is the gate's maximum number of events in a request.
const maxBatch = 100

// Config is one run. The zero value of a field means what its comment says.
type Config struct {
	URL         string        // of the gate, without a path
	Key         string        // API key
	Devices     int           // simulated devices; 0 with Series replays those alone
	Prefix      string        // of simulated device ids; "" is "sim"
	Rate        float64       // events a second of all kinds; 0: as fast as answers arrive
	Duration    time.Duration // 0: until Events are sent or ctx ends
	Events      int64         // 0: until Duration is over
	Warmup      time.Duration // events due before this are left out of the latencies, but counted
	Batch       int           // events in a request
	Connections int
	Format      Format
	Firmware    []Firmware // versions and their weights
	Shares      Shares
	Series      []Series // real readings, each as a device
	SeriesSpeed float64  // seconds of series time per second; 0 spreads the series over the run
	Seed        uint64   // 0 picks one; the same seed makes the same ids and readings
	Timeout     time.Duration
	Retry       bool          // resend requests that were refused or not answered
	RetryFor    time.Duration // how long to retry one request
	Journal     io.Writer     // nil: none
	Progress    func(Progress)
}

// Progress reports a run while it runs. The counts are of events.
type Progress struct {
	Sent, Accepted, Rejected, Failed, Retried int64
	Planned                                   int64 // 0 when unknown
	Elapsed                                   time.Duration
	Done                                      bool // the last report
}

// Check returns what is wrong with the config.
func (c Config) Check() error {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return fmt.Errorf("URL %q: expected http://HOST:PORT or https://HOST:PORT", c.URL)
	case c.Key == "":
		return errors.New("no API key: make one with 'weir keys create --fleet NAME', then pass it in WEIR_KEY or --key")
	case c.Batch < 1 || c.Batch > maxBatch:
		return fmt.Errorf("batch of %d events: expected 1 to %d", c.Batch, maxBatch)
	case c.Connections < 1:
		return fmt.Errorf("%d connections: expected 1 or more", c.Connections)
	case c.Devices < 0, c.Rate < 0, c.Events < 0, c.Duration < 0, c.Warmup < 0, c.SeriesSpeed < 0:
		return errors.New("devices, rate, events, duration, warm-up and the speed of a series cannot be negative")
	case c.Devices == 0 && len(c.Series) == 0:
		return errors.New("nothing to send: expected devices, a series, or both")
	case c.Devices > 0 && len(c.Firmware) == 0:
		return errors.New("no firmware versions to simulate")
	case c.SeriesSpeed > 0 && c.Devices == 0 && c.Rate > 0:
		return errors.New("a series alone takes a speed or a rate, not both")
	case c.SeriesSpeed > 0 && c.Devices > 0 && c.Rate == 0:
		return errors.New("a series at a set speed beside simulated devices needs a rate for the whole")
	case c.Timeout <= 0:
		return errors.New("the timeout of a request must be positive")
	}
	return c.Shares.check()
}

// Run sends the events of a run and returns their outcomes. It ends when the plan or ctx is done, after waiting (up to
// the timeout) for running requests, so that each event sent has its verdict in the summary and the journal. With an
// error the summary is still valid for what was sent until then.
func Run(ctx context.Context, conf Config) (*Summary, error) {
	if err := conf.Check(); err != nil {
		return nil, err
	}
	if conf.Seed == 0 {
		conf.Seed = freshSeed()
	}
	if conf.Prefix == "" {
		conf.Prefix = "sim"
	}
	plans := plan(conf)
	tally := newTally()
	journal := newJournal(conf.Journal)
	start := time.Now()
	if err := journal.run(conf, start); err != nil {
		return nil, err
	}
	// An error of the journal ends the run: an unrecorded event would invalidate the check that reads the journal.
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var workers sync.WaitGroup
	for _, p := range plans {
		w, err := newWorker(conf, p, start, tally, journal)
		if err != nil {
			stop(err)
			break
		}
		workers.Go(func() {
			if err := w.run(ctx); err != nil {
				stop(err)
			}
		})
	}
	reporting := make(chan struct{})
	var reporter sync.WaitGroup
	if conf.Progress != nil {
		reporter.Go(func() { tally.report(conf, plans, start, reporting) })
	}
	workers.Wait()
	elapsed := time.Since(start)
	close(reporting)
	reporter.Wait()
	summary := tally.summary(conf, len(plans), elapsed)
	var err error
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) &&
		!errors.Is(cause, context.DeadlineExceeded) {
		err = cause
	}
	if jerr := journal.end(summary); err == nil {
		err = jerr
	}
	return summary, err
}

func (t *tally) report(conf Config, plans []workerPlan, start time.Time, done <-chan struct{}) {
	var planned int64
	for _, p := range plans {
		planned += max(p.events, 0)
	}
	if planned == 0 {
		planned = int64(conf.Rate * conf.Duration.Seconds())
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		last := false
		select {
		case <-done:
			last = true
		case <-tick.C:
		}
		conf.Progress(Progress{
			Sent: t.sent.Load(), Accepted: t.accepted.Load(), Rejected: t.rejected.Load(),
			Failed: t.failed.Load(), Retried: t.retried.Load(), Planned: planned, Elapsed: time.Since(start), Done: last,
		})
		if last {
			return
		}
	}
}

func freshSeed() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return binary.LittleEndian.Uint64(b[:]) | 1
}
