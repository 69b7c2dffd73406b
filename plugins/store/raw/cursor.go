package raw

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync/atomic"

	"github.com/parquet-go/parquet-go"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

// cursor reads the rows of one object that a query wants, in the object's
// order: by device, time, delivery.
type cursor struct {
	file   *lake.File
	want   *wanted
	spans  []span // what is left to read
	rows   *lake.Rows
	chunk  int // rows decoded at a time
	batch  []Row
	at     int
	scan   *Stats
	object string
}

// span is a run of rows of one row group.
type span struct {
	group    int
	from, to int64
}

// openCursor opens an object and finds where in it the wanted rows can be. It
// returns nil when there are none.
func openCursor(ctx context.Context, s *lake.Store, o lake.Object, w *wanted, chunk int, stats *Stats) (*cursor,
	error) {
	f, err := s.OpenFile(ctx, o.Blob)
	if err != nil {
		return nil, err
	}
	c := &cursor{file: f, want: w, chunk: chunk, scan: stats, object: o.Key}
	if c.spans, err = w.spans(f, stats); err != nil || len(c.spans) == 0 {
		return nil, errors.Join(err, f.Close())
	}
	return c, nil
}

// next returns the next row, nil at the end. A row stays valid.
func (c *cursor) next() (*Row, error) {
	for {
		for c.at < len(c.batch) {
			r := &c.batch[c.at]
			c.at++
			if c.want.row(r) {
				return r, nil
			}
		}
		if ok, err := c.fill(); !ok || err != nil {
			return nil, err
		}
	}
}

func (c *cursor) fill() (bool, error) {
	for {
		if c.rows == nil {
			if len(c.spans) == 0 {
				return false, nil
			}
			s := c.spans[0]
			c.spans = c.spans[1:]
			var err error
			if c.rows, err = c.file.ReadRows(s.group, s.from, s.to, nil); err != nil {
				return false, fmt.Errorf("reading %s: %w", c.object, err)
			}
		}
		n, err := c.rows.Next(c.chunk)
		if err != nil {
			return false, fmt.Errorf("reading %s: %w", c.object, err)
		}
		if n > 0 {
			c.scan.Rows += int64(n)
			if left := c.want.left; left != nil && left.Add(-int64(n)) < 0 {
				return false, ErrTooMany
			}
			c.batch, c.at = make([]Row, n), 0
			if err := decodeRows(c.rows, c.batch); err != nil {
				return false, fmt.Errorf("reading %s: %w", c.object, err)
			}
			return true, nil
		}
		if err := c.rows.Close(); err != nil {
			return false, fmt.Errorf("reading %s: %w", c.object, err)
		}
		c.rows = nil
	}
}

func (c *cursor) close() error {
	var err error
	if c.rows != nil {
		err = c.rows.Close()
	}
	return errors.Join(err, c.file.Close())
}

// wanted is a query within one slice of time: what to skip unread, and what to
// pass over.
type wanted struct {
	from, to int64    // of the effective time, [from, to)
	devices  []string // sorted; nil is all
	fleet    string
	metric   string
	missed   string    // a look-up that failed
	after    *Position // rows up to here are not wanted
	left     *atomic.Int64
}

// row tells whether a row is wanted.
func (w *wanted) row(r *Row) bool {
	if r.At < w.from || r.At >= w.to || (w.fleet != "" && r.Fleet != w.fleet) {
		return false
	}
	if w.devices != nil {
		if _, ok := slices.BinarySearch(w.devices, r.Device); !ok {
			return false
		}
	}
	if w.metric != "" && !slices.ContainsFunc(r.Metrics, func(m event.Metric) bool { return m.Name == w.metric }) {
		return false
	}
	if w.missed != "" && !slices.Contains(event.Items(r.EnrichFailed), w.missed) {
		return false
	}
	return w.after == nil || w.after.before(r)
}

// spans finds the rows of a file that may be wanted, by the statistics of its
// row groups, its bloom filters and its page index.
func (w *wanted) spans(f *lake.File, stats *Stats) ([]span, error) {
	var out []span
	for i, g := range f.RowGroups() {
		chunks := g.ColumnChunks()
		devices, skip, err := w.prune(f, i, stats)
		if err != nil {
			return nil, err
		}
		if skip {
			stats.GroupsSkipped++
			continue
		}
		stats.Groups++
		if devices == nil && (w.after == nil || w.after.Device == "") {
			out = append(out, span{i, 0, g.NumRows()})
			continue
		}
		found, err := w.pages(i, g, chunks[colDevice], devices)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// prune tells whether a row group has nothing that is wanted, and which of the
// wanted devices it may have; nil is any.
func (w *wanted) prune(f *lake.File, group int, stats *Stats) (devices []string, skip bool, err error) {
	chunks := f.RowGroups()[group].ColumnChunks()
	lo, hi, ok := bounds(chunks[colTime])
	elo, ehi, effective := bounds(chunks[colEffectiveTime])
	if effective {
		lo, hi = min(lo, elo), max(hi, ehi)
	}
	if ok && (hi < w.from || lo >= w.to) {
		return nil, true, nil
	}
	if w.fleet != "" && outside(chunks[colFleet], w.fleet) || w.metric != "" && outside(chunks[colMetric], w.metric) {
		return nil, true, nil
	}
	if w.devices == nil {
		return nil, false, nil
	}
	for _, d := range w.devices {
		if !outside(chunks[colDevice], d) {
			devices = append(devices, d)
		}
	}
	if len(devices) == 0 {
		return nil, true, nil
	}
	bloom, err := f.Bloom(group, colDevice)
	if err != nil {
		return nil, false, err
	}
	devices = slices.DeleteFunc(devices, func(d string) bool {
		ruledOut := !bloom.MayHold(lake.Bytes(d))
		if ruledOut {
			stats.BloomSkipped++
		}
		return ruledOut
	})
	return devices, len(devices) == 0, nil
}

func bounds(chunk parquet.ColumnChunk) (lo, hi int64, ok bool) {
	a, b, ok := chunk.(*parquet.FileColumnChunk).Bounds()
	if !ok || a.IsNull() || b.IsNull() {
		return 0, 0, false
	}
	return a.Int64(), b.Int64(), true
}

func outside(chunk parquet.ColumnChunk, s string) bool {
	lo, hi, ok := chunk.(*parquet.FileColumnChunk).Bounds()
	return ok && !lo.IsNull() && !hi.IsNull() && (s < string(lo.ByteArray()) || s > string(hi.ByteArray()))
}

// pages finds the runs of rows whose pages may hold the devices, or follow the
// position. Rows are sorted by device, so each device is one run.
func (w *wanted) pages(group int, g parquet.RowGroup, chunk parquet.ColumnChunk, devices []string) ([]span, error) {
	index, err := chunk.ColumnIndex()
	if err != nil {
		return nil, fmt.Errorf("reading a page index: %w", err)
	}
	offsets, err := chunk.OffsetIndex()
	if err != nil {
		return nil, fmt.Errorf("reading a page index: %w", err)
	}
	n := index.NumPages()
	first := func(page int) int64 {
		if page == n {
			return g.NumRows()
		}
		return offsets.FirstRowIndex(page)
	}
	from := func(d string) int { // the first page that ends at d or behind
		return sort.Search(n, func(i int) bool { return string(index.MaxValue(i).ByteArray()) >= d })
	}
	low := 0
	if w.after != nil {
		low = from(w.after.Device)
	}
	if devices == nil {
		if low == n {
			return nil, nil
		}
		return []span{{group, first(low), g.NumRows()}}, nil
	}
	var out []span
	for _, d := range devices {
		a := max(low, from(d))
		b := sort.Search(n, func(i int) bool { return string(index.MinValue(i).ByteArray()) > d })
		if a >= b {
			continue
		}
		if k := len(out); k > 0 && first(a) <= out[k-1].to {
			out[k-1].to = first(b)
		} else {
			out = append(out, span{group, first(a), first(b)})
		}
	}
	return out, nil
}
