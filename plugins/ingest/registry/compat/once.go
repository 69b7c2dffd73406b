package compat

// pair is a writer's and a reader's shape.
type pair struct{ w, r *shape }

// outcome is the result of comparing a pair: differences, and outcomes of pairs within, which other
// outcomes may share.
type outcome struct {
	found  []finding
	breaks bool
}

// finding is a difference, or all of another outcome.
type finding struct {
	Difference
	all *outcome
}

func (o *outcome) add(d Difference) {
	o.found = append(o.found, finding{Difference: d})
	o.breaks = o.breaks || d.Breaking
}

func (o *outcome) accept(other *outcome) {
	if other != nil && len(other.found) > 0 {
		o.found = append(o.found, finding{all: other})
		o.breaks = o.breaks || other.breaks
	}
}

// differences returns each difference once.
func (o *outcome) differences() (list []Difference) {
	seen, said := map[*outcome]bool{}, map[Difference]bool{}
	var walk func(*outcome)
	walk = func(o *outcome) {
		if seen[o] {
			return
		}
		seen[o] = true
		for _, f := range o.found {
			switch {
			case f.all != nil:
				walk(f.all)
			case !said[f.Difference]:
				said[f.Difference] = true
				list = append(list, f.Difference)
			}
		}
	}
	walk(o)
	return list
}

// comparisonsMax bounds the comparisons of one pair of documents.
const comparisonsMax = 200_000

// compared has the outcomes of pairs. Schemas may contain themselves, and alternatives are compared
// each with each, so a pair occurs many times: it is compared once in a round, and assumed to be
// compatible while it is being compared. Rounds are repeated until no such assumption was wrong.
type compared struct {
	known   map[pair]*outcome
	doing   map[pair]bool
	wrong   map[pair]*outcome // pairs that break, as earlier rounds found
	assumed bool              // a pair was assumed to be compatible in this round
	count   int
}

// compareAll compares the roots of two documents.
func compareAll(policy Policy, newIsReader bool, w, r *shapes) []Difference {
	state := &compared{wrong: map[pair]*outcome{}}
	for {
		state.known, state.doing, state.assumed = map[pair]*outcome{}, map[pair]bool{}, false
		c := compat{policy: policy, newIsReader: newIsReader, w: w, r: r, out: &outcome{}, compared: state}
		c.compare(w.root(), r.root())
		settled := true
		for p, o := range state.known { // a pair that breaks once stays so: the rounds end
			if _, had := state.wrong[p]; o.breaks && !had {
				state.wrong[p], settled = o, false
			}
		}
		if !state.assumed || settled || state.count > comparisonsMax {
			return c.out.differences()
		}
	}
}

// once returns the outcome of a pair, and compares the pair if it is not known.
func (s *compared) once(p pair, compare func(*outcome)) *outcome {
	if o, ok := s.known[p]; ok {
		return o
	}
	if s.doing[p] {
		if o, ok := s.wrong[p]; ok {
			return o
		}
		s.assumed = true
		return nil
	}
	o := &outcome{}
	if s.count++; s.count > comparisonsMax {
		o.add(Difference{Rule: "TOO_COMPLEX", Pointer: p.r.at, Message: "there are too many alternatives to compare",
			Breaking: true})
		return o
	}
	s.doing[p] = true
	compare(o)
	delete(s.doing, p)
	s.known[p] = o
	return o
}
