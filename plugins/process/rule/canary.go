package rule

import (
	"math"
	stdpath "path"
	"slices"
	"strings"

	"weir/internal/platform/predicate"
)

// A canary is a version that is in force for some fleets first. A rule that has another epoch in it than in the version
// for all gets a second operator: that one counts those fleets alone, and emits the windows that begin from then on.
// The first operator goes on counting all fleets, so that it has no gap if the canary is rolled back, and drains like
// any other if the canary comes into force for all. A rule with the same epoch in both has one operator, which emits
// each fleet's results in the form of that fleet's version.

// canary is a rule set that is in force for some fleets.
type canary struct {
	set    *Set
	fleets []string // names or patterns
}

// some is the canary under which a position was written.
type some struct {
	Version string            `json:"version"`
	Fleets  []string          `json:"fleets"`
	Epochs  map[string]string `json:"epochs"` // of rules whose epoch differs, by name; "": it lacks the rule
}

// over compares a canary with the epochs that are in force for all. It is nil if there is no canary.
func (c *canary) over(now map[string]string) *some {
	if c == nil {
		return nil
	}
	s := &some{Version: c.set.Version, Fleets: c.fleets, Epochs: map[string]string{}}
	for name := range now {
		s.Epochs[name] = ""
	}
	for _, r := range c.set.Rules {
		if s.Epochs[r.Name] = r.Epoch; now[r.Name] == r.Epoch {
			delete(s.Epochs, r.Name)
		}
	}
	return s
}

// epoch returns the epoch of a rule in the fleets of the canary; all is the one that all fleets have.
func (s *some) epoch(name, all string) string {
	if s.counts(name) {
		return s.Epochs[name]
	}
	return all
}

// counts tells whether a rule has another epoch in the canary. s may be nil.
func (s *some) counts(name string) bool {
	if s == nil {
		return false
	}
	_, otherwise := s.Epochs[name]
	return otherwise
}

// among tells whether a fleet has one of the names, or matches one of the patterns.
func among(fleets []string, fleet string) bool {
	return slices.ContainsFunc(fleets, func(pattern string) bool {
		if !strings.ContainsAny(pattern, `*?[\`) {
			return pattern == fleet
		}
		fits, err := stdpath.Match(pattern, fleet)
		return fits && err == nil
	})
}

// areFleets tells whether all of these can be names or patterns of fleets, and are not too many.
func areFleets(fleets []string) bool {
	return len(fleets) > 0 && len(fleets) <= fleetsMost && !slices.ContainsFunc(fleets, func(pattern string) bool {
		_, err := stdpath.Match(pattern, "")
		return err != nil || pattern == "" || len(pattern) > 200 || strings.ContainsAny(pattern, ", \t\r\n")
	})
}

// fleetsMost bounds the names and patterns of a canary.
const fleetsMost = 100

// union returns the fleets of both lists, sorted. An empty list stands for all fleets.
func union(a, b []string) []string {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// A position names the version and the canary that it counts by in one text, such as "A+B for plant-1,plant-2".
const (
	withCanary = "+"
	forFleets  = " for "
)

// naming returns the text for a version and its canary.
func naming(version string, c *canary) string {
	if c == nil {
		return version
	}
	return version + withCanary + c.set.Version + forFleets + strings.Join(c.fleets, ",")
}

// named parses a text of naming.
func named(by string) (version, canary string, fleets []string) {
	version, rest, is := strings.Cut(by, withCanary)
	if !is {
		return version, "", nil
	}
	canary, list, _ := strings.Cut(rest, forFleets)
	return version, canary, strings.Split(list, ",")
}

// form is how results of a rule look and what bounds it: what may change without the rule beginning anew.
type form struct {
	version string // of the rule set, as results name it
	emit    emitSpec
	having  *having
	reader  *predicate.Reader // of having
	limits  limits
	also    []byte
}

func (r *Rule) form(version string) form {
	f := form{version: version, emit: r.emit, having: r.having, limits: r.limits, also: r.also}
	if r.having != nil {
		f.reader = r.having.layout.Reader()
	}
	return f
}

// as returns the form of a rule for a fleet.
func (op *operator) as(fleet string) *form {
	if op.first == nil {
		return &op.usual
	}
	f, known := op.forms[fleet]
	if !known {
		if f = &op.usual; among(op.firstFor, fleet) {
			f = op.first
		}
		op.forms[strings.Clone(fleet)] = f
	}
	return f
}

// tellFirst sets the form, for the fleets of a canary, of rules that have the same epoch in it. Call it before keys are
// added, because each key keeps its form.
func (p *partition) tellFirst(c *canary) {
	if c == nil {
		return
	}
	for _, r := range c.set.Rules {
		for _, op := range p.ops {
			if op.Epoch == r.Epoch {
				f := r.form(c.set.Version)
				op.first, op.firstFor, op.forms = &f, c.fleets, map[string]*form{}
			}
		}
	}
}

// begin adds to Drains the rules of a canary that have an epoch of their own. One that already drains goes on from what
// it has counted; another begins anew.
func (t *tally) begin(c *canary, s *some) {
	if s == nil {
		return
	}
	for _, r := range c.set.Rules {
		if s.Epochs[r.Name] != r.Epoch {
			continue
		}
		i := slices.IndexFunc(t.Drains, func(d drained) bool { return d.Epoch == r.Epoch })
		if i < 0 {
			d := drained{Name: r.Name, Fleets: c.fleets, ruleTally: ruleTally{Epoch: r.Epoch, Since: unset}}
			if was, is := t.Rules[r.Name]; is && was.Epoch == r.Epoch { // of a set that cannot be read
				d.Fleets, d.ruleTally = nil, was
			}
			t.Drains, i = append(t.Drains, d), len(t.Drains)
		}
		d := &t.Drains[i]
		d.Version, d.Last, d.Fleets = s.Version, never, union(d.Fleets, c.fleets)
	}
}

// unset is the Since of a rule that has not begun to count.
const unset = math.MinInt64
