package rollup

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Query selects rollups of one fleet.
type Query struct {
	Fleet      string
	Devices    []string // sorted; none means all, for a merged query
	Metrics    []string // none means all
	From, To   int64    // Unix seconds: windows that begin in [From, To)
	Resolution Resolution
	Merge      bool // one line per metric and bucket, over all devices
	Limit      int
	After      position // the last line of the page before
}

// position is a line in the order of results.
type position struct {
	Device string `json:"d,omitempty"`
	Bucket int64  `json:"b"`
	Metric string `json:"m,omitempty"`
}

// line is one metric of one window, ready to be answered.
type line struct {
	position
	metric  *Metric
	devices int // of a merged line
}

// scanBudget bounds how many windows one page of a merged query reads; it
// may be passed by the devices of one bucket.
const scanBudget = 100_000

// Run returns one page of lines, and where the next one starts (nil at the
// end). It sees every event whose batch was acknowledged before it began, also
// in hours and days that are not rolled yet.
func (s *Store) Run(ctx context.Context, q Query) (out []line, next *position, err error) {
	q.From, q.To = q.Resolution.floor(q.From), q.Resolution.floor(q.To+q.Resolution.Width-1)
	err = s.view(ctx, func(t tx) (err error) {
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

func runDevices(ctx context.Context, t tx, q Query) (out []line, next *position, err error) {
	for _, device := range q.Devices {
		if device < q.After.Device {
			continue
		}
		from := q.From
		if device == q.After.Device {
			from = max(from, q.After.Bucket)
		}
		// No window is without a line, so this many windows fill the page.
		step := int64(q.Limit+1) * q.Resolution.Width
		for ; from < q.To; from += step {
			s := span{Fleet: q.Fleet, Devices: []string{device}, From: from, To: min(from+step, q.To)}
			var rows []*Row
			if err := each(ctx, t, q.Resolution, s, func(r *Row) error { rows = append(rows, r); return nil }); err != nil {
				return nil, nil, err
			}
			slices.SortFunc(rows, func(a, b *Row) int { return a.compare(b.Key) })
			for _, r := range rows {
				for _, m := range r.Metrics {
					p := position{device, r.Bucket, m.Name}
					if !q.wants(m.Name) || !q.After.before(p) {
						continue
					}
					if len(out) == q.Limit {
						return out, &out[len(out)-1].position, nil
					}
					out = append(out, line{position: p, metric: m})
				}
			}
		}
	}
	return out, nil, nil
}

func runMerged(ctx context.Context, t tx, q Query) (out []line, next *position, err error) {
	from := max(q.From, q.After.Bucket)
	read, step := 0, int64(8)
	for from < q.To {
		to := min(from+step*q.Resolution.Width, q.To)
		rows := map[Key]*Row{}
		devices := map[position]int{}
		n := 0
		s := span{Fleet: q.Fleet, Devices: q.Devices, From: from, To: to}
		err := each(ctx, t, q.Resolution, s, func(r *Row) error {
			n++
			foldInto(rows, Key{Fleet: q.Fleet, Bucket: r.Bucket}, r)
			for _, m := range r.Metrics {
				devices[position{Bucket: r.Bucket, Metric: m.Name}]++
			}
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
		buckets := make([]int64, 0, len(rows))
		for k := range rows {
			buckets = append(buckets, k.Bucket)
		}
		slices.Sort(buckets)
		for _, b := range buckets {
			for _, m := range rows[Key{Fleet: q.Fleet, Bucket: b}].Metrics {
				p := position{Bucket: b, Metric: m.Name}
				if !q.wants(m.Name) || !q.After.before(p) {
					continue
				}
				if len(out) == q.Limit {
					return out, &out[len(out)-1].position, nil
				}
				out = append(out, line{position: p, metric: m, devices: devices[p]})
			}
		}
		from = to
		if read += n; read >= scanBudget && from < q.To {
			return out, &position{Bucket: from}, nil
		}
		step = min(max(20_000*step/int64(n+1), 1), 1000)
	}
	return out, nil, nil
}

func (q *Query) wants(metric string) bool {
	return len(q.Metrics) == 0 || slices.Contains(q.Metrics, metric)
}

// before tells whether p comes before o in the order of results.
func (p position) before(o position) bool {
	if c := strings.Compare(p.Device, o.Device); c != 0 {
		return c < 0
	}
	if p.Bucket != o.Bucket {
		return p.Bucket < o.Bucket
	}
	return p.Metric < o.Metric
}
