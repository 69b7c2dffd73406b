// Package quality measures the quality of stored events: how complete, valid, timely, unique and consistent those of a
// fleet and schema were in an hour, which values their fields have, and how that differs from the week before. An hour
// is computed as a whole from the raw store, which returns each event once, and replaces the previous result. So the
// result is exact after duplicate deliveries, late events and repeated computations. It stores no text of any field.
package quality

import (
	"encoding/json"
	"hash/fnv"
	"slices"
	"strings"

	"weir/internal/event"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/sketch"
)

// The limits of a profile, for any events.
const (
	fieldsMost = 500
	shapesMost = 32
	pathMost   = 200 // the maximum length of a field's path, in bytes
)

// Profile has the statistics of some events. Adding and merging are commutative and associative; its memory is
// bounded.
type Profile struct {
	Events  int64             `json:"events"`
	Late    int64             `json:"late"`    // flagged late
	Ahead   int64             `json:"ahead"`   // ahead of the server's clock
	Unknown int64             `json:"unknown"` // with metrics that the schema does not know
	Fields  map[string]*Field `json:"fields"`  // by JSON pointer
	// More is true if there were more fields than are kept. Kept are those whose names have the smallest hashes, so that
	// the same fields are kept in every order of events, and each is counted from its first event on.
	More bool `json:"more_fields,omitempty"`
}

// Field has the statistics of a field.
type Field struct {
	Nulls   int64 `json:"nulls,omitempty"`
	Numbers int64 `json:"numbers,omitempty"`
	Texts   int64 `json:"texts,omitempty"`
	Bools   int64 `json:"bools,omitempty"`
	Objects int64 `json:"objects,omitempty"`
	Lists   int64 `json:"lists,omitempty"`

	Min float64          `json:"min,omitempty"`
	Max float64          `json:"max,omitempty"`
	Sum sketch.Exact     `json:"sum"`
	Of  quantiles        `json:"quantiles,omitempty"`
	As  map[string]int64 `json:"shapes,omitempty"` // shapes of texts; those with the smallest hashes are kept
}

// quantiles is a sketch that is stored as JSON.
type quantiles struct{ sketch.Sketch }

// MarshalJSON encodes the sketch as rollups do.
func (q quantiles) MarshalJSON() ([]byte, error) { return json.Marshal(q.Append(nil)) }

// UnmarshalJSON decodes it.
func (q *quantiles) UnmarshalJSON(raw []byte) error {
	var b []byte
	if err := json.Unmarshal(raw, &b); err != nil {
		return err
	}
	if len(b) == 0 {
		return nil
	}
	s, _, ok := sketch.Decode(b)
	if !ok {
		return errSketch
	}
	q.Sketch = s
	return nil
}

// present returns how many events had the field, null included.
func (f *Field) present() int64 {
	return f.Nulls + f.Numbers + f.Texts + f.Bools + f.Objects + f.Lists
}

// usual returns how many values have the field's most frequent kind.
func (f *Field) usual() int64 { return max(f.Numbers, f.Texts, f.Bools, f.Objects, f.Lists) }

// sample has the parts of an event that a profile needs.
type sample struct {
	Flags       string
	Unknown     string // metrics
	Firmware    string
	Metrics     []event.Metric
	Diagnostics []byte // a JSON object, or nil
	Extra       []byte // a JSON object, or nil
}

// newProfile returns an empty profile.
func newProfile() *Profile { return &Profile{Fields: map[string]*Field{}} }

func (f *Field) value(raw []byte, hidden bool) {
	switch raw[0] {
	case 'n':
		f.Nulls++
	case 't', 'f':
		f.Bools++
	case '{':
		f.Objects++
	case '[':
		f.Lists++
	case '"':
		f.text(string(rawjson.Unquote(raw[1:len(raw)-1])), hidden)
	default:
		if v, err := rawjson.Float(raw); err == nil {
			f.number(v, hidden)
		}
	}
}

func (f *Field) number(v float64, hidden bool) {
	f.Numbers++
	if hidden {
		return
	}
	if f.Of.Sketch == nil {
		f.Min, f.Max = v, v
	}
	f.Min, f.Max = min(f.Min, v), max(f.Max, v)
	f.Sum.Add(v)
	f.Of.Add(v)
}

func (f *Field) text(s string, hidden bool) {
	f.Texts++
	if hidden {
		return
	}
	if f.As == nil {
		f.As = map[string]int64{}
	}
	f.As[shapeOf(s)]++
	smallest(f.As, shapesMost)
}

// field returns the statistics of a field, nil if it is not among those kept.
func (p *Profile) field(path string) *Field {
	f := p.Fields[path]
	if f == nil {
		f = &Field{}
		p.Fields[path] = f
		if smallest(p.Fields, fieldsMost) {
			p.More = true
		}
		if p.Fields[path] == nil {
			return nil
		}
	}
	return f
}

// Merge adds another profile, which it does not change.
func (p *Profile) Merge(o *Profile) {
	p.Events += o.Events
	p.Late += o.Late
	p.Ahead += o.Ahead
	p.Unknown += o.Unknown
	p.More = p.More || o.More
	for path, of := range o.Fields {
		f := p.Fields[path]
		if f == nil {
			f = &Field{}
			p.Fields[path] = f
		}
		f.merge(of)
	}
	if smallest(p.Fields, fieldsMost) {
		p.More = true
	}
}

func (f *Field) merge(o *Field) {
	if o.Of.Sketch != nil {
		if f.Of.Sketch == nil {
			f.Min, f.Max = o.Min, o.Max
		}
		f.Min, f.Max = min(f.Min, o.Min), max(f.Max, o.Max)
		f.Sum.Merge(o.Sum)
		f.Of.Sketch = slices.Clone(f.Of.Sketch)
		f.Of.Merge(o.Of.Sketch)
	}
	f.Nulls += o.Nulls
	f.Numbers += o.Numbers
	f.Texts += o.Texts
	f.Bools += o.Bools
	f.Objects += o.Objects
	f.Lists += o.Lists
	if f.As == nil && o.As != nil {
		f.As = map[string]int64{}
	}
	for shape, n := range o.As {
		f.As[shape] += n
	}
	smallest(f.As, shapesMost)
}

// smallest keeps the entries of a map whose names have the smallest hashes, and reports whether it removed any. A name
// that is among the smallest of all was among the smallest of every part, from its first event on, so its counts are
// complete.
func smallest[V any](of map[string]V, most int) bool {
	gone := false
	for len(of) > most {
		worst := ""
		for name := range of {
			if worst == "" || later(name, worst) {
				worst = name
			}
		}
		delete(of, worst)
		gone = true
	}
	return gone
}

func later(a, b string) bool {
	ha, hb := hashOf(a), hashOf(b)
	return ha > hb || ha == hb && a > b
}

func hashOf(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // writing to a hash never fails
	return h.Sum64()
}

// shapeMost bounds the length of a shape.
const shapeMost = 24

// shapeOf returns the shape of a text, which may be stored: each run of letters becomes a, or A if it begins with a
// capital, each run of digits 9, each run of blanks one blank; other characters stay.
func shapeOf(s string) string {
	var b strings.Builder
	last := byte(0)
	for _, r := range s {
		c := kindOf(r)
		if c != last || c < '0' {
			if b.Len() == shapeMost {
				return b.String() + "…"
			}
			if !(c == 'a' && last == 'A') {
				b.WriteByte(c)
				last = c
			}
		}
	}
	return b.String()
}

func kindOf(r rune) byte {
	switch {
	case r >= 'a' && r <= 'z' || r > 127:
		return 'a'
	case r >= 'A' && r <= 'Z':
		return 'A'
	case r >= '0' && r <= '9':
		return '9'
	case r < ' ' || r == 127:
		return ' '
	}
	return byte(r)
}
