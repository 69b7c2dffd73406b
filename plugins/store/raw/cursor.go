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
	"weir/internal/platform/flow"
	"weir/plugins/store/lake"
)

// cursor reads the wanted rows of one object, in the object's order: by device,
// time, delivery and id.
type cursor struct {
	file   *lake.File
	want   *wanted
	spans  []span // not read yet
	rows   *lake.Rows
	chunk  int // rows decoded at a time
	batch  []Row
	at     int
	scan   *Stats
	object string
	aside  *flow.Aside
}

// span is a run of rows of one row group.
type span struct {
	group    int
	from, to int64
}

// openCursor opens an object and finds out which of its rows the query may want. It
// returns nil when there are none.
func openCursor(ctx context.Context, s *lake.Store, o lake.Object, w *wanted, chunk int, stats *Stats) (*cursor,
	error) {
	f, err := s.OpenFile(ctx, o.Blob)
	if err != nil {
		return nil, err
	}
	c := &cursor{file: f, want: w, chunk: chunk, scan: stats, object: o.Key, aside: flow.AsideOf(ctx)}
	if c.spans, err = w.spans(f, stats); err != nil || len(c.spans) == 0 {
		return nil, errors.Join(err, f.Close())
	}
	return c, nil
}

// next returns the next wanted row, or nil at the end. The row stays valid after
// further calls.
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

// fill decodes the next chunk of rows into batch. It returns false at the end, and
// ErrTooMany when the query may not decode that many rows.
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
			c.aside.Step(n)
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

// wanted is a query within one slice of time. It decides which row groups and pages
// are skipped without reading them, and which decoded rows are passed over.
type wanted struct {
	from, to int64    // bounds of the effective time, [from, to)
	devices  []string // sorted; nil: every device
	fleet    string
	metric   string
	missed   string        // only rows for which this look-up failed
	after    *Position     // only rows after this position
	left     *atomic.Int64 // how many more rows may be decoded; nil: no bound
}

// row reports whether a decoded row is wanted.
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

// spans returns the runs of rows that may be wanted, by the statistics, bloom filters
// and page indexes of the file's row groups.
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

// prune reports whether a row group can be skipped. If not, devices are those of the
// wanted devices that it may contain; nil means any device.
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

// bounds returns the least and the greatest value of an integer column chunk; ok is
// false when the file has no statistics of it.
func bounds(chunk parquet.ColumnChunk) (lo, hi int64, ok bool) {
	a, b, ok := chunk.(*parquet.FileColumnChunk).Bounds()
	if !ok || a.IsNull() || b.IsNull() {
		return 0, 0, false
	}
	return a.Int64(), b.Int64(), true
}

// outside reports whether the statistics of a text column chunk rule out s.
func outside(chunk parquet.ColumnChunk, s string) bool {
	lo, hi, ok := chunk.(*parquet.FileColumnChunk).Bounds()
	return ok && !lo.IsNull() && !hi.IsNull() && (s < string(lo.ByteArray()) || s > string(hi.ByteArray()))
}

// pages returns the runs of rows in the pages that may contain the devices, or rows
// after the position. Rows are sorted by device, so each device is one run.
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
	from := func(d string) int { // the first page whose last device is d or after d
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
