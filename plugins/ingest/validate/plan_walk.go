package validate

import (
	"bytes"
	"math/big"
	"time"
	"unicode/utf8"

	"weir/internal/event"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/text"
)

// walk reads one document by a plan. Its methods return offsets into b; a negative one says that
// the plan did not accept. A walk may be used again, but not concurrently.
type walk struct {
	b []byte

	// What the walk noted, if the plan was of an event.
	device    []byte
	firmware  []byte
	timestamp time.Time
	metrics   [][]byte // names under metrics that the schema does not declare
	fields    [][]byte // names at the top that it does not declare

	names [][]byte // undeclared names of the objects that enclose the position

	// choose is asked, when the firmware is met, whether this is the plan for
	// it; false ends the walk. nil takes any.
	choose func(firmware []byte) bool
}

const (
	undecided = -1
	// namesMax is how many undeclared names of one object are compared with each other. An object
	// with more is left to the library.
	namesMax = 64
)

// document reads the whole document and tells whether the plan accepts it.
func (w *walk) document(b []byte, plan *node) bool {
	w.b, w.device, w.firmware = b, nil, nil
	w.metrics, w.fields, w.names = w.metrics[:0], w.fields[:0], w.names[:0]
	end := w.value(plan, rawjson.Space(b, 0), 0)
	return end >= 0 && rawjson.Space(b, end) == len(b)
}

func (w *walk) value(n *node, i, depth int) int {
	if n == nil || i >= len(w.b) {
		end, err := rawjson.Value(w.b, i, depth)
		if err != nil {
			return undecided
		}
		return end
	}
	end := undecided
	switch c := w.b[i]; {
	case c == '"':
		if n.kinds&kindString != 0 {
			end = w.text(n, i)
		}
	case c == '{':
		switch {
		case n.kinds&kindObject == 0 || len(n.enums) > 0:
		case n.object != nil:
			end = w.object(n.object, i, depth)
		default:
			end = w.value(nil, i, depth)
		}
	case c == '[':
		switch {
		case n.kinds&kindArray == 0 || len(n.enums) > 0:
		case n.array != nil:
			end = w.array(n.array, i, depth)
		default:
			end = w.value(nil, i, depth)
		}
	case c == '-' || c >= '0' && c <= '9':
		if n.kinds&kindNumber != 0 {
			end = w.number(n, i)
		}
	case c == 'n' && n.kinds&kindNull != 0 || (c == 't' || c == 'f') && n.kinds&kindBool != 0:
		if end = w.value(nil, i, depth); end >= 0 && !n.hasWord(c) {
			return undecided
		}
	}
	for _, m := range n.also {
		if end < 0 || w.value(m, i, depth) < 0 {
			return undecided
		}
	}
	return end
}

func (n *node) hasWord(c byte) bool {
	for _, e := range n.enums {
		if c == 'n' && !e.null || c == 'f' && !e.bools[0] || c == 't' && !e.bools[1] {
			return false
		}
	}
	return true
}

func (w *walk) object(r *objectRule, i, depth int) int {
	b := w.b
	if depth >= rawjson.MaxDepth {
		return undecided
	}
	var seen mask
	count, outer := 0, len(w.names)
	i = rawjson.Space(b, i+1)
	if i < len(b) && b[i] == '}' {
		i++
	} else {
		for more := true; more; count++ {
			end, plain, err := rawjson.String(b, i)
			if err != nil || !plain {
				return undecided
			}
			key := b[i+1 : end-1]
			if i = rawjson.Space(b, end); i >= len(b) || b[i] != ':' {
				return undecided
			}
			i = rawjson.Space(b, i+1)
			value := r.additional
			at := r.find(key)
			if at >= 0 && !seen.add(at) {
				return undecided // a duplicate
			}
			if at >= 0 && r.names[at].declared {
				value = r.names[at].value
			} else if r.closed || !w.undeclared(r, key, outer) {
				return undecided
			}
			if i = w.value(value, i, depth+1); i < 0 {
				return i
			}
			if i = rawjson.Space(b, i); i >= len(b) {
				return undecided
			}
			switch b[i] {
			case ',':
				i = rawjson.Space(b, i+1)
			case '}':
				i++
				more = false
			default:
				return undecided
			}
		}
	}
	w.names = w.names[:outer]
	if !seen.has(&r.required) || r.minNames > count || r.maxNames >= 0 && r.maxNames < count {
		return undecided
	}
	return i
}

// undeclared notes a name that the schema does not declare. It returns false if the name occurred
// before, or there are too many to tell.
func (w *walk) undeclared(r *objectRule, key []byte, outer int) bool {
	for _, have := range w.names[outer:] {
		if bytes.Equal(have, key) {
			return false
		}
	}
	if len(w.names)-outer >= namesMax {
		return false
	}
	w.names = append(w.names, key)
	switch {
	case r.metrics:
		w.metrics = append(w.metrics, key)
	case r.root:
		w.fields = append(w.fields, key)
	}
	return true
}

func (w *walk) array(r *arrayRule, i, depth int) int {
	count := 0
	end, err := rawjson.Array(w.b, i, depth, func(i int) (int, error) {
		count++
		end := w.value(r.items, i, depth+1)
		if end < 0 {
			return i, errUndecided
		}
		return end, nil
	})
	if err != nil || count < r.min || r.max >= 0 && count > r.max {
		return undecided
	}
	return end
}

var errUndecided = &rawjson.SyntaxError{Msg: "undecided"}

func (w *walk) text(n *node, i int) int {
	end, plain, err := rawjson.String(w.b, i)
	if err != nil {
		return undecided
	}
	if n.text == nil && n.field == fieldNone && len(n.enums) == 0 {
		return end
	}
	s := w.b[i+1 : end-1]
	if !plain {
		s = rawjson.Unquote(s)
	}
	if n.text != nil && !n.text.accepts(s) {
		return undecided
	}
	for _, e := range n.enums {
		if !e.texts[string(s)] {
			return undecided
		}
	}
	if n.field != fieldNone && !w.note(n.field, s) {
		return undecided
	}
	return end
}

func (w *walk) note(f field, s []byte) (ok bool) {
	switch f {
	case fieldID:
		_, ok = text.ParseUUID(rawjson.Alias(s))
	case fieldDevice:
		w.device, ok = s, event.ValidDevice(rawjson.Alias(s))
	case fieldFirmware:
		w.firmware, ok = s, len(s) > 0 && (w.choose == nil || w.choose(s))
	case fieldTimestamp:
		w.timestamp, ok = text.ParseInstant(rawjson.Alias(s))
	}
	return ok
}

func (r *textRule) accepts(s []byte) bool {
	if r.minLength >= 0 || r.maxLength >= 0 {
		if n := utf8.RuneCount(s); n < r.minLength || r.maxLength >= 0 && n > r.maxLength {
			return false
		}
	}
	if r.uuid {
		if _, ok := text.ParseUUID(rawjson.Alias(s)); !ok {
			return false
		}
	}
	if r.dateTime {
		if _, ok := text.ParseInstant(rawjson.Alias(s)); !ok {
			return false
		}
	}
	if c := r.class; c != nil {
		if len(s) < c.min || c.max >= 0 && len(s) > c.max {
			return false
		}
		for _, b := range s {
			if !c.in[b] {
				return false
			}
		}
	}
	return (r.pattern == nil || r.pattern.Match(s)) && (r.format == nil || r.format(string(s)))
}

func (w *walk) number(n *node, i int) int {
	end, err := rawjson.Number(w.b, i)
	if err != nil || n.number == nil && len(n.enums) == 0 {
		if err != nil {
			return undecided
		}
		return end
	}
	raw := w.b[i:end]
	d, short := parseDecimal(raw)
	v, err := rawjson.Float(raw)
	if err != nil || n.number != nil && !n.number.accepts(v, d, short) {
		return undecided
	}
	for _, e := range n.enums {
		if !short || !e.hasNumber(d) {
			return undecided
		}
	}
	return end
}

func (r *numberRule) accepts(v float64, d decimal, short bool) bool {
	if b := r.low; b != nil && !(v > b.value) && !(v == b.value && short && b.short && !b.exclusive) {
		return false
	}
	if b := r.high; b != nil && !(v < b.value) && !(v == b.value && short && b.short && !b.exclusive) {
		return false
	}
	if r.integer && !(short && d.multipleOf(decimal{mantissa: 1})) {
		return false
	}
	return r.multipleOf == nil || short && d.multipleOf(*r.multipleOf)
}

func (e *enumRule) hasNumber(d decimal) bool {
	x := new(big.Rat).SetFrac(new(big.Int).SetUint64(d.mantissa), new(big.Int).Exp(big.NewInt(10),
		big.NewInt(int64(d.places)), nil))
	if d.negative {
		x.Neg(x)
	}
	for _, have := range e.numbers {
		if have.Cmp(x) == 0 {
			return true
		}
	}
	return false
}
