package raw

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/parquet-go/parquet-go"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/plugins/store/lake"
)

// Bounds of one run.
const (
	pairRows  = 2000                   // rows that are compared with their events together
	dayRows   = 1_000_000              // rows decoded at most, in a bounded run, to find out whether a day has expired
	pairAgain = 500 * time.Millisecond // pause before events that were not found are looked for again
)

// pairing is one run of a LaterCheck.
type pairing struct {
	events  *lake.Store
	reader  *Reader
	batch   int                   // rows that are compared together
	dayRows int64                 // rows of a day that are decoded at most; 0 is no bound
	sums    map[string]*LaterSums // by object
	rows    []*checkedRow         // rows whose events were not looked for yet
	missing []*checkedRow         // rows whose events were not found, for no known reason
	decoded int64                 // rows of events
	stones  *tombstone.Set        // nil until they are read
	days    map[fleetDay]earliest
}

// earliest is what is known of the stored event of a day that was received first.
type earliest struct {
	received int64 // 0: there is none
	cut      bool  // the day has more rows than were decoded: there may be an earlier one
}

type fleetDay struct {
	fleet string
	day   int64
}

// checkedRow is a row and the result of the search for its event.
type checkedRow struct {
	*Later
	object string
	found  bool   // its event is stored
	failed bool   // the look-up had failed for the event
	other  string // how a stored event with the same id differs
}

// eventKey is everything that a row says about its event.
type eventKey struct {
	id            [16]byte
	fleet, device string
	at            int64
	delivery      event.Coordinates
}

type eventID struct {
	id    [16]byte
	fleet string
}

func (r *checkedRow) key() eventKey { return eventKey{r.ID, r.Fleet, r.Device, r.At, r.Delivery} }

func newPairing(events *lake.Store, batch int, dayRows int64) *pairing {
	return &pairing{events: events, reader: NewReader(events), batch: batch, dayRows: dayRows,
		sums: map[string]*LaterSums{}, days: map[fleetDay]earliest{}}
}

// rowAt is one row of the chunk that was read last.
type rowAt struct {
	rows *lake.Rows
	i    int
}

// Value returns null for a column that was not read.
func (r rowAt) Value(col int) parquet.Value {
	if column := r.rows.Column(col); r.i < len(column) {
		return column[r.i]
	}
	return parquet.NullValue()
}

// object adds the rows of an object. When it fails, for example because compaction has
// deleted the object, none of its rows are counted.
func (p *pairing) object(ctx context.Context, o lake.Object) (err error) {
	f, err := p.events.Below(LaterFolder).OpenFile(ctx, o.Blob)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	wanted := make([]bool, len(f.Schema().Columns()))
	for col := range wanted {
		wanted[col] = col != laterFacts && col != laterVersion && col != laterJob
	}
	sums := &LaterSums{}
	p.sums[o.Key] = sums
	var last *checkedRow
	for group, of := range f.RowGroups() {
		rows, err := f.ReadRows(group, 0, of.NumRows(), wanted)
		if err == nil {
			last, err = p.take(ctx, o, rows, last)
		}
		if err != nil {
			ours := func(r *checkedRow) bool { return r.object == o.Key }
			delete(p.sums, o.Key)
			p.rows, p.missing = slices.DeleteFunc(p.rows, ours), slices.DeleteFunc(p.missing, ours)
			return fmt.Errorf("reading %s: %w", o.Key, err)
		}
	}
	return nil
}

// take adds the rows of one row group. last is the row before the first of them, nil if
// there is none; take returns the new last row.
func (p *pairing) take(ctx context.Context, o lake.Object, rows *lake.Rows,
	last *checkedRow) (_ *checkedRow, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	sums := p.sums[o.Key]
	for {
		n, err := rows.Next(p.batch)
		if n == 0 || err != nil {
			return last, err
		}
		for i := range n {
			r := &checkedRow{Later: laterOf(rowAt{rows, i}).own(), object: o.Key}
			sums.Rows++
			at := time.UnixMicro(r.At)
			switch {
			case o.Name.Folder != lake.DateFolder(at) || at.Before(o.Min) || at.After(o.Max):
				sums.differs(r, "lies where nobody looks for it: its object is named by another time")
			case last != nil && last.compare(r.Later) > 0:
				sums.differs(r, "lies where nobody looks for it: its object is not in order")
			default:
				p.rows = append(p.rows, r)
			}
			last = r
		}
		if len(p.rows) >= p.batch {
			if err := p.pair(ctx); errors.Is(err, lake.ErrNotFound) { // an object of events has gone, not this one
				return last, errors.New(err.Error())
			} else if err != nil {
				return last, err
			}
		}
	}
}

// pair looks for the events of the collected rows, and counts each row by the result.
func (p *pairing) pair(ctx context.Context) error {
	rows := p.rows
	p.rows = nil
	if err := p.look(ctx, rows); err != nil {
		return err
	}
	slices.SortStableFunc(rows, func(a, b *checkedRow) int { return a.compare(b.Later) })
	var last *checkedRow
	for _, r := range rows {
		sums := p.sums[r.object]
		switch {
		case r.found && last != nil && last.same(r.Later):
			sums.Repeated++
		case r.found && !r.failed:
			sums.differs(r, "is of a look-up that had not failed for it")
		case r.found:
			sums.Right++
		default:
			known, err := p.explain(ctx, r)
			if err != nil {
				return err
			}
			if !known {
				p.missing = append(p.missing, r)
			}
		}
		last = r
	}
	return nil
}

// finish compares the rows that are left. A listing can miss an object that is just being
// compacted, so events that were not found are looked for once more.
func (p *pairing) finish(ctx context.Context) error {
	if err := p.pair(ctx); err != nil {
		return err
	}
	if len(p.missing) == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pairAgain):
	}
	p.stones, p.rows, p.missing = nil, p.missing, nil
	clear(p.days)
	if err := p.pair(ctx); err != nil {
		return err
	}
	for _, r := range p.missing {
		what := "is of an event that is not stored"
		if r.other != "" {
			what = "is not as that event: " + r.other
		}
		p.sums[r.object].differs(r, what)
	}
	return nil
}

// look finds out of each row whether its event is stored, hour by hour.
func (p *pairing) look(ctx context.Context, rows []*checkedRow) error {
	hours := map[int64][]*checkedRow{}
	for _, r := range rows {
		hours[hourOf(r.At)] = append(hours[hourOf(r.At)], r)
	}
	for hour, rows := range hours {
		keys, ids := map[eventKey][]*checkedRow{}, map[eventID][]*checkedRow{}
		var devices []string
		for _, r := range rows {
			keys[r.key()] = append(keys[r.key()], r)
			ids[eventID{r.ID, r.Fleet}] = append(ids[eventID{r.ID, r.Fleet}], r)
			devices = append(devices, r.Device)
		}
		from := time.UnixMicro(hour)
		stats, err := p.reader.Scan(ctx, Query{From: from, To: from.Add(time.Hour), Devices: devices, Parallel: 1},
			func(row *Row) error {
				for _, r := range keys[eventKey{row.ID, row.Fleet, row.Device, row.At, row.Delivery}] {
					r.found = true
					r.failed = r.failed || slices.Contains(event.Items(row.EnrichFailed), r.Lookup)
				}
				for _, r := range ids[eventID{row.ID, row.Fleet}] {
					r.other = r.unlike(row)
				}
				return nil
			})
		p.decoded += stats.Rows
		if err != nil {
			return fmt.Errorf("reading the events of what was found out later: %w", err)
		}
	}
	return nil
}

// unlike describes how a stored event with the row's event id differs from the row.
func (r *checkedRow) unlike(row *Row) string {
	var parts []string
	if row.Device != r.Device {
		parts = append(parts, "it is of another device")
	}
	if row.At != r.At {
		parts = append(parts, "it counts at "+time.UnixMicro(row.At).UTC().Format(time.RFC3339Nano))
	}
	if row.Delivery != r.Delivery {
		parts = append(parts, "it was delivered otherwise")
	}
	return strings.Join(parts, ", ")
}

// explain reports whether erasure or retention explains that the event of a row is not
// stored, or whether that was not found out, and counts the row if so.
func (p *pairing) explain(ctx context.Context, r *checkedRow) (known bool, err error) {
	if p.stones == nil {
		if p.stones, err = p.events.Tombstones(ctx); err != nil {
			return false, err
		}
	}
	if p.stones.Holds(r.Fleet, r.Device, r.ReceivedAt) {
		p.sums[r.object].Erased++
		return true, nil
	}
	kept, whole, err := p.kept(ctx, r)
	switch {
	case err != nil || kept:
		return false, err
	case whole:
		p.sums[r.object].Expired++
	default:
		p.sums[r.object].Unknown++
	}
	return true, nil
}

// kept tells whether retention has left events of the row's fleet and day that it takes
// with the row's own: what was received before the day was over, or before that event,
// goes with it. Unless whole, not all of the day was read, and there may be some.
func (p *pairing) kept(ctx context.Context, r *checkedRow) (kept, whole bool, err error) {
	from := time.UnixMicro(r.At).UTC().Truncate(24 * time.Hour)
	to := from.Add(24 * time.Hour)
	at := fleetDay{r.Fleet, from.Unix()}
	first, known := p.days[at]
	if !known {
		q := Query{From: from, To: to, Fleet: r.Fleet, Parallel: 1}
		if p.dayRows > 0 {
			q.Left = new(atomic.Int64)
			q.Left.Store(p.dayRows)
		}
		stats, err := p.reader.Scan(ctx, q, func(row *Row) error {
			if first.received == 0 || row.received() < first.received {
				first.received = row.received()
			}
			if first.received < to.UnixMicro() {
				return errStop
			}
			return nil
		})
		p.decoded += stats.Rows
		first.cut = errors.Is(err, ErrTooMany)
		if err != nil && !first.cut {
			return false, false, fmt.Errorf("reading what a day has: %w", err)
		}
		p.days[at] = first
	}
	received := (&Row{At: r.At, ReceivedAt: r.ReceivedAt}).received()
	kept = first.received != 0 && (first.received < to.UnixMicro() || first.received <= received)
	return kept, !first.cut, nil
}

// received is the time that retention goes by: when the event was received, or its
// effective time when that is unknown.
func (r *Row) received() int64 {
	if r.ReceivedAt != 0 {
		return r.ReceivedAt
	}
	return r.At
}
