package admission

import "time"

// bucket is a token bucket that may run into debt: who finds it above zero may
// take any amount, so that a batch larger than the burst passes too, and the
// debt keeps the rate exact in the long run.
type bucket struct {
	tokens float64
	at     time.Time
}

// fill adds what has come since the last time.
func (b *bucket) fill(now time.Time, rate, burst float64) {
	if b.at.IsZero() {
		b.tokens = burst
	} else if d := now.Sub(b.at).Seconds(); d > 0 {
		b.tokens += d * rate
	}
	b.tokens = min(b.tokens, burst)
	b.at = now
}

// wait is how long until it is above zero again.
func (b *bucket) wait(rate float64) time.Duration {
	if b.tokens > 0 {
		return 0
	}
	return seconds((1 - b.tokens) / rate)
}

// seconds as a duration, never more than an hour.
func seconds(s float64) time.Duration {
	if !(s < 3600) {
		return time.Hour
	}
	return time.Duration(s * float64(time.Second))
}

// fleet is what the gate knows of one tenant while it is active.
type fleet struct {
	requests int
	bytes    int
	seen     time.Time
	quota    bucket
	share    bucket // of the drain, while the log's readers are behind
}

// Quota is the allowance of a fleet.
type Quota struct {
	Rate  float64 // events a second; 0: no bound
	Burst float64
}

// Quotas are the default allowance and those of fleets that differ.
type Quotas struct {
	All   Quota
	Named map[string]Quota
}

func (q Quotas) of(fleet string) Quota {
	if own, ok := q.Named[fleet]; ok {
		return own
	}
	return q.All
}
