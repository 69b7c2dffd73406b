package simulate

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Summary is the result of a run. Counts are of events unless they say requests.
type Summary struct {
	Seed        uint64           `json:"seed"`
	Elapsed     float64          `json:"elapsed_s"`
	Connections int              `json:"connections"`
	Requests    int64            `json:"requests"`
	Sent        int64            `json:"sent"`
	Accepted    int64            `json:"accepted"`
	Rejected    int64            `json:"rejected"`
	Failed      int64            `json:"failed"`  // finally refused or without an answer
	Retried     int64            `json:"retried"` // resent events, counted each time
	Rate        float64          `json:"rate"`    // events with a verdict, a second
	Codes       map[string]int64 `json:"codes"`   // reasons of rejected and failed events
	Answers     map[string]int64 `json:"answers"` // requests without verdicts, by reason
	Kinds       []KindCount      `json:"kinds"`
	Latency     Latency          `json:"latency_ms"`  // from when the event was due to its verdict
	Response    Latency          `json:"response_ms"` // from when the request was sent to the verdict
	Breaches    map[string]int64 `json:"breaches"`
	Examples    []string         `json:"examples"` // of breaches
}

// KindCount is how many events of a kind got which verdict.
type KindCount struct {
	Kind    Kind    `json:"kind"`
	Verdict Verdict `json:"verdict"`
	Code    string  `json:"code,omitempty"`
	Events  int64   `json:"events"`
}

// Latency is in milliseconds, over events.
type Latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	ms := func(us int64) float64 { return float64(us) / 1000 }
	return Latency{P50: ms(h.ValueAtQuantile(50)), P99: ms(h.ValueAtQuantile(99)),
		P999: ms(h.ValueAtQuantile(99.9)), Max: ms(h.Max())}
}

func (t *tally) summary(conf Config, connections int, elapsed time.Duration) *Summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &Summary{
		Seed: conf.Seed, Elapsed: elapsed.Seconds(), Connections: connections, Requests: t.requests,
		Sent: t.sent.Load(), Accepted: t.accepted.Load(), Rejected: t.rejected.Load(),
		Failed: t.failed.Load(), Retried: t.retried.Load(),
		Codes: map[string]int64{}, Answers: t.answers, Breaches: t.breaches, Examples: t.example,
		Latency: latencyOf(t.latency), Response: latencyOf(t.response),
	}
	s.Rate = float64(s.Accepted+s.Rejected) / max(s.Elapsed, 1e-9)
	for o, n := range t.outcomes {
		s.Kinds = append(s.Kinds, KindCount{o.kind, o.verdict, o.code, n})
		if o.verdict != verdictAccepted {
			s.Codes[o.code] += n
		}
	}
	order := allKinds()
	slices.SortFunc(s.Kinds, func(a, b KindCount) int {
		if d := slices.Index(order, a.Kind) - slices.Index(order, b.Kind); d != 0 {
			return d
		}
		if d := strings.Compare(string(a.Verdict), string(b.Verdict)); d != 0 {
			return d
		}
		return strings.Compare(a.Code, b.Code)
	})
	return s
}

// Err returns an error if the gate broke its contract or no event got a verdict.
func (s *Summary) Err() error {
	var breaches int64
	for _, n := range s.Breaches {
		breaches += n
	}
	switch {
	case breaches > 0:
		return fmt.Errorf("the gate broke its contract %d times, first: %s", breaches, s.Examples[0])
	case s.Sent > 0 && s.Accepted+s.Rejected == 0:
		return fmt.Errorf("none of %d events got a verdict: %s", s.Sent, reasons(s.Codes))
	}
	return nil
}

func reasons(codes map[string]int64) string {
	var out []string
	for code, n := range codes {
		out = append(out, fmt.Sprintf("%s %d", code, n))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// Print writes the summary for people.
func (s *Summary) Print(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	p := func(format string, args ...any) { fmt.Fprintf(w, format, args...) } // the writer reports errors in Flush
	p("sent\taccepted\trejected\tfailed\tretried\tevents/s\t\n")
	p("%d\t%d\t%d\t%d\t%d\t%.0f\t\n\n", s.Sent, s.Accepted, s.Rejected, s.Failed, s.Retried, s.Rate)
	p("kind\tverdict\tcode\tevents\t\n")
	for _, k := range s.Kinds {
		p("%s\t%s\t%s\t%d\t\n", k.Kind, k.Verdict, k.Code, k.Events)
	}
	p("\nms to the verdict\tp50\tp99\tp99.9\tmax\t\n")
	for _, l := range []struct {
		name string
		Latency
	}{{"from when due", s.Latency}, {"from when sent", s.Response}} {
		p("%s\t%.2f\t%.2f\t%.2f\t%.2f\t\n", l.name, l.P50, l.P99, l.P999, l.Max)
	}
	if len(s.Answers) > 0 {
		p("\nrequests without verdicts: %s\n", reasons(s.Answers))
	}
	for _, e := range s.Examples {
		p("\ncontract broken: %s", e)
	}
	if len(s.Examples) > 0 {
		p("\n")
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing the summary: %w", err)
	}
	return nil
}
