package anomaly

import "math"

const (
	closedBuckets = 12                // full buckets that a window spans
	slots         = closedBuckets + 1 // and the one being filled
)

// stats is what is known of a set of readings: their number, their mean and
// the sum of their squared deviations from it.
type stats struct {
	n    float64
	mean float64
	m2   float64
}

// merge adds another set (Chan, Golub and LeVeque).
func (s *stats) merge(o stats) {
	if o.n == 0 {
		return
	}
	n, d := s.n+o.n, o.mean-s.mean
	s.mean += d * (o.n / n)
	s.m2 += o.m2 + d*d*(s.n*o.n/n)
	s.n = n
}

// stddev is that of the sample; zero for less than two readings.
func (s stats) stddev() float64 {
	if s.n < 2 || !(s.m2 > 0) {
		return 0
	}
	return math.Sqrt(s.m2 / (s.n - 1))
}

// window is the recent past of one series in constant memory: a ring of
// buckets of equal width, aligned to the epoch, each with its count, mean and
// m2. It covers twelve full buckets and the one being filled: with a width of
// five minutes, the last 60 to 65 minutes. Being made of whole minutes, it can
// be rebuilt from one-minute rollups.
type window struct {
	mean   [slots]float64
	closed stats          // all buckets but the head
	headM2 float64        // of the head, at full precision
	m2     [slots]float32 // of the others
	n      [slots]uint16  // beyond 65,535 a bucket weighs no more
	head   int32          // number of the bucket being filled: unix time / width
	filled bool           // head means something
}

func slot(bucket int32) int32 {
	i := bucket % slots
	if i < 0 {
		i += slots
	}
	return i
}

// at moves the window on to a bucket, forgetting what is too old. It is false
// when the bucket lies before the window.
func (w *window) at(bucket int32) bool {
	switch {
	case !w.filled:
		w.head, w.filled = bucket, true
	case bucket > w.head:
		w.m2[slot(w.head)] = float32(w.headM2)
		if bucket-w.head >= slots {
			w.n, w.closed = [slots]uint16{}, stats{}
		} else {
			for b := w.head + 1; b <= bucket; b++ {
				w.n[slot(b)] = 0
			}
		}
		w.head, w.headM2 = bucket, 0
		w.close()
	case bucket <= w.head-slots:
		return false
	}
	return true
}

// close sums the buckets that are not being filled.
func (w *window) close() {
	w.closed = stats{}
	for b := w.head - closedBuckets; b < w.head; b++ {
		i := slot(b)
		w.closed.merge(stats{float64(w.n[i]), w.mean[i], float64(w.m2[i])})
	}
}

// stats returns what the window holds.
func (w *window) stats() stats {
	s := w.closed
	i := slot(w.head)
	s.merge(stats{float64(w.n[i]), w.mean[i], w.headM2})
	return s
}

// add takes a reading into a bucket that at has let in.
func (w *window) add(bucket int32, v float64) { w.put(bucket, stats{n: 1, mean: v}) }

// put takes a set of readings into a bucket that at has let in.
func (w *window) put(bucket int32, s stats) {
	i := slot(bucket)
	var have stats // a bucket without readings keeps the numbers of an older one
	if w.n[i] > 0 {
		have = stats{float64(w.n[i]), w.mean[i], float64(w.m2[i])}
	}
	if bucket == w.head {
		have.m2 = w.headM2
	}
	have.merge(s)
	w.n[i], w.mean[i] = uint16(min(have.n, math.MaxUint16)), have.mean
	if bucket == w.head {
		w.headM2 = have.m2
		return
	}
	w.m2[i] = float32(min(have.m2, math.MaxFloat32))
	w.close()
}

// reset forgets everything.
func (w *window) reset() { *w = window{} }
