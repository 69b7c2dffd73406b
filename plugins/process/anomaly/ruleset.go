package anomaly

import "sync"

// ruleSet has the rules of one file. It returns the rules that apply to a series; equal selections
// share their memory, so that a series holds one pointer.
type ruleSet struct {
	Rules []*Rule

	mu         sync.Mutex
	selections map[string]*selection
}

// selection has the rules of a series.
type selection struct {
	rules []*Rule
	score bool // one of them needs the window of the last hour
}

// newRuleSet returns a set of rules from ParseRules.
func newRuleSet(rules []*Rule) *ruleSet {
	return &ruleSet{Rules: rules, selections: map[string]*selection{}}
}

// find returns the rules of a series.
func (s *ruleSet) find(fleet, device, firmware, metric string) *selection {
	var buf [64]byte
	bits := buf[:0]
	for i, r := range s.Rules {
		if i%8 == 0 {
			bits = append(bits, 0)
		}
		if r.takes(fleet, device, firmware, metric) {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sel := s.selections[string(bits)]
	if sel == nil {
		sel = &selection{}
		for i, r := range s.Rules {
			if bits[i/8]&(1<<(i%8)) != 0 {
				sel.rules = append(sel.rules, r)
				sel.score = sel.score || r.Detector == byZScore
			}
		}
		s.selections[string(bits)] = sel
	}
	return sel
}

// named returns the rule with a name, or nil.
func (s *ruleSet) named(name string) *Rule {
	for _, r := range s.Rules {
		if r.Name == name {
			return r
		}
	}
	return nil
}
