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
	followMost  = 5 * time.Second // for one question
	followStart = time.Minute     // for the first answer of a server
)

// follow knows which version of its config is in force for each stream, by the
// control store. Only `up` and `role` go by versions: other commands run the files
// that they are given.
type follow struct {
	control string // "" where nothing is followed
	warn    io.Writer
	meter   *Configs

	db    *sqldb.DB
	store *streamconf.Store
	asked time.Time
	last  int64 // activation
	down  bool  // it was said that the store does not answer
	ran   map[string]int64

	mu  sync.Mutex
	all map[string]streamconf.Wanted
}

// follow reads what is in force. A process that cannot know it does not start: by
// its files it might do what a version is there to prevent.
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
			_, _ = fmt.Fprintf(warn, "%v: it is tried again\n", err) // a hint
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
		_ = f.db.Close() // every change is committed before
	}
}

// of returns what is in force for a stream, if a version ever was.
func (f *follow) of(stream string) (streamconf.Wanted, bool) {
	if f == nil {
		return streamconf.Wanted{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	w, is := f.all[stream]
	return w, is
}

// read asks the store once. A local one is not made.
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

// look asks the store when that is due, and notes what runs. While it does not
// answer all stays as it is.
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
		_, _ = fmt.Fprintf(f.warn, "%v: streams stay as they are; it is tried again\n", err) // a hint
	}
	f.down = err != nil
}

// Configs are the metrics of what streams run by.
type Configs struct {
	mu      sync.Mutex
	metrics service.MetricsExporter
	told    []status.Config
}

// Meter takes what serves the metrics of the process.
func (c *Configs) Meter(m service.MetricsExporter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.metrics = m
	m.NewGaugeCtor("weir_config_valid")().Set(1)
}

// read is what the metrics of the process say; false where nobody serves them who
// can be asked.
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

// tell sets the metrics.
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

// series is an exporter that forgets.
type series interface {
	DeleteSeriesPartialMatch(labels map[string]string)
}
