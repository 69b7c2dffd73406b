package raw

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

// Query says which events to read.
type Query struct {
	From, To time.Time // of the effective time, [From, To); zero is unbounded
	Fleet    string    // "" is every fleet
	Devices  []string  // none is every device
	Metric   string    // only events that have it; "" is all
	Missed   string    // only events for which this look-up failed; "" is all
	After    *Position // only events behind it in the order of reading
	Since    time.Time // only events of objects that have some written since; zero is unbounded
	Parallel int       // slices of time read at once; 0 is one per core
	// Left is how many rows may be decoded still, wanted or not, and is counted down; nil
	// is unbounded. Slices are read ahead.
	Left *atomic.Int64
}

// ErrTooMany ends a scan that would decode more rows than it may.
var ErrTooMany = errors.New("the query reads more rows than it may")

// Position is a place in the order in which events are read: by hour, device,
// time, delivery, id. It means the same whatever objects the events lie in, so
// it outlives compaction: it serves as a cursor and as a checkpoint.
type Position struct {
	Device   string            `json:"d"`
	At       int64             `json:"a"` // microseconds since 1970
	Delivery event.Coordinates `json:"c"`
	ID       [16]byte          `json:"i"`
}

// PositionOf returns a row's place.
func PositionOf(r *Row) Position {
	return Position{Device: strings.Clone(r.Device), At: r.At, ID: r.ID,
		Delivery: event.Coordinates{Topic: strings.Clone(r.Delivery.Topic), Partition: r.Delivery.Partition,
			Offset: r.Delivery.Offset}}
}

// before tells whether the row, of the position's hour, comes behind it.
func (p *Position) before(r *Row) bool {
	at := Row{Device: p.Device, At: p.At, Delivery: p.Delivery, ID: p.ID}
	return at.before(r) < 0
}

// Stats tells what a scan has read, and what it could skip.
type Stats struct {
	Objects        int64 // opened
	DaysSkipped    int64 // by their folders' names
	ObjectsSkipped int64 // by their own names, in the days that were listed
	Groups         int64 // row groups read
	GroupsSkipped  int64 // by statistics or bloom filters
	BloomSkipped   int64 // devices that a bloom filter ruled out
	Rows           int64 // decoded
	Repeats        int64 // rows of a delivery that was stored twice
	Events         int64 // handed on
}

func (s *Stats) add(o Stats) {
	s.Objects += o.Objects
	s.DaysSkipped += o.DaysSkipped
	s.ObjectsSkipped += o.ObjectsSkipped
	s.Groups += o.Groups
	s.GroupsSkipped += o.GroupsSkipped
	s.BloomSkipped += o.BloomSkipped
	s.Rows += o.Rows
	s.Repeats += o.Repeats
	s.Events += o.Events
}

// Reader reads a raw store.
type Reader struct {
	store *lake.Store
	fanIn int
}

// NewReader makes a reader of a store.
func NewReader(store *lake.Store) *Reader { return &Reader{store: store, fanIn: lake.FanIn} }

// errStop ends a scan early, without error.
var errStop = errors.New("stop")

// Scan calls each with the events of the query, each once, in the order of
// Position: hour by hour, within an hour by device and time. A row is valid
// until each returns. Memory is bounded by the objects of an hour, not by the
// query. Hours are read ahead in parallel.
func (r *Reader) Scan(ctx context.Context, q Query, each func(*Row) error) (Stats, error) {
	var total Stats
	devices := slices.Clone(q.Devices)
	slices.Sort(devices)
	q.Devices = slices.Compact(devices)
	var last *Row
	for try := 0; ; try++ {
		var refused error
		stats, err := r.scan(ctx, q, func(row *Row) error {
			if refused = each(row); refused == nil {
				last = row
			}
			return refused
		})
		total.add(stats)
		if refused != nil || !errors.Is(err, lake.ErrNotFound) || try == replans {
			return total, err
		}
		// Compaction put an object's rows elsewhere: look again, from where we are.
		if last != nil {
			at := PositionOf(last)
			q.After = &at
		}
	}
}

// replans is how often a scan looks for its objects anew.
const replans = 5

func (r *Reader) scan(ctx context.Context, q Query, each func(*Row) error) (Stats, error) {
	var total Stats
	from := q.From
	if q.After != nil {
		if hour := time.UnixMicro(hourOf(q.After.At)); from.Before(hour) {
			from = hour
		}
	}
	objects, passed, err := r.store.Choose(ctx, lake.Select{From: from, To: q.To, WrittenSince: q.Since})
	total.DaysSkipped, total.ObjectsSkipped = passed.Days, passed.Objects
	if err != nil {
		return total, err
	}
	hours := plan(objects, from, q.To)
	if q.Parallel <= 0 {
		q.Parallel = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	running := make(chan *slice, max(0, q.Parallel-2)) // one more is being drained, one waits to be
	go func() {
		defer close(running)
		for _, h := range hours {
			s := r.start(ctx, q, h)
			select {
			case running <- s:
			case <-ctx.Done():
				return
			}
		}
	}()
	for s := range running {
		for rows := range s.out {
			for _, row := range rows {
				if err := each(row); errors.Is(err, errStop) {
					cancel()
					for range s.out { // until it has stopped, and its counts stand
					}
					total.add(s.stats)
					return total, nil
				} else if err != nil {
					return total, err
				}
				total.Events++
			}
		}
		total.add(s.stats)
		if s.err != nil {
			return total, s.err
		}
	}
	return total, ctx.Err()
}

// slice is one hour that is being read.
type slice struct {
	out   chan []*Row
	err   error // valid once out is closed
	stats Stats
}

// rowsAhead is how many rows are handed over at a time.
const rowsAhead = 512

func (r *Reader) start(ctx context.Context, q Query, h hour) *slice {
	s := &slice{out: make(chan []*Row, 4)}
	go func() {
		defer close(s.out)
		var rows []*Row
		flush := func() error {
			select {
			case s.out <- rows:
				rows = nil
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		s.err = r.merge(ctx, q, h, &s.stats, func(row *Row) error {
			if rows == nil {
				rows = make([]*Row, 0, rowsAhead)
			}
			if rows = append(rows, row); len(rows) == rowsAhead {
				return flush()
			}
			return nil
		})
		if s.err == nil && len(rows) > 0 {
			s.err = flush()
		}
	}()
	return s
}

const hourMicros = int64(time.Hour / time.Microsecond)

// hourOf rounds a time down to its hour.
func hourOf(micros int64) int64 {
	h := micros % hourMicros
	if h < 0 {
		h += hourMicros
	}
	return micros - h
}

// hour is an hour of effective time and the objects that may have rows of it.
type hour struct {
	from, to int64
	objects  []lake.Object
}

// plan lists the hours that have objects, in order.
func plan(objects []lake.Object, from, to time.Time) []hour {
	by := map[int64]*hour{}
	for _, o := range objects {
		first, last := o.Min.UnixMicro(), o.Max.UnixMicro()
		if !from.IsZero() {
			first = max(first, from.UnixMicro())
		}
		if !to.IsZero() {
			last = min(last, to.UnixMicro()-1)
		}
		for h := hourOf(first); h <= last; h += hourMicros {
			if by[h] == nil {
				by[h] = &hour{from: h, to: h + hourMicros}
			}
			by[h].objects = append(by[h].objects, o)
		}
	}
	out := make([]hour, 0, len(by))
	for _, h := range by {
		if !from.IsZero() {
			h.from = max(h.from, from.UnixMicro())
		}
		if !to.IsZero() {
			h.to = min(h.to, to.UnixMicro())
		}
		out = append(out, *h)
	}
	slices.SortFunc(out, func(a, b hour) int { return int(a.from/hourMicros - b.from/hourMicros) })
	return out
}

// merge reads one hour: all its objects at once, each in its order, so that
// rows of one delivery that lie in several objects meet and count once.
func (r *Reader) merge(ctx context.Context, q Query, h hour, stats *Stats, each func(*Row) error) (err error) {
	w := &wanted{from: h.from, to: h.to, fleet: q.Fleet, metric: q.Metric, missed: q.Missed, left: q.Left}
	if len(q.Devices) > 0 {
		w.devices = q.Devices
	}
	if q.After != nil && hourOf(q.After.At) == hourOf(h.from) {
		w.after = q.After
	}
	store, release, err := r.reduce(ctx, &h, w, stats)
	if err != nil {
		return err
	}
	defer release()
	m := &merger{}
	defer func() { err = errors.Join(err, m.close()) }()
	chunk := min(max(4096/max(len(h.objects), 1), 32), 1024)
	for _, o := range h.objects {
		stats.Objects++
		c, err := openCursor(ctx, store, o, w, chunk, stats)
		if err != nil {
			return fmt.Errorf("opening %s: %w", o.Key, err)
		}
		if c != nil {
			if err := m.add(c); err != nil {
				return err
			}
		}
	}
	var last *Row
	for {
		row, err := m.next()
		if row == nil || err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if last != nil && last.same(row) {
			stats.Repeats++
			continue
		}
		if err := each(row); err != nil {
			return err
		}
		last = row
	}
}
