package anomaly

import "math"

const (
	closedBuckets = 12                // full buckets in a window
	slots         = closedBuckets + 1 // with the one being filled
)

// stats describes a set of readings: their number, their mean, and the sum of squared deviations
// from it.
type stats struct {
	n    float64
	mean float64
	m2   float64
}

// merge adds another set (by the method of Chan, Golub and LeVeque).
func (s *stats) merge(o stats) {
	if o.n == 0 {
		return
	}
	n, d := s.n+o.n, o.mean-s.mean
	s.mean += d * (o.n / n)
	s.m2 += o.m2 + d*d*(s.n*o.n/n)
	s.n = n
}

// stddev returns the sample's standard deviation; 0 for less than two readings.
func (s stats) stddev() float64 {
	if s.n < 2 || !(s.m2 > 0) {
		return 0
	}
	return math.Sqrt(s.m2 / (s.n - 1))
}

// window has the recent past of one series in constant memory: a ring of buckets of equal width,
// aligned to the epoch, each with its count, mean and m2. It covers twelve full buckets and the one
// being filled: with a width of five minutes, the last 60 to 65 minutes. As its buckets are whole
// minutes, it can be rebuilt from one-minute rollups.
type window struct {
	mean   [slots]float64
	closed stats          // all buckets but head
	headM2 float64        // of head, at full precision
	m2     [slots]float32 // of the other buckets
	n      [slots]uint16  // counts above 65,535 are cut
	head   int32          // number of the bucket being filled: unix time / width
	filled bool           // false: head is not set yet
}

func slot(bucket int32) int32 {
	i := bucket % slots
	if i < 0 {
		i += slots
	}
	return i
}

// at advances the window to a bucket and forgets what is too old. It returns false if the bucket is
// before the window.
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

// close sums the buckets before head.
func (w *window) close() {
	w.closed = stats{}
	for b := w.head - closedBuckets; b < w.head; b++ {
		i := slot(b)
		w.closed.merge(stats{float64(w.n[i]), w.mean[i], float64(w.m2[i])})
	}
}

// stats returns the sum of all buckets.
func (w *window) stats() stats {
	s := w.closed
	i := slot(w.head)
	s.merge(stats{float64(w.n[i]), w.mean[i], w.headM2})
	return s
}

// add adds a reading to a bucket for which at has returned true.
func (w *window) add(bucket int32, v float64) { w.put(bucket, stats{n: 1, mean: v}) }

// put adds a set of readings to a bucket for which at has returned true.
func (w *window) put(bucket int32, s stats) {
	i := slot(bucket)
	var have stats // a bucket without readings has the numbers of an older one
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
