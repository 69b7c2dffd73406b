package rollup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// query selects rollups of one fleet.
type query struct {
	Fleet      string
	Devices    []string // sorted; nil: all, in a merged query only
	Metrics    []string // empty: all
	From, To   int64    // Unix seconds; windows that begin in [From, To)
	Resolution resolution
	Merge      bool // one line per metric and bucket, for all devices together
	Limit      int
	After      position // the last line of the previous page
}

// position identifies a line in the order of results.
type position struct {
	Device string `json:"d,omitempty"`
	Bucket int64  `json:"b"`
	Metric string `json:"m,omitempty"`
}

// line is one line of a result: one metric of one window.
type line struct {
	position
	metric  *metricRow
	devices int // in a merged line: how many devices have the metric in this bucket
}

// scanBudget is about how many windows one page of a merged query reads at most. It is checked
// between steps, and a step reads at least one bucket of all devices, so it can be exceeded.
const scanBudget = 100_000

// run returns one page of lines, and the position after which the next page starts (nil at the
// end). It sees every event whose batch was acknowledged before the call, also in hours and days
// that are not rolled up yet.
func (s *Store) run(ctx context.Context, q query) (out []line, next *position, err error) {
	q.From, q.To = q.Resolution.floor(q.From), q.Resolution.floor(q.To+q.Resolution.Width-1)
	err = s.view(ctx, span{Fleet: q.Fleet, Devices: q.Devices, From: q.From, To: q.To}, func(t tx) (err error) {
		if q.Merge {
			out, next, err = runMerged(ctx, t, q)
		} else {
			out, next, err = runDevices(ctx, t, q)
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("querying rollups: %w", err)
	}
	return out, next, nil
}

// readsMost is how many reads a query makes for one page at most. rowsMost is how many windows a
// read may return beyond the limit of the page, and how many devices it covers at most.
const readsMost, rowsMost = 1000, 4000

var errTooManyRows = errors.New("more rows than asked for at once")

// runDevices reads devices in the order of their names. It adapts how many devices, and how much
// of the range, one read covers: thousands of devices with few windows are read together, and a
// device with many windows in parts of the range.
func runDevices(ctx context.Context, t tx, q query) (out []line, next *position, err error) {
	first, _ := slices.BinarySearch(q.Devices, q.After.Device)
	devices := q.Devices[first:]
	from := q.From
	if len(devices) > 0 && devices[0] == q.After.Device {
		from = max(from, q.After.Bucket)
	}
	fill := int64(q.Limit+1) * q.Resolution.Width // one device has no more than Limit+1 windows in this time
	n, part := 1, q.To-q.From
	for reads := 0; len(devices) > 0; reads++ {
		if reads == readsMost {
			return out, &position{Device: devices[0], Bucket: from}, nil
		}
		to := min(from+part, q.To)
		rows, err := someRows(ctx, t, q.Resolution, span{Fleet: q.Fleet, Devices: devices[:n], From: from, To: to},
			q.Limit+rowsMost)
		switch {
		case errors.Is(err, errTooManyRows) && n > 1:
			n = max(n/4, 1)
			continue
		case errors.Is(err, errTooManyRows):
			part = max(part/4, fill)
			continue
		case err != nil:
			return nil, nil, err
		}
		for _, r := range rows {
			for _, m := range r.Metrics {
				p := position{r.Device, r.Bucket, m.Name}
				if !q.wants(m.Name) || !q.After.before(p) {
					continue
				}
				if len(out) == q.Limit {
					return out, &out[len(out)-1].position, nil
				}
				out = append(out, line{position: p, metric: m})
			}
		}
		if from = to; from >= q.To {
			devices, from = devices[n:], q.From
			n = min(n*2, len(devices), rowsMost)
		}
		if part = min(part*2, q.To-q.From); n > 1 {
			part = q.To - q.From // several devices are read over the whole range
		}
	}
	return out, nil, nil
}

// someRows returns the windows of a span in the order of results, or errTooManyRows if there are
// more than most.
func someRows(ctx context.Context, t tx, res resolution, s span, most int) (rows []*windowRow, err error) {
	err = each(ctx, t, res, s, func(r *windowRow) error {
		if len(rows) == most {
			return errTooManyRows
		}
		rows = append(rows, r)
		return nil
	})
	slices.SortFunc(rows, func(a, b *windowRow) int { return a.compare(b.Key) })
	return rows, err
}

func (q *query) wants(metric string) bool {
	return len(q.Metrics) == 0 || slices.Contains(q.Metrics, metric)
}

// before reports whether p comes before o in the order of results: by device, bucket and metric.
func (p position) before(o position) bool {
	if c := strings.Compare(p.Device, o.Device); c != 0 {
		return c < 0
	}
	if p.Bucket != o.Bucket {
		return p.Bucket < o.Bucket
	}
	return p.Metric < o.Metric
}
