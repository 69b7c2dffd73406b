package anomaly

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/sqldb"
)

const (
	// loadTimeout is how long a batch waits for the stores.
	loadTimeout = 5 * time.Second
	// loadPause is how long no request is sent to stores that have failed: meanwhile detection goes
	// on without them.
	loadPause = 10 * time.Second
	// loadChunk bounds the devices of one query.
	loadChunk = 2000
)

var errPaused = errors.New("the store failed a moment ago")

// stores opens the control store and the rollup store at first use. Without their URLs, detection
// begins from nothing.
type stores struct {
	res        *service.Resources
	controlURL string
	rollupsURL string
	timeout    time.Duration // how long a batch waits for them
	now        func() time.Time

	mu      sync.Mutex
	memory  *memory
	rollups *rollups
	tables  tables
	release []func()
	pause   time.Time // no request is sent before that
}

// open returns the configured stores; nil for one that is not configured.
func (s *stores) open(ctx context.Context) (*memory, *rollups, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now().Before(s.pause) {
		return nil, nil, errPaused
	}
	if s.controlURL != "" && s.memory == nil {
		db, release, err := sqldb.Shared(ctx, s.res, s.controlURL)
		if err != nil {
			return nil, nil, err
		}
		if err := db.Migrate(ctx, "anomaly", migrations()); err != nil {
			release()
			return nil, nil, err
		}
		s.memory, s.release = &memory{db, &s.tables}, append(s.release, release)
	}
	if s.rollupsURL != "" && s.rollups == nil {
		db, release, err := sqldb.Shared(ctx, s.res, s.rollupsURL)
		if err != nil {
			return nil, nil, err
		}
		s.rollups, s.release = &rollups{db, &s.tables}, append(s.release, release)
	}
	return s.memory, s.rollups, nil
}

func (s *stores) failed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause = s.now().Add(loadPause)
}

func (s *stores) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, release := range s.release {
		release()
	}
	s.release, s.memory, s.rollups = nil, nil, nil
}

// wanted is a device to load: its past before a time, or, if that is loaded already, only its
// baseline.
type wanted struct {
	key    deviceKey
	before int64 // microseconds
	past   bool
}

// load reads what is stored of devices. After an error it returns nothing, and the stores are
// paused.
func (s *stores) load(parent context.Context, want []wanted, t timing) (map[deviceKey]*known, error) {
	ctx, cancel := context.WithTimeout(parent, s.timeout)
	defer cancel()
	m, r, err := s.open(ctx)
	if err != nil {
		if !errors.Is(err, errPaused) && parent.Err() == nil {
			s.failed()
		}
		return nil, fmt.Errorf("opening what is known of devices: %w", err)
	}
	type group struct {
		fleet  string
		replay bool
	}
	groups := map[group][]wanted{}
	for _, w := range want {
		g := group{w.key.fleet, w.key.replay}
		groups[g] = append(groups[g], w)
	}
	found := make(map[deviceKey]*known, len(want))
	for g, list := range groups {
		for len(list) > 0 {
			chunk := list[:min(loadChunk, len(list))]
			list = list[len(chunk):]
			if err := loadGroup(ctx, m, r, g.fleet, g.replay, chunk, t, found); err != nil {
				if parent.Err() == nil {
					s.failed()
				}
				return nil, fmt.Errorf("reading what is known of devices: %w", err)
			}
		}
	}
	return found, nil
}

func loadGroup(ctx context.Context, m *memory, r *rollups, fleet string, replay bool, want []wanted, t timing,
	found map[deviceKey]*known) error {
	byDevice := make(map[string]*known, len(want))
	devices, past := make([]string, 0, len(want)), make([]string, 0, len(want))
	first, last := want[0].before, want[0].before
	for _, w := range want {
		k := &known{usualDay: -1}
		byDevice[w.key.device], found[w.key] = k, k
		devices = append(devices, w.key.device)
		if w.past && !replay {
			past = append(past, w.key.device)
			first, last = min(first, w.before), max(last, w.before)
		}
	}
	if m != nil {
		if err := m.devices(ctx, fleet, devices, byDevice); err != nil {
			return err
		}
		if len(past) > 0 { // the others have theirs already
			if err := m.alerts(ctx, fleet, past, byDevice); err != nil {
				return err
			}
		}
	}
	if r == nil || len(past) == 0 {
		return nil
	}
	if ok, err := r.ready(ctx); !ok || err != nil {
		return err
	}
	if err := r.recent(ctx, fleet, past, (first-t.span-t.width)/1e6, last/1e6+1, func(device string, m minute) {
		byDevice[device].minutes = append(byDevice[device].minutes, m)
	}); err != nil {
		return err
	}
	return r.since(ctx, fleet, past, func(device string, start int64) {
		if k := byDevice[device]; !k.stored {
			k.learningFrom = start * 1e6
		}
	})
}

// remember adds to a device its past: the window from rollups of the minutes before its first
// event, the baseline, and the open alerts.
func (d *device) remember(k *known, t timing, names *names) {
	if !d.loaded {
		d.open = append(d.open, k.open...)
		for i := range d.series {
			if s := &d.series[i]; s.active == nil { // one with a state was judged meanwhile: keep that
				d.reopen(s)
			}
		}
		for i := range k.minutes {
			d.relive(i, &k.minutes[i], t, names)
		}
	}
	d.loaded = true
	if !k.stored || d.learningFrom > k.learningFrom { // what is stored is of other firmware
		return
	}
	for metric, usual := range k.usual {
		if s := d.find(0, metric, names); s != nil {
			s.usual = usual
		}
	}
}

// reconcile decides since when a device learns, given what is stored of it and what this process
// has seen, perhaps while the store was down. It returns what has to be stored, if anything.
func (d *device) reconcile(k *known, relearn relearn) (l learn, changed bool) {
	switch {
	case !k.stored:
		if k.learningFrom != 0 {
			d.learningFrom = k.learningFrom
		}
		return learn{firmware: d.firmware, from: d.learningFrom}, d.firmware != ""
	case d.firmware == "":
		d.firmware, d.learningFrom = k.firmware, k.learningFrom
		d.follow(d.rules)
	case d.loaded:
		d.learningFrom = max(d.learningFrom, k.learningFrom)
	case relearn.voids(k.firmware, d.firmware):
		return learn{firmware: d.firmware, from: d.learningFrom, void: true}, true
	default:
		d.learningFrom = k.learningFrom
		return learn{firmware: d.firmware, from: d.learningFrom}, k.firmware != d.firmware
	}
	return learn{}, false
}

// relive adds a minute of the rollup store to the window, in the way in which take would have added
// its readings.
func (d *device) relive(i int, m *minute, t timing, names *names) {
	if m.lastAt >= d.firstAt || m.stats.n < 1 {
		return // its readings will be judged again
	}
	s := d.find(i, m.metric, names)
	if s == nil || !s.rules.score {
		return
	}
	bucket := t.bucket(m.start * 1e6)
	if !s.recent.at(bucket) {
		return
	}
	add := m.stats
	if recent := s.recent.stats(); recent.n >= 10 {
		add.mean, _ = clip(add.mean, recent, floors{Relative: 0.001}, clipBound)
	}
	s.recent.put(bucket, add)
	s.last = max(s.last, m.lastAt)
}
