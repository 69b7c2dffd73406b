package rule

import (
	"math"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// distinct counts different values: exactly while there are few, and from then
// on as a HyperLogLog, within some 1.6 %.
type distinct struct {
	few  []uint64 // hashes, sorted
	regs []uint8  // of the HyperLogLog, once there were more than exactDistinct
}

const (
	exactDistinct = 256
	precision     = 12
	registers     = 1 << precision
)

func (d *distinct) add(json []byte) { d.addHash(xxhash.Sum64(json)) }

func (d *distinct) addHash(h uint64) {
	if d.regs != nil {
		i := h >> (64 - precision)
		d.regs[i] = max(d.regs[i], uint8(bits.LeadingZeros64(h<<precision|1<<(precision-1)))+1)
		return
	}
	i, there := slices.BinarySearch(d.few, h)
	if there {
		return
	}
	d.few = slices.Insert(d.few, i, h)
	if len(d.few) > exactDistinct {
		few := d.few
		d.few, d.regs = nil, make([]uint8, registers)
		for _, h := range few {
			d.addHash(h)
		}
	}
}

func (d *distinct) merge(o *distinct) {
	if o.regs != nil && d.regs == nil {
		few := d.few
		d.few, d.regs = nil, make([]uint8, registers)
		for _, h := range few {
			d.addHash(h)
		}
	}
	for i, r := range o.regs {
		d.regs[i] = max(d.regs[i], r)
	}
	for _, h := range o.few {
		d.addHash(h)
	}
}

// count estimates as Flajolet and others do, with linear counting for the
// small: hashes have 64 bits, so that nothing large needs a correction.
func (d *distinct) count() int64 {
	if d.regs == nil {
		return int64(len(d.few))
	}
	const m = float64(registers)
	sum, empty := 0.0, 0
	for _, r := range d.regs {
		sum += math.Ldexp(1, -int(r))
		if r == 0 {
			empty++
		}
	}
	estimate := 0.7213 / (1 + 1.079/m) * m * m / sum
	if estimate <= 2.5*m && empty > 0 {
		estimate = m * math.Log(m/float64(empty))
	}
	return int64(math.Round(estimate))
}
