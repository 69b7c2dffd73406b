package rollup

import (
	"context"
	"errors"
	"slices"
)

// merged sums windows of the devices of a fleet.
type merged struct {
	q       *query
	rows    map[int64]*windowRow // the sums, by bucket
	devices map[position]int
	read    int // cost of reading so far, in windows
}

func newMerged(q *query) *merged {
	return &merged{q, map[int64]*windowRow{}, map[position]int{}, 0}
}

func (m *merged) row(bucket int64) *windowRow {
	sum := m.rows[bucket]
	if sum == nil {
		sum = &windowRow{Key: Key{Fleet: m.q.Fleet, Bucket: bucket}}
		m.rows[bucket] = sum
	}
	return sum
}

// add adds a window of one device.
func (m *merged) add(r *windowRow) error {
	m.read++
	m.row(r.Bucket).fold(r)
	for _, of := range r.Metrics {
		m.devices[position{Bucket: r.Bucket, Metric: of.Name}]++
	}
	return nil
}

// addSum adds a sum over several devices.
func (m *merged) addSum(l sumLine) {
	m.read++
	m.row(l.bucket).fold(&windowRow{Metrics: []*metricRow{l.metric}})
	m.devices[position{Bucket: l.bucket, Metric: l.metric.Name}] += l.devices
}

// lines appends the lines that are asked for. full is true if there are more than fit on the page.
func (m *merged) lines(out []line) (_ []line, full bool) {
	buckets := make([]int64, 0, len(m.rows))
	for b := range m.rows {
		buckets = append(buckets, b)
	}
	slices.Sort(buckets)
	for _, b := range buckets {
		for _, of := range m.rows[b].Metrics {
			p := position{Bucket: b, Metric: of.Name}
			if !m.q.wants(of.Name) || !m.q.After.before(p) {
				continue
			}
			if len(out) == m.q.Limit {
				return out, true
			}
			out = append(out, line{position: p, metric: of, devices: m.devices[p]})
		}
	}
	return out, false
}

// runMerged reads some buckets at a time; how many depends on how many windows the last ones had.
// Old days, whose minutes are in objects, are read by runOld.
func runMerged(ctx context.Context, t tx, q query) (out []line, next *position, err error) {
	from := max(q.From, q.After.Bucket)
	read, step := 0, int64(8)
	var old []int64
	if q.Resolution == byMinute || q.Resolution == byHour && q.Devices == nil {
		if old, err = t.old().days(ctx, byDay.floor(from), q.To); err != nil {
			return nil, nil, err
		}
		if old, err = settledDays(ctx, t, old); err != nil {
			return nil, nil, err
		}
	}
	for from < q.To {
		day := byDay.floor(from)
		to := min(from+step*q.Resolution.Width, q.To)
		for _, d := range old {
			if d > day {
				to = min(to, d)
				break
			}
		}
		m := newMerged(&q)
		switch {
		case !slices.Contains(old, day):
			err = each(ctx, t, q.Resolution, span{Fleet: q.Fleet, Devices: q.Devices, From: from, To: to}, m.add)
		case q.Devices != nil: // read the rest of the day at once
			to = min(day+byDay.Width, q.To)
			err = each(ctx, t, q.Resolution, span{Fleet: q.Fleet, Devices: q.Devices, From: from, To: to}, m.add)
		default:
			m, to, err = runOld(ctx, t, q, from, min(day+byDay.Width, q.To), len(out))
		}
		if err != nil {
			return nil, nil, err
		}
		full := false
		if out, full = m.lines(out); full {
			return out, &out[len(out)-1].position, nil
		}
		from = to
		if read += m.read; read >= scanBudget && from < q.To {
			return out, &position{Bucket: from}, nil
		}
		step = min(max(20_000*step/int64(m.read+1), 1), 1000)
	}
	return out, nil, nil
}

// sumReads is the cost, in windows, of reading the sums of an object, in addition to their lines.
const sumReads = 200

// metricsOfPage is how many metrics a fleet is assumed to have if the query names none.
const metricsOfPage = 4

// runOld sums a fleet's windows of an old day that begin in [from, to), and returns to, which is
// at most end: about as many buckets as fill the page, of which `filled` lines are filled. Of most
// objects it reads only the sums. Objects without sums, and those that have rows beside them, are
// read completely; if there are objects without sums and minutes are asked for, it reads up to
// end.
func runOld(ctx context.Context, t tx, q query, from, end int64, filled int) (*merged, int64, error) {
	objects, err := t.old().objects(ctx, byDay.floor(from), byDay.floor(from)+1, owners{Fleet: q.Fleet})
	if err != nil {
		return nil, 0, err
	}
	to, most := end, scanBudget
	if q.Resolution == byHour || !slices.ContainsFunc(objects, func(o coldObject) bool { return o.Summed == 0 }) {
		metrics := metricsOfPage
		if len(q.Metrics) > 0 {
			metrics = len(q.Metrics)
		}
		to = min(end, from+int64((q.Limit-filled)/metrics+1)*q.Resolution.Width)
	} else {
		most = -1
	}
	for {
		m := newMerged(&q)
		err := t.old().addUp(ctx, m, from, to, most, objects)
		switch {
		case !errors.Is(err, errTooManyRows):
			return m, to, err
		case q.Resolution == byHour: // the day is being moved
			m = newMerged(&q)
			return m, to, each(ctx, t, byHour, span{Fleet: q.Fleet, From: from, To: to}, m.add)
		}
		if to = from + byMinute.floor((to-from)/4); to <= from {
			to, most = from+byMinute.Width, -1
		}
	}
}

// addUp adds to m a fleet's windows of one old day that begin in [from, to). It returns
// errTooManyRows if more than most of its minutes are rows; a negative most is no bound.
func (t *coldTx) addUp(ctx context.Context, m *merged, from, to int64, most int, objects []coldObject) error {
	var rows []*windowRow
	if err := t.base.scan(ctx, byMinute, span{Fleet: m.q.Fleet, From: from, To: to}, func(r *windowRow) error {
		if len(rows) == most {
			return errTooManyRows
		}
		rows = append(rows, r)
		return nil
	}); err != nil {
		return err
	}
	beside := make([]bool, len(objects))
	for _, r := range rows {
		if i := objectOf(objects, owner{r.Fleet, r.Device}); i >= 0 {
			beside[i] = true
		}
	}
	var whole, parts []coldObject
	for i, o := range objects {
		if beside[i] {
			whole = append(whole, o)
		} else {
			parts = append(parts, o)
			m.read += sumReads
		}
	}
	without, err := t.sums(ctx, m.q, from, to, parts, m.addSum)
	if err != nil {
		return err
	}
	whole = append(whole, without...)
	slices.SortFunc(whole, func(a, b coldObject) int { return a.Low.compare(b.Low) })
	if m.q.Resolution == byHour {
		return t.addHours(ctx, m, from, to, rows, whole)
	}
	is := make(map[Key]bool, len(rows))
	for _, r := range rows {
		is[r.Key] = true
		if err := m.add(r); err != nil {
			return err
		}
	}
	return t.read(ctx, whole, owners{Fleet: m.q.Fleet, From: from, To: to}, func(r *windowRow) error {
		if is[r.Key] {
			return nil
		}
		return m.add(r)
	})
}

// addHours adds the hours of the devices that may be in the objects, and of those whose minutes
// are rows. Hours are never moved to objects.
func (t *coldTx) addHours(ctx context.Context, m *merged, from, to int64, rows []*windowRow,
	objects []coldObject) error {
	if len(rows)+len(objects) == 0 {
		return nil
	}
	s := span{Fleet: m.q.Fleet, From: from, To: to}
	loose := map[string]bool{}
	reach := func(low, high owner) {
		if low.Fleet < s.Fleet {
			low.Device = ""
		}
		if high.Fleet > s.Fleet {
			high.Device = lastDevice
		}
		if s.High == "" || low.Device < s.Low {
			s.Low = low.Device
		}
		s.High = max(s.High, high.Device)
	}
	for _, r := range rows {
		loose[r.Device] = true
		reach(owner{r.Fleet, r.Device}, owner{r.Fleet, r.Device})
	}
	for _, o := range objects {
		reach(o.Low, o.High)
	}
	return each(ctx, t, byHour, s, func(r *windowRow) error {
		if !loose[r.Device] && objectOf(objects, owner{r.Fleet, r.Device}) < 0 {
			return nil
		}
		return m.add(r)
	})
}

// objectOf returns the index of the object that may have an owner's windows, among the objects of
// one day in their order; -1 if there is none.
func objectOf(objects []coldObject, of owner) int {
	i, _ := slices.BinarySearchFunc(objects, of, func(o coldObject, p owner) int { return o.High.compare(p) })
	if i < len(objects) && objects[i].has(of) {
		return i
	}
	return -1
}
