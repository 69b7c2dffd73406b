package rule

import (
	"math"
	stdpath "path"
	"slices"
	"strings"

	"weir/internal/platform/predicate"
)

// A version can be in force for some fleets first. A rule that it counts otherwise
// than the version that is in force for all counts beside that one, of those fleets
// alone, and tells what begins in them from then on. The other one goes on to count
// all fleets: when the canary is rolled back it has no gap, and when the canary is
// put in force for all it is drained as ever. A rule that counts the same in both is
// one operator, which tells each fleet's results in the form of its version.

// canary is a rule set that is in force for some fleets.
type canary struct {
	set    *Set
	fleets []string // names or patterns
}

// some is the canary that a position is under.
type some struct {
	Version string            `json:"version"`
	Fleets  []string          `json:"fleets"`
	Epochs  map[string]string `json:"epochs"` // of rules that it counts otherwise, by name; "": it has none
}

// over is a canary over the epochs that are in force for all; nil for none.
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

// epoch is that of a rule in the fleets of a canary, where all have another.
func (s *some) epoch(name, all string) string {
	if s.counts(name) {
		return s.Epochs[name]
	}
	return all
}

// counts tells whether a canary counts a rule otherwise.
func (s *some) counts(name string) bool {
	if s == nil {
		return false
	}
	_, otherwise := s.Epochs[name]
	return otherwise
}

// among tells whether a fleet has one of the names, or fits one of the patterns.
func among(fleets []string, fleet string) bool {
	return slices.ContainsFunc(fleets, func(pattern string) bool {
		if !strings.ContainsAny(pattern, `*?[\`) {
			return pattern == fleet
		}
		fits, err := stdpath.Match(pattern, fleet)
		return fits && err == nil
	})
}

// areFleets tells whether these can be names or patterns of fleets.
func areFleets(fleets []string) bool {
	return len(fleets) > 0 && len(fleets) <= fleetsMost && !slices.ContainsFunc(fleets, func(pattern string) bool {
		_, err := stdpath.Match(pattern, "")
		return err != nil || pattern == "" || len(pattern) > 200 || strings.ContainsAny(pattern, ", \t\r\n")
	})
}

// fleetsMost bounds the names and patterns of a canary.
const fleetsMost = 100

// union is all of both; none is all fleets.
func union(a, b []string) []string {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// What a partition counts by is written as one text.
const (
	withCanary = "+"
	forFleets  = " for "
)

// naming is the text of what a partition counts by.
func naming(version string, c *canary) string {
	if c == nil {
		return version
	}
	return version + withCanary + c.set.Version + forFleets + strings.Join(c.fleets, ",")
}

// named is what naming made a text of.
func named(by string) (version, canary string, fleets []string) {
	version, rest, is := strings.Cut(by, withCanary)
	if !is {
		return version, "", nil
	}
	canary, list, _ := strings.Cut(rest, forFleets)
	return version, canary, strings.Split(list, ",")
}

// form is how a rule is told, and bounded: what of it may change without its
// counting anew.
type form struct {
	version string // of the rule set
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

// as is the form in which a rule is told to a fleet.
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

// tellFirst sets in which form rules that a canary counts the same are told to
// its fleets. It comes before any key does.
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

// begin notes what counts beside the rules of all for a canary: as it did, or anew.
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
			if was, is := t.Rules[r.Name]; is && was.Epoch == r.Epoch { // it was in force for all, by a set that is not kept
				d.Fleets, d.ruleTally = nil, was
			}
			t.Drains, i = append(t.Drains, d), len(t.Drains)
		}
		d := &t.Drains[i]
		d.Version, d.Last, d.Fleets = s.Version, never, union(d.Fleets, c.fleets)
	}
}

// unset is the beginning of what has not begun.
const unset = math.MinInt64
