package overview

import (
	"math"
	"time"

	"weir/internal/control/status"
)

// gates sums what the gates of running processes have counted, in total and in the last seconds. rates and latency
// are nil when no process has a gate's counts, or none for long enough; why says which.
func gates(rows []status.Row, now time.Time) (rates *Rates, latency *Latency, why string) {
	sum := &Rates{Requests: map[string]float64{}, Totals: Totals{Requests: map[string]int64{},
		Rejected: map[string]int64{}, Refusals: map[string]int64{}}}
	verdicts := &Latency{}
	var buckets []status.Bucket
	oldest := time.Time{}
	counted, measured := false, false
	for i := range rows {
		r := &rows[i]
		if r.Gone() || r.Counts == nil || !r.Counts.Gate {
			continue
		}
		c := r.Counts
		counted = true
		sum.Totals.Accepted += c.Accepted
		for to, from := range map[*map[string]int64]map[string]int64{&sum.Totals.Requests: c.Requests,
			&sum.Totals.Rejected: c.Rejected, &sum.Totals.Refusals: c.Refusals} {
			for name, n := range from {
				(*to)[name] += n
			}
		}
		if oldest.IsZero() || r.SeenAt.Before(oldest) {
			oldest = r.SeenAt
		}
		if r.Before == nil {
			continue
		}
		over := c.At.Sub(r.Before.At).Seconds()
		if over <= 0 {
			continue
		}
		measured = true
		sum.Over = max(sum.Over, over)
		sum.Accepted += float64(c.Accepted-r.Before.Accepted) / over
		for code, n := range c.Rejected {
			sum.Rejected += float64(n-r.Before.Rejected[code]) / over
		}
		for code, n := range c.Requests {
			sum.Requests[code] += float64(n-r.Before.Requests[code]) / over
		}
		for j, b := range c.Verdicts {
			if j == len(buckets) {
				buckets = append(buckets, status.Bucket{Le: b.Le})
			}
			buckets[j].Count += b.Count
			if j < len(r.Before.Verdicts) {
				buckets[j].Count -= r.Before.Verdicts[j].Count
			}
		}
	}
	switch {
	case !counted:
		return nil, nil, "no process with a gate tells what it counts"
	case !measured:
		return nil, nil, "the gate has run for a few seconds only"
	}
	sum.Stamp = stamp(oldest, now)
	if len(buckets) > 0 {
		verdicts.Requests = buckets[len(buckets)-1].Count
	}
	if verdicts.Requests <= 0 {
		return sum, nil, "no request was answered in the last seconds"
	}
	verdicts.Stamp, verdicts.Over = sum.Stamp, sum.Over
	verdicts.P50, verdicts.P99 = quantile(buckets, 0.50), quantile(buckets, 0.99)
	return sum, verdicts, ""
}

// quantile estimates a quantile of a histogram like Prometheus: by linear interpolation within a bucket, and for the
// last one its lower bound.
func quantile(buckets []status.Bucket, q float64) float64 {
	rank := q * float64(buckets[len(buckets)-1].Count)
	low, below := 0.0, 0.0
	for _, b := range buckets {
		if n := float64(b.Count); n >= rank {
			if b.Le == math.MaxFloat64 || n == below {
				return low
			}
			return low + (b.Le-low)*(rank-below)/(n-below)
		}
		low, below = b.Le, float64(b.Count)
	}
	return low
}
