package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gopkg.in/yaml.v3"

	"weir/internal/control/status"
	"weir/internal/platform/envyaml"
	"weir/internal/platform/prom"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/storeurl"
)

const (
	beatEvery   = 2 * time.Second
	beatMost    = 5 * time.Second  // timeout of one beat, and of leave
	rereadEvery = 30               // beats after which files are read again, since they may change
	beatSpan    = 10 * time.Second // time span of rates
)

// heart writes this process's status row while the engine runs.
type heart struct {
	row     status.Row
	control string
	metrics string   // URL of this process's metrics, "" for none
	files   []string // config files of the streams
	watch   *watch   // knows the configs in use
	own     *Configs // reads this process's metrics
	beats   int
	warn    io.Writer

	db     *sqldb.DB
	store  *status.Store
	past   []*status.Counts
	silent bool // an error was reported
}

// roleKey is the context key of the command that runs the engine, if it is not one of the engine's.
type roleKey struct{}

// beats writes the process's row periodically until the returned function is called, which deletes the row. Without a
// control store it does nothing.
func (d *distribution) beats(ctx context.Context, l launch, w *watch, warn io.Writer) (stop func()) {
	control := os.Getenv(envControl)
	if l.verb == "echo" || control == "" {
		return func() {}
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	role := l.verb
	if named, is := ctx.Value(roleKey{}).(string); is {
		role = named
	}
	address := opsOf(l)
	files := filesOf(l.configs)
	h := &heart{control: control, warn: warn, files: files, watch: w, own: d.configs,
		row: status.Row{ID: host + "/" + address, Host: host, PID: os.Getpid(),
			Version: d.version, Role: role, Streams: namesOf(files), StartedAt: time.Now().UTC()}}
	if address != "" {
		h.metrics = "http://" + reachable(address) + "/metrics"
	}
	beating, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var done sync.WaitGroup
	done.Go(func() { h.run(beating) })
	return func() { cancel(); done.Wait() }
}

func (h *heart) run(ctx context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	defer h.leave()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := h.beat(ctx)
		if err != nil && ctx.Err() == nil && !h.silent {
			_, _ = fmt.Fprintf(h.warn, "%v: who runs is not known until it can be; it is tried again\n", err) // a hint
		}
		h.silent = err != nil
	}
}

// beat writes the row once. It does not create a local control store.
func (h *heart) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beatMost)
	defer cancel()
	if h.store == nil {
		if path, err := storeurl.Path(h.control); strings.HasPrefix(h.control, "sqlite:") && err == nil {
			if _, err := os.Stat(path); err != nil {
				return nil
			}
		}
		db, err := sqldb.Open(ctx, h.control)
		if err != nil {
			return err
		}
		store, err := status.Open(ctx, db)
		if err != nil {
			_ = db.Close() // nothing was written
			return err
		}
		h.db, h.store = db, store
	}
	if h.beats++; h.beats%rereadEvery == 1 {
		h.row.Topology = topologyOf(h.files, h.watch.text)
	}
	h.row.Configs = h.watch.configs()
	h.count(ctx)
	return h.store.Beat(ctx, h.row)
}

// count reads this process's metrics into the row; on failure the row has none.
func (h *heart) count(ctx context.Context) {
	h.row.Counts, h.row.Before = nil, nil
	if h.metrics == "" {
		return
	}
	scrape, read := h.own.read(status.Wanted)
	if !read { // another exporter is configured
		var err error
		if scrape, err = prom.Get(ctx, http.DefaultClient, h.metrics, status.Wanted); err != nil {
			h.past = nil
			return
		}
	}
	now := status.Counted(scrape, time.Now().UTC())
	if len(h.past) > 0 {
		h.row.Before = h.past[0]
	}
	h.row.Counts = now
	h.past = append(h.past, now)
	for len(h.past) > 1 && now.At.Sub(h.past[0].At) > beatSpan-beatEvery/2 {
		h.past = h.past[1:]
	}
}

// leave deletes the row, so that a process that ends as asked does not count as gone.
func (h *heart) leave() {
	if h.store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), beatMost)
	defer cancel()
	_ = h.store.Leave(ctx, h.row) // on failure, others see the process as gone
	_ = h.db.Close()
}

// filesOf returns the config files of the streams.
func filesOf(configs []string) (all []string) {
	for _, path := range configs {
		files, err := configFiles([]string{path})
		if err != nil {
			continue // launch reports what is wrong
		}
		all = append(all, files...)
	}
	return all
}

// namesOf returns the names of the streams: their file names without extension.
func namesOf(files []string) (names []string) {
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)))
	}
	return names
}

// resolved decodes a config with its variables substituted, as far as possible. Errors are ignored, because the
// engine reports them.
func resolved(path string, read func(string) ([]byte, error), into any) {
	raw, err := read(path)
	if err != nil {
		return
	}
	parsed, err := envyaml.Parse(raw)
	if err != nil {
		return
	}
	scalars := parsed.Scalars()
	text := parsed.Text(func(n int) string {
		value, err := scalars[n].YAML(os.LookupEnv)
		if err != nil {
			return `""`
		}
		return value
	})
	_ = yaml.Unmarshal([]byte(text), into)
}

// opsOf returns the address of the process's metrics according to its configs and flags; "" if they are disabled.
func opsOf(l launch) string {
	config := l.main
	if l.verb == "run" && len(l.configs) == 1 {
		config = l.configs[0]
	}
	said := struct {
		HTTP struct {
			Address string
			Enabled *bool
		}
	}{}
	resolved(config, os.ReadFile, &said)
	for _, flag := range l.flags {
		if address, is := strings.CutPrefix(flag, "http.address="); is {
			said.HTTP.Address = address
		}
	}
	switch {
	case said.HTTP.Enabled != nil && !*said.HTTP.Enabled:
		return ""
	case said.HTTP.Address == "":
		return opsAddress
	}
	return said.HTTP.Address
}
