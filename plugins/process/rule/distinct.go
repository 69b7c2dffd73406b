package rule

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// distinct counts different values: up to exactDistinct exactly, more by a HyperLogLog with a standard error of
// UniquesError.
type distinct struct {
	few  []uint64 // hashes, sorted
	regs []uint8  // of the HyperLogLog; nil: there are few
}

const (
	exactDistinct = 256
	precision     = 12
	registers     = 1 << precision
)

func (d *distinct) add(json []byte) { d.addHash(xxhash.Sum64(json)) }

func (d *distinct) addHash(h uint64) {
	if d.regs != nil {
		at, rank := register(h)
		d.regs[at] = max(d.regs[at], rank)
		return
	}
	i, there := slices.BinarySearch(d.few, h)
	if there {
		return
	}
	d.few = slices.Insert(d.few, i, h)
	if len(d.few) > exactDistinct {
		d.many()
	}
}

// register returns the register of a hash, by its first bits, and the hash's rank: how many zeroes follow them, and 1.
func register(h uint64) (at int, rank uint8) {
	return int(h >> (64 - precision)), uint8(bits.LeadingZeros64(h<<precision|1<<(precision-1))) + 1
}

// many makes registers of a list.
func (d *distinct) many() {
	few := d.few
	d.few, d.regs = nil, make([]uint8, registers)
	for _, h := range few {
		d.addHash(h)
	}
}

func (d *distinct) merge(o *distinct) {
	if o.regs != nil && d.regs == nil {
		d.many()
	}
	for i, r := range o.regs {
		d.regs[i] = max(d.regs[i], r)
	}
	for _, h := range o.few {
		d.addHash(h)
	}
}

// count estimates the number of values as in "New cardinality estimation algorithms for HyperLogLog sketches" (Ertl,
// 2017), from how many registers have each value. It has no range in which it is worse than its standard error: the
// usual estimator is off by twice as much where its correction for few values ends, at 10,000 of them.
func (d *distinct) count() int64 {
	if d.regs == nil {
		return int64(len(d.few))
	}
	const m = float64(registers)
	const most = 64 - precision // the highest rank but one, which says that all bits were zero
	var have [most + 2]float64
	for _, r := range d.regs {
		have[r]++
	}
	z := m * missed(1-have[most+1]/m)
	for rank := most; rank > 0; rank-- {
		z = (z + have[rank]) / 2
	}
	return int64(math.Round(m * m / (2 * math.Ln2 * (z + m*empty(have[0]/m)))))
}

// empty is what the part of the registers that are empty adds: the sum of x^(2^k) * 2^(k-1) for all k, plus x. It is
// infinite if all are.
func empty(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	sum, before := x, -1.0
	for y := 1.0; sum != before; y += y {
		x *= x
		before, sum = sum, sum+x*y
	}
	return sum
}

// missed is what the part x of the registers that are not at the end of their range adds.
func missed(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	sum, before := 1-x, -1.0
	for y := 0.5; sum != before; y /= 2 {
		x = math.Sqrt(x)
		before, sum = sum, sum-(1-x)*(1-x)*y
	}
	return sum / 3
}

// A sketch as text is 'h' and the hashes of the values in hexadecimal or, of a HyperLogLog, 'r' and a character for
// each register: its value above registerText. Within a JSON string none of these needs an escape.
const registerText = '#'

func (d *distinct) appendText(b []byte) []byte {
	if d.regs == nil {
		b = append(b, 'h')
		for _, h := range d.few {
			b = hex.AppendEncode(b, binary.BigEndian.AppendUint64(nil, h))
		}
		return b
	}
	b = append(b, 'r')
	for _, r := range d.regs {
		b = append(b, registerText+r)
	}
	return b
}

// Uniques adds up results of sketch(): how many different values there are in all of them, however often and in
// whatever order sketches are added. The zero value is empty. Up to 256 values are counted exactly, more with the
// standard error UniquesError.
type Uniques struct{ of distinct }

// UniquesError is the relative standard error of counts above 256.
const UniquesError = 0.0163

// Add adds a sketch; an empty text adds nothing. The error says that the text is no sketch; the count is of no use
// then.
func (u *Uniques) Add(text string) error {
	switch {
	case text == "":
		return nil
	case text[0] == 'h' && len(text)%16 == 1 && len(text)/16 <= exactDistinct:
		var h [8]byte
		for i := 1; i < len(text); i += 16 {
			if _, err := hex.Decode(h[:], []byte(text[i:i+16])); err != nil {
				return errNoSketch
			}
			u.of.addHash(binary.BigEndian.Uint64(h[:]))
		}
		return nil
	case text[0] == 'r' && len(text) == 1+registers:
		regs := make([]uint8, registers)
		for i := range regs {
			if regs[i] = text[1+i] - registerText; regs[i] > 64-precision+1 {
				return errNoSketch
			}
		}
		u.of.merge(&distinct{regs: regs})
		return nil
	}
	return errNoSketch
}

// Count returns how many different values there are.
func (u *Uniques) Count() int64 { return u.of.count() }

var errNoSketch = errors.New("reading a sketch: it is none that sketch() tells")
