package rule

import (
	"cmp"
	"context"
	"errors"
	"math"
	"reflect"
	"slices"

	"weir/internal/event"
)

// judge returns in which parts a result differs from what its events yield, or why that cannot be decided. events
// are sorted by offset.
func (o *origin) judge(ctx context.Context, s Sample, t *telling, events []applied) (why string, what []string,
	err error) {
	what, err = o.compare(t, events)
	if err != nil || len(what) == 0 {
		return "", nil, err
	}
	less, unsure := []string{}, false
	if w := o.Rule.window; w != nil && w.grid != nil {
		// A window that is closed for one event is closed for all later ones.
		upTo, _ := slices.BinarySearchFunc(events, o.last+1, func(e applied, offset int64) int {
			return cmp.Compare(e.Offset, offset)
		})
		if less, err = o.compare(t, events[:upTo]); err == nil && len(less) == 0 {
			return o.late(ctx, s, t, events[upTo:])
		}
	} else if events, unsure, err = o.onTime(ctx, s, events); err == nil {
		less, err = o.compare(t, events)
	}
	if err != nil || len(less) == 0 {
		return "", nil, err
	}
	if len(less) < len(what) {
		what = less
	}
	days := true
	if int64(len(events)) < t.Count {
		from, to := o.span(t)
		days, err = s.Events.Days(ctx, t.Fleet, from, to)
	}
	switch {
	case err != nil:
		return "", nil, err
	case !o.known(s.Events, events):
		return SkippedMapping, nil, nil
	case !days:
		return SkippedRaw, nil, nil
	case o.tally.Counts[OverLimit] > 0 || o.tally.GivenUp > 0:
		return SkippedLimit, nil, nil
	case o.missed > 0:
		return SkippedMissed, nil, nil
	case slices.ContainsFunc(events, func(e applied) bool { return e.again }):
		return SkippedAgain, nil, nil
	case unsure:
		return SkippedLate, nil, nil
	}
	return "", what, nil
}

// known reports whether the events that a result counts, or could count, are available as the rules saw them.
func (o *origin) known(all Events, events []applied) bool {
	return all.Knows(o.read.at(o.last)) && !slices.ContainsFunc(events, func(e applied) bool {
		return !all.Knows(o.read.at(e.Offset))
	})
}

// compare returns in which parts a result differs from what events yield.
func (o *origin) compare(t *telling, events []applied) ([]string, error) {
	if w := o.Rule.window; o.Rule.pattern != nil {
		events = o.fromFirst(events)
	} else if w != nil && w.count > 0 {
		first := o.window(t)
		events = slices.DeleteFunc(slices.Clone(events), func(e applied) bool {
			return e.Offset < first || e.Offset > o.last
		})
	}
	now, err := o.compute(t.ID, events)
	if err != nil {
		return nil, err
	}
	return o.differing(t, now), nil
}

// late decides whether a window was right not to count the events after its last one. The first of them that is of
// its key was late if an event before it had moved the watermark beyond the window; if that cannot be shown, why is
// SkippedLate.
func (o *origin) late(ctx context.Context, s Sample, t *telling, events []applied) (why string, _ []string, err error) {
	for _, e := range events {
		one := o.summing()
		if err := one.add(e); err != nil {
			return "", nil, err
		}
		if !one.counts(o.name) {
			continue
		}
		passed, err := s.Events.Passed(ctx, o.place(e), t.End.UnixMicro()+o.Rule.window.lateness+o.delay)
		if err != nil || !passed {
			return SkippedLate, nil, err
		}
		break // the watermark does not go back: all that follow were late too
	}
	return "", nil, nil
}

// lateMost bounds the events of a result for which onTime checks whether they were late.
const lateMost = 200

// onTime removes the events that were late, as an event before them proves. unsure means that some of the kept ones
// may have been late too, because a newer event came before them.
func (o *origin) onTime(ctx context.Context, s Sample, events []applied) (kept []applied, unsure bool, err error) {
	if o.Rule.window != nil && o.Rule.window.gap == 0 {
		return events, false, nil // count windows follow the order of the log: no event is late
	}
	if len(events) > lateMost {
		return events, true, nil
	}
	for _, e := range events {
		newer, err := s.Events.Passed(ctx, o.place(e), e.At+1)
		late := false
		if err == nil && newer {
			late, err = s.Events.Passed(ctx, o.place(e), e.At+o.waits()+o.delay+1)
		}
		if err != nil {
			return nil, false, err
		}
		if !late {
			kept, unsure = append(kept, e), unsure || newer
		}
	}
	return kept, unsure, nil
}

// waits returns how far the watermark may be past an event, in µs, so that the event is still counted.
func (o *origin) waits() int64 {
	switch r := o.Rule; {
	case r.join != nil:
		return r.join.lateness
	case r.pattern != nil && r.pattern.arrival:
		return r.pattern.within
	case r.pattern != nil:
		return 0
	}
	return o.Rule.window.gap + o.Rule.window.lateness
}

// ends returns the offsets of the first and the last event of a result.
func ends(t *telling) (first, last int64, err error) {
	from, err := event.ParseCoordinates(t.First)
	to, err2 := event.ParseCoordinates(t.Last)
	return from.Offset, to.Offset, errors.Join(err, err2)
}

func (o *origin) place(e applied) event.Coordinates {
	return event.Coordinates{Topic: o.at.topic, Partition: o.at.number, Offset: e.Offset}
}

// fromFirst returns the events from the first one of the match on, in the order in which the pattern takes them.
func (o *origin) fromFirst(events []applied) []applied {
	i := slices.IndexFunc(events, func(e applied) bool { return e.Offset == o.begins })
	if i < 0 {
		return nil
	}
	first := events[i]
	return slices.DeleteFunc(slices.Clone(events), func(e applied) bool {
		if o.Rule.pattern.arrival {
			return e.Offset < first.Offset
		}
		return compareRows(row{at: e.At, id: e.ID}, row{at: first.At, id: first.ID}) < 0
	})
}

// differing returns the parts in which two results differ. Estimated values may differ by the error of the estimate.
func (o *origin) differing(t, now *telling) (what []string) {
	if now == nil {
		return []string{"it is not told"}
	}
	for part, same := range map[string]bool{"count": t.Count == now.Count, "first": t.First == now.First,
		"last": t.Last == now.Last, "window": t.Start.Equal(now.Start) && t.End.Equal(now.End)} {
		if !same {
			what = append(what, part)
		}
	}
	for _, v := range o.values {
		if !v.same(t.Values[v.name], now.Values[v.name]) {
			what = append(what, v.name)
		}
	}
	slices.Sort(what)
	return what
}

// same reports whether a value is what was emitted, within the error of an estimate.
func (v *value) same(told, now any) bool {
	a, numeric := told.(float64)
	b, both := now.(float64)
	if !numeric || !both {
		return reflect.DeepEqual(told, now)
	}
	off := 0.0
	switch v.kind {
	case "quantile":
		off = 0.02 // each of the two within 1 %
	case "distinct":
		if off = 0.05; min(a, b) <= 256 {
			off = 0
		}
	}
	return math.Abs(a-b) <= off*max(math.Abs(a), math.Abs(b))
}
