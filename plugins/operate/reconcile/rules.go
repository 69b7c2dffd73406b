package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"weir/internal/event"
	"weir/plugins/process/rule"
)

// addRules tells what became of the events in rules, where the control store is
// known. An account that does not come out is a problem.
func (r *Report) addRules(ctx context.Context, conf Config) (err error) {
	if conf.Control == nil {
		return nil
	}
	all, err := rule.Accounts(ctx, conf.Control)
	if err != nil {
		return err
	}
	for _, a := range all {
		if conf.mine(a.Topic) {
			r.Rules = append(r.Rules, a)
			r.Problems = append(r.Problems, a.Problems()...)
		}
	}
	if conf.mine("") {
		r.Problems = append(r.Problems, rule.Unequal(all)...)
	}
	return nil
}

// mine tells whether what rules made of a topic is told with this log's events: a join
// of two, with telemetry's.
func (c Config) mine(topic string) bool {
	return event.LogOfTopic(topic) == cmp.Or(c.Events, event.LogTelemetry)
}

// writeRules writes the sums of each rule.
func (r *Report) writeRules(w io.Writer) error {
	sums := map[string]rule.Counts{}
	for _, a := range r.Rules {
		for _, of := range a.Rules {
			sum := sums[of.Name]
			for o, n := range of.Counts {
				sum[o] += n
			}
			sums[of.Name] = sum
		}
	}
	if len(sums) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "RULE\tCOUNTED\tFILTERED\tLATE\tFAILED\tOVER LIMIT\t")
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		_, _ = fmt.Fprintf(t, "%s\t", name)
		for _, n := range sums[name] {
			_, _ = fmt.Fprintf(t, "%d\t", n)
		}
		_, _ = fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil || r.Sample == nil { // a failed write is kept until here
		return err
	}
	return writeSample(w, r.Sample)
}

// writeSample writes what came of results that were computed again.
func writeSample(w io.Writer, s *rule.Recomputed) error {
	text := fmt.Appendf(nil, "%d results of rules computed again from the raw store (seed %d): %d right", s.Sampled,
		s.Seed, s.Right)
	if s.Erased > 0 {
		text = fmt.Appendf(text, ", %d right but for %d events that were erased", s.Erased, s.ErasedEvents)
	}
	for _, why := range slices.Sorted(maps.Keys(s.Skipped)) {
		text = fmt.Appendf(text, ", %d %s", s.Skipped[why], why)
	}
	_, err := w.Write(fmt.Appendf(text, ", %d differing\n", len(s.Differing)))
	return err
}
