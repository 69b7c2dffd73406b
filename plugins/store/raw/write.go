package raw

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"golang.org/x/sync/errgroup"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/flow"
	"weir/internal/platform/text"
	"weir/plugins/store/lake"
)

// uploads is how many objects of one batch are written at a time.
const uploads = 8

// scratch is the memory of one batch, which the next one reuses.
type scratch struct {
	places  []place
	event   event.Event // the one that is being read
	rows    []Row
	metrics metrics
}

// metrics holds the metrics of all rows of a batch, in few pieces of memory.
type metrics struct {
	chunks [][]event.Metric
	used   int
}

const metricsChunk = 8192

// keep returns a copy of an event's metrics, which is valid until reset.
func (m *metrics) keep(of []event.Metric) []event.Metric {
	for ; m.used < len(m.chunks); m.used++ {
		if c := m.chunks[m.used]; cap(c)-len(c) >= len(of) {
			c = append(c, of...)
			m.chunks[m.used] = c
			return c[len(c)-len(of) : len(c) : len(c)]
		}
	}
	c := append(make([]event.Metric, 0, max(metricsChunk, len(of))), of...)
	m.chunks = append(m.chunks, c)
	return c[:len(c):len(c)]
}

// reset drops the references to the messages' memory.
func (m *metrics) reset() {
	for i, c := range m.chunks {
		clear(c)
		m.chunks[i] = c[:0]
	}
	m.used = 0
}

// place is where a message is in the log.
type place struct {
	record, delivery event.Coordinates
	logged           bool
	elsewhere        bool      // first delivered in another log than the current one
	again            time.Time // when it was published again; zero if it was not
}

// WriteBatch stores a batch. When it returns nil, every event of the batch is durable in
// the store, was there before, is recorded there as a duplicate or as erased, or is
// replayed for other stores only. After an error some objects of the batch may be durable:
// each lists the records that it covers, so the retry skips those. A *service.BatchError
// names the messages that are not events; all others are stored.
func (o *output) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	if o.Memory == nil {
		return service.ErrNotConnected
	}
	now := o.now()
	w := writing{o: o, now: now, s: o.scratch(len(batch))}
	defer o.reuse(w.s)
	for i, msg := range batch {
		at := &w.s.places[i]
		at.record, at.delivery, at.logged = event.CoordinatesOf(msg)
		if _, log, again := event.FirstDelivery(msg); again {
			at.elsewhere, at.again = at.logged && log != "", event.LoggedAt(msg)
		}
	}
	spans := lake.SpansOf(len(batch), func(i int) (event.Coordinates, bool) {
		return w.s.places[i].record, w.s.places[i].logged
	})
	if err := o.Memory.Prepare(ctx, now, spans); err != nil {
		return err
	}
	w.tombstones = o.Memory.Tombstones()
	if err := w.recall(ctx, batch); err != nil {
		return err
	}
	var loop flow.Yielder
	for i, msg := range batch {
		if i%64 == 0 {
			loop.Yield()
		}
		if err := w.add(ctx, i, msg); err != nil {
			return err
		}
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	if !w.oldest.IsZero() {
		o.count.freshness.Timing(o.now().Sub(w.oldest).Nanoseconds())
	}
	o.count.rows.Incr(int64(w.stored))
	o.count.duplicates.Incr(w.duplicates)
	o.count.recognised.Incr(w.recognised)
	o.count.untargeted.Incr(w.untargeted)
	o.count.erased.Incr(w.erased)
	return w.rejections(batch)
}

// writing is the state of one WriteBatch.
type writing struct {
	o        *output
	now      time.Time
	s        *scratch
	stored   int
	settled  lake.Collector // records without a row: duplicates and erased events
	rejected map[int]error

	tombstones *tombstone.Set
	had        map[identity]event.Coordinates // events first delivered in older logs, and the records that have their rows

	oldest       time.Time // when the oldest live event with a row was received
	receivedText string    // the header of the previous event; received is its time
	received     time.Time

	duplicates, recognised, untargeted, erased int64
}

// receivedAt is event.ReceivedAt. It parses the time once for events of one request.
func (w *writing) receivedAt(msg *service.Message) time.Time {
	if at := event.Meta(msg, event.HeaderReceivedAt); at != w.receivedText {
		w.received, _ = text.ParseTime(at)
		w.receivedText = at
	}
	return w.received
}

func (w *writing) add(ctx context.Context, i int, msg *service.Message) error {
	at := &w.s.places[i]
	record, delivery, logged := at.record, at.delivery, at.logged
	received := w.receivedAt(msg)
	if logged {
		since := received
		if !at.again.IsZero() { // published again, long after it was received
			since = at.again
		}
		if w.o.Memory.Has(record, since) || record != delivery && w.o.Memory.Has(delivery, received) {
			w.recognised++
			return nil
		}
		if of := event.Meta(msg, event.MetaDuplicateOf); of != "" {
			canonical, err := event.ParseCoordinates(of)
			if err != nil {
				return fmt.Errorf("reading metadata %s: %w", event.MetaDuplicateOf, err)
			}
			w.settled.Duplicate(record, canonical)
			w.duplicates++
			return nil
		}
	}
	if !event.Targeted(msg, event.TargetRaw) {
		w.untargeted++
		return nil
	}
	raw, err := msg.AsBytes()
	if err != nil {
		return fmt.Errorf("reading a message: %w", err)
	}
	e, r := &w.s.event, &w.s.rows[w.stored]
	if err := event.Parse(raw, e); err != nil {
		if w.rejected == nil {
			w.rejected = map[int]error{}
		}
		w.rejected[i] = err
		return nil
	}
	r.fill(e, msg, at, received)
	if w.tombstones.Holds(r.Fleet, r.Device, r.ReceivedAt) || event.Meta(msg, event.MetaErased) != "" {
		if logged {
			w.settled.Erased(delivery)
		}
		w.erased++
		return nil
	}
	if logged && record != delivery {
		had, err := w.o.Memory.HadOn(ctx, w.now, time.UnixMicro(r.At), delivery, time.UnixMicro(r.ReceivedAt))
		if err != nil {
			return err
		} else if had {
			w.recognised++
			return nil
		}
	}
	if at.elsewhere {
		id := identity{r.Fleet, r.ID}
		if of, had := w.had[id]; had {
			w.settled.Duplicate(record, of)
			w.duplicates++
			return nil
		}
		w.had[id] = record
	}
	r.Metrics = w.s.metrics.keep(e.Metrics)
	if live := at.again.IsZero() && record == delivery; live && !received.IsZero() &&
		(w.oldest.IsZero() || received.Before(w.oldest)) {
		w.oldest = received
	}
	w.stored++
	return nil
}

// flush writes the rows, one object or more per date. Records without a row are listed in
// the first object, or in an object of their own when there is no row at all.
func (w *writing) flush(ctx context.Context) error {
	groups := w.objects()
	settled := w.settled.Coverage()
	if len(groups) == 0 {
		if settled.Empty() {
			return nil
		}
		name := lake.NewName(lake.DuplicatesFolder+"/"+lake.DateFolder(w.now), w.now, w.now, w.now)
		return w.put(ctx, name, nil, settled)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(uploads)
	for i, o := range groups {
		if i == 0 {
			o.coverage.Merge(settled)
		}
		g.Go(func() error { return w.put(ctx, o.name(w.now), o.rows, o.coverage) })
	}
	return g.Wait()
}

func (w *writing) put(ctx context.Context, name lake.Name, rows []*Row, coverage lake.Coverage) error {
	size, err := w.o.Put(ctx, w.tombstones, name, w.o.table, len(rows), w.o.options, &coverage, columns(rows))
	if err != nil {
		return err
	}
	w.o.count.objects.Incr(1)
	w.o.count.bytes.Incr(size)
	return nil
}

// object is the rows of one object, all of one date, and the records they stand for.
type object struct {
	rows     []*Row
	coverage lake.Coverage
}

func (o *object) name(now time.Time) lake.Name {
	first, last := o.rows[0].At, o.rows[0].At
	for _, r := range o.rows {
		first, last = min(first, r.At), max(last, r.At)
	}
	from := time.UnixMicro(first)
	return lake.NewName(lake.DateFolder(from), now, from, time.UnixMicro(last))
}

// covered returns the records that rows stand for.
func covered(rows []*Row) lake.Coverage {
	var c lake.Collector
	for _, r := range rows {
		if r.Delivery != noRecord {
			c.Stored(r.Delivery)
		}
	}
	return c.Coverage()
}

const dayMicros = 24 * int64(time.Hour/time.Microsecond)

// day counts days since 1970, rounding down.
func day(micros int64) int64 {
	d := micros / dayMicros
	if micros%dayMicros < 0 {
		d--
	}
	return d
}

// objects returns the rows by date, sorted in the order of an object, and cut into objects
// of at most maxRows rows.
func (w *writing) objects() []*object {
	rows := make([]*Row, w.stored)
	for i := range rows {
		rows[i] = &w.s.rows[i]
	}
	by := split(rows, func(r *Row) int64 { return day(r.At) })
	var out []*object
	for _, rows := range by {
		for _, rows := range narrow(rows) {
			coverage := covered(rows) // collected in the order of the log, which is cheaper than after sorting
			rows = slices.CompactFunc(sorted(rows), (*Row).same)
			if len(rows) <= w.o.maxRows {
				out = append(out, &object{rows, coverage})
				continue
			}
			for chunk := range slices.Chunk(rows, w.o.maxRows) {
				out = append(out, &object{chunk, covered(chunk)})
			}
		}
	}
	return out
}

const (
	splitRows = 512 // a day with fewer rows stays together
	hourShare = 8   // an hour with at least one in so many rows of the day gets its own object
)

// split groups rows. It is fast when rows of one group come in runs.
func split(rows []*Row, group func(*Row) int64) map[int64][]*Row {
	by := map[int64][]*Row{}
	for from := 0; from < len(rows); {
		g, to := group(rows[from]), from+1
		for to < len(rows) && group(rows[to]) == g {
			to++
		}
		if run := rows[from:to:to]; by[g] == nil {
			by[g] = run
		} else {
			by[g] = append(by[g], run...)
		}
		from = to
	}
	return by
}

// narrow splits the rows of a day into an object for each hour that has many, and one for
// the rest. Otherwise a few late rows would widen the time range of the large object, and
// queries of all hours between would have to read it.
func narrow(rows []*Row) [][]*Row {
	if len(rows) < splitRows {
		return [][]*Row{rows}
	}
	by := split(rows, func(r *Row) int64 { return hourOf(r.At) })
	var rest []*Row
	for h, of := range by {
		if len(of) < len(rows)/hourShare {
			rest = append(rest, of...)
			delete(by, h)
		}
	}
	if rest != nil {
		by[math.MinInt64] = rest
	}
	return slices.Collect(maps.Values(by))
}

// sorted returns rows in the order of Row.before. It sorts the devices, and then each
// device's rows, which nearly always are in order already.
func sorted(rows []*Row) []*Row {
	type device struct {
		name string
		at   int // first the number of its rows, then where its next row goes
	}
	var devices []device
	number := make(map[string]int32, min(len(rows)/2, 1<<14)) // with user events, nearly every row has another device
	of := make([]int32, len(rows))
	for i, r := range rows {
		n, ok := number[r.Device]
		if !ok {
			n = int32(len(devices))
			number[r.Device] = n
			devices = append(devices, device{name: r.Device})
		}
		of[i] = n
		devices[n].at++
	}
	order := make([]int32, len(devices))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return strings.Compare(devices[a].name, devices[b].name) })
	at := 0
	for _, n := range order {
		at, devices[n].at = at+devices[n].at, at
	}
	out := make([]*Row, len(rows))
	for i, r := range rows {
		d := &devices[of[i]]
		out[d.at] = r
		d.at++
	}
	from := 0
	for _, n := range order {
		own := out[from:devices[n].at]
		if from = devices[n].at; !slices.IsSortedFunc(own, (*Row).before) {
			slices.SortFunc(own, (*Row).before)
		}
	}
	return out
}

func (w *writing) rejections(batch service.MessageBatch) error {
	if len(w.rejected) == 0 {
		return nil
	}
	w.o.count.rejected.Incr(int64(len(w.rejected)))
	var failed *service.BatchError
	for i, err := range w.rejected {
		if failed == nil {
			failed = service.NewBatchError(batch, err)
		}
		failed.Failed(i, err)
	}
	return failed
}

// scratch returns memory for a batch of n messages.
func (o *output) scratch(n int) *scratch {
	s := o.spare.Swap(nil)
	if s == nil {
		s = &scratch{}
	}
	if cap(s.rows) < n {
		s.rows, s.places = make([]Row, n), make([]place, n)
	}
	s.rows, s.places = s.rows[:n], s.places[:n]
	return s
}

// reuse drops the references to the messages' memory, and keeps the scratch for the next
// batch. After a batch of 50,000 events it is about 35 MiB.
func (o *output) reuse(s *scratch) {
	s.event.Release()
	s.metrics.reset()
	clear(s.rows)
	clear(s.places)
	o.spare.Store(s)
	o.forget.Reset(spareFor)
}
