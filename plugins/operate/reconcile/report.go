package reconcile

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"weir/plugins/process/rule"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
)

// Report is the outcome of a reconciliation.
type Report struct {
	At         time.Time         `json:"at"`
	From       *time.Time        `json:"from,omitempty"` // of the records' times, when asked for
	To         *time.Time        `json:"to,omitempty"`
	Deep       bool              `json:"deep"`     // rows were read, not only what objects say of themselves
	Objects    int               `json:"objects"`  // read for it
	Compared   int64             `json:"compared"` // duplicates whose event was compared with the one it repeats
	Total      Counts            `json:"total"`
	Partitions []PartitionReport `json:"partitions"`
	Rules      []rule.Account    `json:"rules,omitempty"`    // what became of events in rules
	Sample     *rule.Recomputed  `json:"sample,omitempty"`   // results of rules that were computed again
	Enriched   *raw.LaterSums    `json:"enriched,omitempty"` // rows of what was found out about events later
	Problems   []string          `json:"problems"`           // where the stores contradict themselves or the log
}

// Counts are records, by what became of them.
type Counts struct {
	Accepted     int64 `json:"accepted"` // offsets: the sum of the others
	Stored       int64 `json:"stored"`
	Erased       int64 `json:"erased"` // were stored or dead-lettered, or would have been
	Duplicates   int64 `json:"duplicates"`
	DeadLettered int64 `json:"dead_lettered"`
	Other        int64 `json:"other"` // replays for other stages
	// offsets without an event: markers of transactions, what was aborted or compacted
	Markers         int64 `json:"markers"`
	InFlight        int64 `json:"in_flight"`
	FalseDuplicates int64 `json:"false_duplicates"` // said to repeat a record that is another event
	Unexplained     int64 `json:"unexplained"`
}

// PartitionReport is about offsets First to End-1 of one partition.
type PartitionReport struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	First     int64  `json:"first"`
	End       int64  `json:"end"`
	Committed int64  `json:"committed"`
	Counts
	Ranges []Range `json:"unexplained_ranges"`
}

// Range is a run of offsets that nothing explains, or that are false duplicates.
type Range struct {
	First  int64  `json:"first"`
	Last   int64  `json:"last"`
	Reason string `json:"reason"`
}

// Loss tells whether the promise does not hold.
func (r *Report) Loss() bool {
	return r.Total.Unexplained > 0 || r.Total.FalseDuplicates > 0 || len(r.Problems) > 0
}

// settled tells whether waiting could change nothing.
func (r *Report) settled() bool { return r.Total.InFlight == 0 && r.Total.Unexplained == 0 }

// terms are what Accepted is the sum of.
func (c *Counts) terms() map[string]int64 {
	return map[string]int64{"stored": c.Stored, "erased": c.Erased, "duplicates": c.Duplicates,
		"dead_lettered": c.DeadLettered, "other": c.Other, "markers": c.Markers, "in_flight": c.InFlight,
		"unexplained": c.Unexplained}
}

// Add adds what became of other records.
func (c *Counts) Add(o Counts) {
	c.Accepted += o.Accepted
	c.Stored += o.Stored
	c.Erased += o.Erased
	c.Duplicates += o.Duplicates
	c.DeadLettered += o.DeadLettered
	c.Other += o.Other
	c.Markers += o.Markers
	c.FalseDuplicates += o.FalseDuplicates
	c.InFlight += o.InFlight
	c.Unexplained += o.Unexplained
}

// within is the part of a finding from an offset up to another.
func (f *finding) within(first, end int64) *finding {
	span := lake.NewOffsets(lake.Span{First: first, Last: end - 1})
	return &finding{stored: span.And(f.stored), erased: span.And(f.erased), duplicates: span.And(f.duplicates),
		differing: span.And(f.differing), dead: span.And(f.dead), other: span.And(f.other), markers: span.And(f.markers),
		inFlight: span.And(f.inFlight), unexplained: span.And(f.unexplained)}
}

func (f *finding) counts(at reach) Counts {
	return Counts{
		Accepted: at.end - at.first, Stored: f.stored.Count(), Erased: f.erased.Count(), Duplicates: f.duplicates.Count(),
		DeadLettered: f.dead.Count(),
		Other:        f.other.Count(), Markers: f.markers.Count(), InFlight: f.inFlight.Count(),
		FalseDuplicates: f.differing.Count(), Unexplained: f.unexplained.Count(),
	}
}

// reason is why a set of offsets is unexplained.
type reason struct {
	set  lake.Offsets
	rest bool // all that is left
	text string
}

// rangesMost bounds the ranges that a report names for one partition.
const rangesMost = 1000

// ranges names what is unexplained, each range with the first reason it has.
func ranges(unexplained lake.Offsets, reasons []reason) []Range {
	out := []Range{}
	for _, why := range reasons {
		set := unexplained
		if !why.rest {
			set = unexplained.And(why.set)
		}
		unexplained = unexplained.Minus(set)
		for _, s := range set {
			out = append(out, Range{s.First, s.Last, why.text})
		}
	}
	slices.SortFunc(out, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	if n := len(out) - rangesMost; n > 0 {
		out[rangesMost] = Range{out[rangesMost].First, out[len(out)-1].Last, fmt.Sprintf("within, %d more ranges", n)}
		out = out[:rangesMost+1]
	}
	return out
}

func (p PartitionReport) before(o PartitionReport) int {
	return cmp.Or(cmp.Compare(p.Topic, o.Topic), cmp.Compare(p.Partition, o.Partition))
}

// rangesShown bounds the ranges of one partition in the table.
const rangesShown = 20

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, span string, c Counts) {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n",
			name, span, c.Accepted, c.Stored, c.Erased, c.Duplicates, c.DeadLettered, c.Other, c.Markers, c.InFlight,
			c.FalseDuplicates, c.Unexplained)
	}
	_, _ = fmt.Fprintln(t, "PARTITION\tOFFSETS\tACCEPTED\tSTORED\tERASED\tDUPLICATES\tDEAD LETTERS\tOTHER\tMARKERS\tIN "+
		"FLIGHT\tFALSE DUPLICATES\tUNEXPLAINED\t")
	for _, p := range r.Partitions {
		span := "-"
		if p.End > p.First {
			span = fmt.Sprintf("%d-%d", p.First, p.End-1)
		}
		row(fmt.Sprintf("%s/%d", p.Topic, p.Partition), span, p.Counts)
	}
	row("total", "", r.Total)
	if err := t.Flush(); err != nil { // a failed write is kept until here
		return err
	}
	if err := r.writeRules(w); err != nil {
		return err
	}
	if err := r.writeEnriched(w); err != nil {
		return err
	}
	var b strings.Builder
	for _, p := range r.Partitions {
		for i, g := range p.Ranges {
			if i == rangesShown {
				fmt.Fprintf(&b, "UNEXPLAINED %s/%d %d more ranges: see --json\n", p.Topic, p.Partition, len(p.Ranges)-i)
				break
			}
			fmt.Fprintf(&b, "UNEXPLAINED %s/%d offsets %d-%d: %s\n", p.Topic, p.Partition, g.First, g.Last, g.Reason)
		}
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "PROBLEM %s\n", p)
	}
	switch {
	case r.Total.Unexplained > 0:
		fmt.Fprintf(&b, "%d of %d records are unexplained.\n", r.Total.Unexplained, r.Total.Accepted)
	case r.Total.FalseDuplicates > 0:
		fmt.Fprintf(&b, "%d records are no duplicates of what they are said to repeat: their events are lost.\n",
			r.Total.FalseDuplicates)
	case len(r.Problems) > 0:
		b.WriteString("Every record is explained, but the stores contradict themselves: see above.\n")
	case r.Total.InFlight > 0:
		fmt.Fprintf(&b, "Every record is explained; %d are still in flight: the log holds them for a stage that has not "+
			"come to them.\n", r.Total.InFlight)
	default:
		b.WriteString("Every record is explained.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
