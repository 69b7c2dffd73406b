package admission

import "time"

// bucket is a token bucket that may run into debt. A caller that finds it above zero may take any
// amount, so that a batch larger than the burst passes, too; the debt keeps the rate exact in the
// long run.
type bucket struct {
	tokens float64
	at     time.Time
}

// fill adds the tokens for the time since the last call.
func (b *bucket) fill(now time.Time, rate, burst float64) {
	if b.at.IsZero() {
		b.tokens = burst
	} else if d := now.Sub(b.at).Seconds(); d > 0 {
		b.tokens += d * rate
	}
	b.tokens = min(b.tokens, burst)
	b.at = now
}

// wait returns how long it takes until the bucket is above zero again.
func (b *bucket) wait(rate float64) time.Duration {
	if b.tokens > 0 {
		return 0
	}
	return seconds((1 - b.tokens) / rate)
}

// seconds returns a duration of at most an hour.
func seconds(s float64) time.Duration {
	if !(s < 3600) {
		return time.Hour
	}
	return time.Duration(s * float64(time.Second))
}

// fleet is the state of an active fleet.
type fleet struct {
	requests int
	bytes    int
	seen     time.Time
	quota    bucket
	share    bucket // of the drain, while the readers of the log are behind
}

// Quota is the allowance of a fleet.
type Quota struct {
	Rate  float64 // events a second; 0: no bound
	Burst float64
}

// Quotas are the default quota and those of fleets that differ.
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
