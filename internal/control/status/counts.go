package status

import (
	"math"
	"time"

	"weir/internal/platform/prom"
)

// Counts are values of a process's metrics at a time. All but Up only grow while the process lives.
type Counts struct {
	At       time.Time        `json:"at"`
	Gate     bool             `json:"gate"`     // whether the process has a gate
	Accepted int64            `json:"accepted"` // events accepted by the gate
	Rejected map[string]int64 `json:"rejected"` // events by code
	Requests map[string]int64 `json:"requests"` // by HTTP status
	Refusals map[string]int64 `json:"refusals"` // by reason
	Verdicts []Bucket         `json:"verdicts"` // seconds until the verdict; empty without a gate
	Flows    []Flow           `json:"flows"`    // per input and output
	Up       map[string]bool  `json:"up"`       // by store: whether its writers reach it
}

// Bucket is a cumulative histogram bucket: Count observations took at most Le seconds. The last Le is
// math.MaxFloat64.
type Bucket struct {
	Le    float64 `json:"le"`
	Count int64   `json:"n"`
}

// Flow counts the events that passed an input or output of a stream.
type Flow struct {
	Stream string `json:"stream"`
	Path   string `json:"path"` // path in the stream's config, as root.output.fallback.0
	Label  string `json:"label"`
	Events int64  `json:"events"`
	Errors int64  `json:"errors"`
}

// stores maps the gauges by which writers report whether their store is reachable to the store's name.
func stores() map[string]string {
	return map[string]string{"weir_raw_store_up": "raw", "weir_rollup_store_up": "rollups",
		"weir_dead_letter_store_up": "dead_letters", "weir_dedupe_store_up": "claims"}
}

// The engine's counters under the names that configs/service.yaml gives them.
const (
	inputReceived = "input_received_total"
	outputSent    = "output_sent_total"
	outputErrors  = "output_error_total"
)

// Wanted tells whether Counted reads a metric.
func Wanted(metric string) bool {
	switch metric {
	case "weir_gate_accepted_events_total", "weir_gate_rejected_events_total", "weir_gate_requests_total",
		"weir_gate_refusals_total", "weir_gate_request_seconds", inputReceived, outputSent, outputErrors:
		return true
	}
	return stores()[metric] != ""
}

// Counted extracts Counts from a scrape of a process.
func Counted(s prom.Scrape, at time.Time) *Counts {
	by := func(metric, label string) map[string]int64 {
		out := map[string]int64{}
		for _, one := range s.Series[metric] {
			out[one.Labels[label]] += int64(one.Value)
		}
		return out
	}
	c := &Counts{At: at, Rejected: by("weir_gate_rejected_events_total", "code"),
		Requests: by("weir_gate_requests_total", "status"), Refusals: by("weir_gate_refusals_total", "reason"),
		Up: map[string]bool{}, Gate: len(s.Series["weir_gate_rejected_events_total"]) > 0} // present from the start
	for _, one := range s.Series["weir_gate_accepted_events_total"] {
		c.Accepted += int64(one.Value)
	}
	for _, buckets := range s.Histograms["weir_gate_request_seconds"] {
		for i, b := range buckets {
			if i == len(c.Verdicts) {
				c.Verdicts = append(c.Verdicts, Bucket{Le: min(b.Le, math.MaxFloat64)}) // JSON has no +Inf
			}
			c.Verdicts[i].Count += int64(b.Count)
		}
	}
	for metric, store := range stores() {
		for _, one := range s.Series[metric] {
			up, known := c.Up[store]
			c.Up[store] = one.Value > 0 && (up || !known)
		}
	}
	errors := map[[2]string]int64{}
	for _, one := range s.Series[outputErrors] {
		errors[[2]string{one.Labels["stream"], one.Labels["path"]}] += int64(one.Value)
	}
	for _, metric := range []string{inputReceived, outputSent} {
		for _, one := range s.Series[metric] {
			l := one.Labels
			c.Flows = append(c.Flows, Flow{Stream: l["stream"], Path: l["path"], Label: l["label"], Events: int64(one.Value),
				Errors: errors[[2]string{l["stream"], l["path"]}]})
		}
	}
	return c
}
