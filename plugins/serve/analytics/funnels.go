package analytics

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weir/plugins/process/rule"
)

// funnel is how far devices came in a range, each counted once, as far as it came.
type funnel struct {
	Name    string       `json:"name"`
	Devices int64        `json:"devices"`
	Entries int64        `json:"entries"` // a device may begin more than once
	Exact   bool         `json:"exact"`
	Error   float64      `json:"error"` // the standard error of devices, as a share; 0 when they are exact
	From    time.Time    `json:"from"`  // of what is counted
	To      time.Time    `json:"to"`
	Steps   []funnelStep `json:"steps"`
}

// funnelStep is how many devices made a step.
type funnelStep struct {
	Name    string  `json:"name"`
	Devices int64   `json:"devices"`
	Share   float64 `json:"share"`    // of those that began
	DropOff int64   `json:"drop_off"` // devices that made the step before, and not this
}

// oneByOne is up to how many results are counted one by one, exactly, though there are
// sums of them.
const oneByOne = 100_000

// funnel reads one: a rule of that name whose values are its steps, null from where
// it ended. Few results are counted one by one; of many, the sums of hours are added up,
// and of more than can be counted at its ends the range has these hours whole.
func (s *Source) funnel(ctx context.Context, a ask, name string, now time.Time) (*funnel, error) {
	q := rule.Query{Fleet: a.fleet, Rule: name, From: a.from, To: a.to}
	if a.to.After(now.Add(-time.Minute)) { // of a range to now, what is known of the hour
		q.To = hourAfter(a.to)
	}
	summed, err := rule.FunnelEntries(ctx, s.db, q)
	if err != nil {
		return nil, err
	}
	if summed <= s.oneByOne {
		f, err := s.countFunnel(ctx, a, name)
		if !errors.Is(err, errTooMuch) {
			return f, err
		}
	}
	open, err := s.open.Of(ctx, a.fleet, name)
	if err != nil {
		return nil, err
	}
	if len(open) > 0 { // it is no pattern: what it has open is told again
		return s.countFunnel(ctx, a, name)
	}
	sum, err := rule.SumFunnel(ctx, s.db, q, oneByOne)
	if errors.Is(err, rule.ErrTooMany) { // at the ends of the range, or no sums have them
		q.From, q.To = q.From.Truncate(time.Hour), hourAfter(q.To)
		sum, err = rule.SumFunnel(ctx, s.db, q, mostResults)
	}
	switch {
	case errors.Is(err, rule.ErrTooMany):
		return nil, errTooMuch
	case err != nil:
		return nil, err
	}
	f := &funnel{Name: name, From: q.From.UTC(), To: q.To.UTC(), Exact: sum.Exact(), Entries: sum.Entries,
		Steps: []funnelStep{}}
	if !f.Exact {
		f.Error = rule.UniquesError
	}
	began, steps := sum.Devices()
	f.Devices = began
	for _, step := range steps {
		f.Steps = append(f.Steps, funnelStep{Name: step.Name, Devices: step.Devices})
	}
	f.share()
	return f, nil
}

// hourAfter is the first whole hour that is not before a time.
func hourAfter(at time.Time) time.Time {
	if hour := at.Truncate(time.Hour); !hour.Equal(at) {
		return hour.Add(time.Hour)
	}
	return at
}

// countFunnel counts results one by one.
func (s *Source) countFunnel(ctx context.Context, a ask, name string) (*funnel, error) {
	f := &funnel{Name: name, From: a.from.UTC(), To: a.to.UTC(), Exact: true, Steps: []funnelStep{}}
	furthest := map[string]int{}
	err := s.each(ctx, a.fleet, name, a.from, a.to, func(r *result) error {
		more, made, err := rule.FunnelSteps(r.Values, len(f.Steps))
		if err != nil {
			return fmt.Errorf("reading the steps of result %s: %w", r.ID, err)
		}
		f.Entries++
		for _, step := range more {
			f.Steps = append(f.Steps, funnelStep{Name: step})
		}
		device := string(r.Key["device_id"])
		furthest[device] = max(furthest[device], made)
		return nil
	})
	for _, made := range furthest {
		for i := range made {
			f.Steps[i].Devices++
		}
	}
	f.Devices = int64(len(furthest))
	f.share()
	return f, err
}

// share says of each step what its devices are of those that began, and of those before.
func (f *funnel) share() {
	for i := range f.Steps {
		if f.Devices > 0 {
			f.Steps[i].Share = float64(f.Steps[i].Devices) / float64(f.Devices)
		}
		if i > 0 {
			f.Steps[i].DropOff = f.Steps[i-1].Devices - f.Steps[i].Devices
		}
	}
}
