package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/status"
	"weir/internal/control/streamconf"
	"weir/internal/platform/prom"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/storeurl"
)

const (
	followEvery = 2 * time.Second
	followMost  = 5 * time.Second // timeout of one read
	followStart = time.Minute     // how long to wait for a server's first answer
)

// follow knows which version of each stream's config is in force, from the control store. Only `up` and `role` use
// versions; other commands run the files they are given.
type follow struct {
	control string // "": follow nothing
	warn    io.Writer
	meter   *Configs

	db    *sqldb.DB
	store *streamconf.Store
	asked time.Time
	last  int64 // seq of the last activation read
	down  bool  // an outage of the store was reported
	ran   map[string]int64

	mu  sync.Mutex
	all map[string]streamconf.Wanted
}

// follow reads what is in force, and fails if it cannot: a process that starts with its files instead might do what a
// version is meant to prevent.
func (d *distribution) follow(ctx context.Context, l launch, warn io.Writer) (*follow, error) {
	f := &follow{warn: warn, meter: d.configs, ran: map[string]int64{}}
	_, part := ctx.Value(roleKey{}).(string)
	if control := os.Getenv(envControl); part && l.watch && l.verb == "streams" {
		f.control = control
	}
	for began := time.Now(); ; {
		err := f.read(ctx)
		switch {
		case err == nil:
			return f, nil
		case strings.HasPrefix(f.control, "sqlite:") || time.Since(began) > followStart:
			return nil, fmt.Errorf("%w; nothing was started", err)
		case !f.down:
			f.down = true
			_, _ = fmt.Fprintf(warn, "%v: it is tried again\n", err) // only a hint
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(followEvery):
		}
	}
}

func (f *follow) close() {
	if f.db != nil {
		_ = f.db.Close() // every change is committed
	}
}

// of returns what is in force for a stream, false if no version ever was.
func (f *follow) of(stream string) (streamconf.Wanted, bool) {
	if f == nil {
		return streamconf.Wanted{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	w, is := f.all[stream]
	return w, is
}

// read reads the store once. It does not create a local store.
func (f *follow) read(ctx context.Context) error {
	f.asked = time.Now()
	if f.control == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, followMost)
	defer cancel()
	if f.store == nil {
		if path, err := storeurl.Path(f.control); strings.HasPrefix(f.control, "sqlite:") && err == nil {
			if _, err := os.Stat(path); err != nil {
				return nil
			}
		}
		db, err := sqldb.Open(ctx, f.control)
		if err != nil {
			return fmt.Errorf("reading which configs are in force: %w", err)
		}
		store, err := streamconf.Open(ctx, db)
		if err != nil {
			_ = db.Close() // nothing was written
			return err
		}
		f.db, f.store = db, store
	}
	last, err := f.store.Last(ctx)
	if err != nil || last == f.last {
		return err
	}
	all, err := f.store.Wanted(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.all = last, all
	return nil
}

// look reads the store if it is due, and records the versions that run. While the store does not answer, everything
// stays as it is.
func (f *follow) look(ctx context.Context, running func() map[string]int64) {
	if f == nil || f.control == "" || time.Since(f.asked) < followEvery {
		return
	}
	err := f.read(ctx)
	if f.store != nil && err == nil {
		for stream, number := range running() {
			if err != nil || f.ran[stream] == number {
				continue
			}
			if err = f.store.Ran(ctx, stream, number); err == nil {
				f.ran[stream] = number
			}
		}
	}
	if err != nil && ctx.Err() == nil && !f.down {
		_, _ = fmt.Fprintf(f.warn, "%v: streams stay as they are; it is tried again\n", err) // only a hint
	}
	f.down = err != nil
}

// Configs exports metrics about the config versions that streams run.
type Configs struct {
	mu      sync.Mutex
	metrics service.MetricsExporter
	told    []status.Config
}

// Meter sets the exporter of the process's metrics.
func (c *Configs) Meter(m service.MetricsExporter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.metrics = m
	m.NewGaugeCtor("weir_config_valid")().Set(1)
}

// read returns the metrics of this process, false if its exporter cannot be read directly.
func (c *Configs) read(want func(string) bool) (prom.Scrape, bool) {
	if c == nil {
		return prom.Scrape{}, false
	}
	c.mu.Lock()
	m := c.metrics
	c.mu.Unlock()
	own, is := m.(interface {
		Read(want func(string) bool) (prom.Scrape, error)
	})
	if !is {
		return prom.Scrape{}, false
	}
	scrape, err := own.Read(want)
	return scrape, err == nil
}

// tell updates the metrics.
func (f *follow) tell(all []status.Config) {
	if f == nil || f.meter == nil {
		return
	}
	c := f.meter
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.metrics == nil {
		return
	}
	if forgets, is := c.metrics.(series); is {
		for _, was := range c.told {
			forgets.DeleteSeriesPartialMatch(map[string]string{"config": was.Stream})
		}
	}
	valid := int64(1)
	for _, now := range all {
		if now.Wanted != now.Running || now.Problem != "" {
			valid = 0
		}
		c.metrics.NewGaugeCtor("weir_config_version_info", "config", "wanted", "running")(now.Stream,
			strconv.FormatInt(now.Wanted, 10), strconv.FormatInt(now.Running, 10)).Set(1)
	}
	c.metrics.NewGaugeCtor("weir_config_valid")().Set(valid)
	c.told = all
}

// series is an exporter that can delete series.
type series interface {
	DeleteSeriesPartialMatch(labels map[string]string)
}
