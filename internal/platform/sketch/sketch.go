// Package sketch sums numbers so exactly that the result does not depend on their order, and computes quantiles in
// bounded memory.
package sketch

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/DataDog/sketches-go/ddsketch/mapping"
)

// accuracy is the relative error of a quantile. Rollups and rules store sketches of this accuracy: another value needs
// new versions of their formats.
const accuracy = 0.01

// maxBins bounds the bins of a sketch: above it, the readings nearest to zero share a bin. At one per cent it covers
// 17 decades of either sign.
const maxBins = 4096

// keyZero is the key of the first bin above zero; see keyOf.
const keyZero = 40_000

// maxKey bounds the keys: the largest double has 75,489.
const maxKey = 2 * keyZero

// bin counts the readings of one key.
type bin struct {
	key int32
	n   uint64
}

// Sketch is a DDSketch: counts of readings in bins whose width grows with their value, so that any quantile has a
// relative error of at most 1 %. Merging adds the counts exactly, for any number of devices.
//
// The bins are those of sketches-go's logarithmic mapping. They are a sorted slice instead of that library's stores,
// because the window of a device has few readings and there are very many windows.
type Sketch []bin

var logMapping = must(mapping.NewLogarithmicMapping(accuracy))

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // cannot be: the arguments are constants
	}
	return v
}

// keyOf maps a reading to the key of its bin, preserving order: 0 for zero and readings too close to it, negative keys
// for negative readings.
func keyOf(v float64) int32 {
	a := math.Abs(v)
	if a < logMapping.MinIndexableValue() {
		return 0
	}
	k := int32(logMapping.Index(math.Min(a, logMapping.MaxIndexableValue()))) + keyZero
	if v < 0 {
		return -k
	}
	return k
}

// valueOf returns the reading that represents a bin.
func valueOf(key int32) float64 {
	switch {
	case key == 0:
		return 0
	case key < 0:
		return -logMapping.Value(int(-key - keyZero))
	}
	return logMapping.Value(int(key - keyZero))
}

// Room returns n empty sketches in one piece of memory, each with room for some bins. A sketch that needs more
// allocates its own.
func Room(n, bins int) []Sketch {
	all, out := make([]bin, n*bins), make([]Sketch, n)
	for i := range out {
		out[i] = all[i*bins : i*bins : (i+1)*bins]
	}
	return out
}

// Add counts one reading.
func (s *Sketch) Add(v float64) { s.add(keyOf(v), 1) }

func (s *Sketch) add(key int32, n uint64) {
	b := *s
	i := len(b)
	for i > 0 && b[i-1].key > key { // there are few bins, and a new reading is mostly near the last ones
		if i > 16 {
			i, _ = slices.BinarySearchFunc(b, key, func(b bin, k int32) int { return int(b.key) - int(k) })
			if i < len(b) && b[i].key == key {
				i++
			}
			break
		}
		i--
	}
	if i > 0 && b[i-1].key == key {
		b[i-1].n += n
		return
	}
	*s = slices.Insert(b, i, bin{key, n})
	s.collapse()
}

// Merge adds the counts of another sketch.
func (s *Sketch) Merge(o Sketch) {
	a := *s
	switch {
	case len(a) == 0:
		*s = slices.Clone(o)
		return
	case len(o) <= 4 || len(o)*8 <= len(a): // binary search is faster than a scan
		for _, b := range o {
			s.add(b.key, b.n)
		}
		return
	}
	// In place, from the end: large sums are merged again and again, and mostly have the same bins.
	i, j := len(a)-1, len(o)-1
	more := missing(a, o)
	a = slices.Grow(a, more)[:len(a)+more]
	for k := len(a) - 1; j >= 0; k-- {
		switch {
		case i < 0 || o[j].key > a[i].key:
			a[k] = o[j]
			j--
		case o[j].key < a[i].key:
			a[k] = a[i]
			i--
		default:
			a[k] = bin{o[j].key, a[i].n + o[j].n}
			i, j = i-1, j-1
		}
	}
	*s = a
	s.collapse()
}

// missing returns how many keys of o are not in a.
func missing(a, o Sketch) (n int) {
	i := 0
	for _, b := range o {
		for i < len(a) && a[i].key < b.key {
			i++
		}
		if i == len(a) || a[i].key != b.key {
			n++
		}
	}
	return n
}

// collapse merges the bins nearest to zero while there are too many. Which bins remain depends only on the readings,
// not on their order.
func (s *Sketch) collapse() {
	for b := *s; len(b) > maxBins; b = *s {
		i, _ := slices.BinarySearchFunc(b, int32(0), func(b bin, k int32) int { return int(b.key) - int(k) })
		switch { // i: the first bin that is not negative
		case i+1 < len(b) && (i < 2 || b[i].key <= -b[i-1].key):
			b[i+1].n += b[i].n
		default:
			i--
			b[i-1].n += b[i].n
		}
		*s = slices.Delete(b, i, i+1)
	}
}

// Count returns the number of readings.
func (s Sketch) Count() (n uint64) {
	for _, b := range s {
		n += b.n
	}
	return n
}

// Quantile returns, within 1 %, the smallest reading that at least the
// fraction q of all readings do not exceed (SQL's percentile_disc). It is NaN
// for an empty sketch.
func (s Sketch) Quantile(q float64) float64 { return s.QuantileOf(q, s.Count()) }

// QuantileOf is Quantile for callers that know the number of readings.
func (s Sketch) QuantileOf(q float64, total uint64) float64 {
	if total == 0 {
		return math.NaN()
	}
	rank := uint64(math.Ceil(q*float64(total) - 1e-9*float64(total)))
	for _, b := range s {
		if b.n >= rank {
			return valueOf(b.key)
		}
		rank -= b.n
	}
	return valueOf(s[len(s)-1].key)
}

// Append appends the encoded sketch to b.
func (s Sketch) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	last := int32(0)
	for _, bin := range s {
		b = binary.AppendVarint(b, int64(bin.key-last))
		b = binary.AppendUvarint(b, bin.n)
		last = bin.key
	}
	return b
}

// Decode decodes a sketch at the beginning of b, and returns the rest of b.
func Decode(b []byte) (s Sketch, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > maxBins || n > uint64(len(b)) {
		return nil, nil, false
	}
	b = b[w:]
	s = make(Sketch, n)
	last := int64(0)
	for i := range s {
		delta, w := binary.Varint(b)
		if last += delta; w <= 0 || i > 0 && delta <= 0 || last < -maxKey || last > maxKey {
			return nil, nil, false
		}
		b = b[w:]
		count, w := binary.Uvarint(b)
		if w <= 0 {
			return nil, nil, false
		}
		b = b[w:]
		s[i] = bin{int32(last), count}
	}
	return s, b, true
}
