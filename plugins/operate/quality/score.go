package quality

import (
	"cmp"
	"errors"
	"math"
	"slices"
)

var errSketch = errors.New("reading a profile: its quantiles are of another version")

// account is what became of events beside those that are stored.
type account struct {
	Refused int64 `json:"refused"` // dead letters of the ingest whose data were bad
	Repeats int64 `json:"repeats"` // records that were proven duplicates; -1: not known
}

// score is how good events are: each part from 0 to 1, null where nothing tells.
type score struct {
	Score      *float64 `json:"score"` // the mean of those that are known
	Complete   *float64 `json:"complete"`
	Valid      *float64 `json:"valid"`
	Timely     *float64 `json:"timely"`
	Unique     *float64 `json:"unique"`
	Consistent *float64 `json:"consistent"`
}

// expectedFrom is the share of events from which on a field is expected in all.
const expectedFrom = 0.5

// scoreOf rates a profile. Before is that of the time it is compared with; nil or
// empty: of itself.
//
//	complete    the mean share of events that have a field with a value, over the
//	            fields that half of the events before had
//	valid       stored, of those that are stored or were refused for what they hold
//	timely      neither late nor ahead of the clock
//	unique      stored, of those that are stored and the records that repeat them
//	consistent  the mean share of values that are of their field's usual kind, times
//	            the share of events whose metrics the schema knows
func scoreOf(p, before *Profile, a account) score {
	var s score
	if n := p.Events + a.Refused; n > 0 {
		s.Valid = ratio(p.Events, n)
	}
	if p.Events > 0 {
		s.Timely = ratio(p.Events-min(p.Events, p.Late+p.Ahead), p.Events)
		if a.Repeats >= 0 {
			s.Unique = ratio(p.Events, p.Events+a.Repeats)
		}
		s.Complete, s.Consistent = complete(p, before), consistent(p)
	}
	return s.mean()
}

// mean is the score with the mean of its parts.
func (s score) mean() score {
	s.Score = nil
	sum, n := 0.0, 0
	for _, part := range []*float64{s.Complete, s.Valid, s.Timely, s.Unique, s.Consistent} {
		if part != nil {
			sum += *part
			n++
		}
	}
	if n > 0 {
		mean := sum / float64(n)
		s.Score = &mean
	}
	return s
}

func ratio(of, all int64) *float64 {
	v := float64(of) / float64(all)
	return &v
}

func complete(p, before *Profile) *float64 {
	if before == nil || before.Events == 0 {
		before = p
	}
	sum, n := 0.0, 0
	for path, was := range before.Fields {
		if float64(was.present()-was.Nulls) < expectedFrom*float64(before.Events) {
			continue
		}
		n++
		if f := p.Fields[path]; f != nil {
			sum += min(1, float64(f.present()-f.Nulls)/float64(p.Events))
		}
	}
	if n == 0 {
		return nil
	}
	mean := sum / float64(n)
	return &mean
}

func consistent(p *Profile) *float64 {
	sum, n := 0.0, 0
	for _, f := range p.Fields {
		if values := f.present() - f.Nulls; values > 0 {
			sum += float64(f.usual()) / float64(values)
			n++
		}
	}
	known := float64(p.Events-min(p.Events, p.Unknown)) / float64(p.Events)
	if n > 0 {
		known *= sum / float64(n)
	}
	return &known
}

// fieldView is a field for people.
type fieldView struct {
	Pointer  string       `json:"pointer"`
	Present  float64      `json:"present"`   // share of events
	NullRate float64      `json:"null_rate"` // share of events that have it without a value, or not at all
	Kind     string       `json:"kind"`      // that most values are of
	Odd      int64        `json:"odd"`       // values of other kinds
	Min      *float64     `json:"min"`
	Max      *float64     `json:"max"`
	Mean     *float64     `json:"mean"`
	P50      *float64     `json:"p50"` // within 1 %
	P95      *float64     `json:"p95"`
	Shapes   []shapeCount `json:"shapes"` // of texts, the commonest first: never the texts
	Drift    *drift       `json:"drift"`  // null: nothing to compare with
}

// shapeCount is how often texts look so: a is letters, A a name or capitals, 9 digits.
type shapeCount struct {
	Shape string `json:"shape"`
	Count int64  `json:"count"`
}

// drift is how a field differs from the time before.
type drift struct {
	NullRate float64  `json:"null_rate"` // now less before
	Median   *float64 `json:"median"`    // the move of the median, in widths (p95 - p5) of before
	New      bool     `json:"new"`       // nothing had it before
}

// viewOf lists the fields of a profile, by their pointers.
func viewOf(p, before *Profile) []fieldView {
	list := make([]fieldView, 0, len(p.Fields))
	for path, f := range p.Fields {
		v := fieldView{Pointer: path, Kind: f.kind(), Odd: f.present() - f.Nulls - f.usual(), Shapes: f.shapes()}
		v.Present = float64(f.present()) / float64(max(1, p.Events))
		v.NullRate = nullRate(p, f)
		if n := f.Of.Count(); n > 0 {
			p50, p95 := clamp(f.Of.Quantile(0.5), f), clamp(f.Of.Quantile(0.95), f)
			mean := f.Sum.Hi / float64(n)
			v.Min, v.Max, v.Mean, v.P50, v.P95 = &f.Min, &f.Max, &mean, &p50, &p95
		}
		if before != nil && before.Events > 0 {
			v.Drift = driftOf(v, f, before, before.Fields[path])
		}
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b fieldView) int { return cmp.Compare(a.Pointer, b.Pointer) })
	return list
}

func clamp(v float64, f *Field) float64 { return min(max(v, f.Min), f.Max) }

func nullRate(p *Profile, f *Field) float64 {
	if p.Events == 0 {
		return 0
	}
	return 1 - min(1, float64(f.present()-f.Nulls)/float64(p.Events))
}

func driftOf(now fieldView, f *Field, before *Profile, was *Field) *drift {
	if was == nil {
		return &drift{NullRate: now.NullRate - 1, New: true}
	}
	d := &drift{NullRate: now.NullRate - nullRate(before, was)}
	if f.Of.Count() > 0 && was.Of.Count() > 0 {
		width := was.Of.Quantile(0.95) - was.Of.Quantile(0.05)
		moved := *now.P50 - clamp(was.Of.Quantile(0.5), was)
		if width <= 0 { // it was one value
			width = max(math.Abs(was.Max), 1e-9)
		}
		moved /= width
		d.Median = &moved
	}
	return d
}

func (f *Field) kind() string {
	best, kind := int64(0), "null"
	for _, k := range []struct {
		name string
		n    int64
	}{{"number", f.Numbers}, {"text", f.Texts}, {"boolean", f.Bools}, {"object", f.Objects}, {"list", f.Lists}} {
		if k.n > best {
			best, kind = k.n, k.name
		}
	}
	return kind
}

func (f *Field) shapes() []shapeCount {
	list := make([]shapeCount, 0, len(f.As))
	for shape, n := range f.As {
		list = append(list, shapeCount{shape, n})
	}
	slices.SortFunc(list, func(a, b shapeCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Shape, b.Shape))
	})
	return list[:min(len(list), 10)]
}
