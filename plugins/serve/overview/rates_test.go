package overview

import (
	"math"
	"testing"
	"time"

	"weir/internal/control/status"
)

func counted(at time.Time, accepted, answered int64) *status.Counts {
	return &status.Counts{At: at, Gate: true, Accepted: accepted, Requests: map[string]int64{"202": answered},
		Rejected: map[string]int64{"schema_violation": accepted / 10}, Refusals: map[string]int64{},
		Verdicts: []status.Bucket{{Le: 0.1, Count: answered / 2}, {Le: 0.2, Count: answered},
			{Le: math.MaxFloat64, Count: answered}}}
}

// Totals are of all gates that run; rates are of the last seconds, of each by its
// own clock; one that is gone counts no more.
func TestRates_AreTheSumOfTheGatesThatRun(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	rows := []status.Row{
		{ID: "a", SeenAt: now, Counts: counted(now, 1000, 100), Before: counted(now.Add(-10*time.Second), 0, 0)},
		{ID: "b", SeenAt: now, Counts: counted(now.Add(time.Hour), 500, 50),
			Before: counted(now.Add(time.Hour-5*time.Second), 400, 40)},
		{ID: "gone", Age: time.Minute, Counts: counted(now, 1e6, 1e6), Before: counted(now.Add(-time.Second), 0, 0)},
		{ID: "no gate", SeenAt: now, Counts: &status.Counts{At: now}},
	}
	rates, latency, _ := gates(rows, now)
	if rates == nil || rates.Totals.Accepted != 1500 || rates.Totals.Requests["202"] != 150 ||
		rates.Accepted != 100+20 || rates.Requests["202"] != 10+2 || rates.Rejected != 10+2 || rates.Over != 10 {
		t.Errorf("rates %+v", rates)
	}
	if latency == nil || latency.Requests != 110 || latency.P50 < 0.099 || latency.P50 > 0.101 || latency.P99 < 0.19 ||
		latency.P99 > 0.2 {
		t.Errorf("latency %+v", latency)
	}
}

// What is not known is nil, with a sentence, and never 0.
func TestRates_WhatIsNotKnownIsNotZero(t *testing.T) {
	now := time.Now()
	idle := status.Row{SeenAt: now, Counts: counted(now, 5, 5), Before: counted(now.Add(-10*time.Second), 5, 5)}
	fresh := status.Row{SeenAt: now, Counts: &status.Counts{At: now, Gate: true}}
	for name, c := range map[string]struct {
		rows            []status.Row
		rates, verdicts bool
	}{
		"nobody runs": {nil, false, false}, "no gate": {[]status.Row{{Counts: &status.Counts{}}}, false, false},
		"its metrics cannot be read": {[]status.Row{{SeenAt: now}}, false, false},
		"it has just begun":          {[]status.Row{fresh}, false, false}, "nobody sends": {[]status.Row{idle}, true, false},
	} {
		rates, latency, why := gates(c.rows, now)
		if (rates != nil) != c.rates || (latency != nil) != c.verdicts || why == "" {
			t.Errorf("%s: %+v %+v %q", name, rates, latency, why)
		}
	}
}

func TestRates_AQuantileLiesInItsBucket(t *testing.T) {
	buckets := []status.Bucket{{Le: 1, Count: 0}, {Le: 2, Count: 90}, {Le: 4, Count: 99},
		{Le: math.MaxFloat64, Count: 100}}
	for q, want := range map[float64]float64{0.45: 1.5, 0.9: 2, 0.99: 4, 1: 4} {
		if got := quantile(buckets, q); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
}
