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
	After    *Position // only events after this position
	Since    time.Time // skips objects that were written before; zero is unbounded
	Parallel int       // hours read at once, at least two; 0 is one per core
	// Left is how many more rows may be decoded, wanted or not; the scan counts it down, also
	// for hours that it reads ahead. nil is unbounded.
	Left *atomic.Int64
}

// ErrTooMany ends a scan that would decode more rows than Query.Left allows.
var ErrTooMany = errors.New("the query reads more rows than it may")

// Position is a place in the order in which events are read: by hour, device, time,
// delivery, id. It does not depend on which objects hold the events, so it stays valid
// after compaction. It serves as a cursor and as a checkpoint.
type Position struct {
	Device   string            `json:"d"`
	At       int64             `json:"a"` // microseconds since 1970
	Delivery event.Coordinates `json:"c"`
	ID       [16]byte          `json:"i"`
}

// PositionOf returns the position of a row. It shares no memory with the row.
func PositionOf(r *Row) Position {
	return Position{Device: strings.Clone(r.Device), At: r.At, ID: r.ID,
		Delivery: event.Coordinates{Topic: strings.Clone(r.Delivery.Topic), Partition: r.Delivery.Partition,
			Offset: r.Delivery.Offset}}
}

// before reports whether the row comes after the position. Both must be of one hour.
func (p *Position) before(r *Row) bool {
	at := Row{Device: p.Device, At: p.At, Delivery: p.Delivery, ID: p.ID}
	return at.before(r) < 0
}

// Stats counts what a scan has read and what it has skipped.
type Stats struct {
	Objects        int64 // opened
	DaysSkipped    int64 // by the names of their folders
	ObjectsSkipped int64 // by their own names, in the folders that were listed
	Groups         int64 // row groups read
	GroupsSkipped  int64 // by statistics or bloom filters
	BloomSkipped   int64 // devices that a bloom filter ruled out
	Rows           int64 // decoded
	Repeats        int64 // rows left out because their delivery was stored twice
	Events         int64 // passed to the callback
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

// errStop is returned by a callback to end a scan early, without an error.
var errStop = errors.New("stop")

// Scan calls each with every event of the query, once, in the order of Position: hour by
// hour, and within an hour by device and time. A row is valid until each returns. Hours
// are read ahead in parallel; memory is bounded by the objects of those hours, not by the
// query.
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
		// Compaction replaced an object: list the objects again, and go on after the last row.
		if last != nil {
			at := PositionOf(last)
			q.After = &at
		}
	}
}

// replans is how often a scan lists its objects again.
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
	running := make(chan *slice, max(0, q.Parallel-2)) // one more is being drained, and one waits to be sent
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
					for range s.out { // until it has ended and its counts are final
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

// rowsAhead is how many rows are passed on at a time.
const rowsAhead = 512

// start reads an hour in a goroutine of its own, which ends with ctx.
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

// plan returns the hours that objects may have rows of, in order.
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

// merge reads one hour: all its objects at once, each in its own order, so that copies of
// a delivery that lie in several objects meet and count once.
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
