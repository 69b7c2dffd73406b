package rule

import (
	"math"
	"slices"
)

// A set of more than exactDistinct values is a HyperLogLog: a register for each of 4,096 parts of the hashes, with the
// highest rank of a value in its part. Nothing can be taken out of a maximum, so a value is forgotten like this: if its
// register holds no more than its rank, the register gets the value of another one that holds no more than that rank;
// if it holds more, others set it. Both are decided by other values alone, so that the outcome is the same, to the
// byte, whether or not the value had been added: who has the set and the value learns nothing from them. (Only setting
// the registers that hold the rank itself would tell: one that holds less says that the value was never added.)
//
// The other register is a fair draw. Registers are alike and independent, so that one of those that hold no more than a
// rank is distributed as what the register would hold now, had the value not been there, given that this is no more
// than the rank. Neither a typical value nor a mean is: a set of few values has mostly empty registers, and each
// register that should sometimes be set and never is makes it smaller. It is the same register in the sets of all
// windows and partitions, as far as it holds no more than the rank there, so that their union is forgotten like one
// set: the union of draws made for each set alone would grow with their number. With sets that had nothing to forget it
// is a draw more, and their union a little larger: by a percent and a half, of few values and a hundred forgotten.
//
// Forgetting again changes nothing, unless other values are forgotten in between whose registers lend to each other;
// these values then pass around, and no others come in. Two things remain. If a value took the register of one that was
// forgotten later, it still has that one's rank: a chance of one in 4,096 for two values, and who wants to see it must
// have both. And if there were exactly exactDistinct others, the set stays a HyperLogLog, which says that there once
// was one more, whatever its name.

// forget removes a hash, as if it had never been added. It reports whether the set is another one now.
func (d *distinct) forget(h uint64) (changed bool) {
	if d.regs != nil {
		return forgetRegister(d.regs, 0, h)
	}
	i, there := slices.BinarySearch(d.few, h)
	if there {
		d.few = slices.Delete(d.few, i, i+1)
	}
	return there
}

// differs counts in how many registers a set has less than another, and in how many more; of two lists, the hashes that
// it lacks, and those that only it has.
func (d *distinct) differs(o *distinct) (less, more int64) {
	if d.regs == nil && o.regs == nil {
		both := int64(0)
		for _, h := range d.few {
			_, is := slices.BinarySearch(o.few, h)
			both += int64(bit(is))
		}
		return int64(len(o.few)) - both, int64(len(d.few)) - both
	}
	var a, b distinct
	a.merge(d)
	b.merge(o)
	for _, set := range []*distinct{&a, &b} {
		if set.regs == nil {
			set.many()
		}
	}
	for i := range a.regs {
		less += int64(bit(a.regs[i] < b.regs[i]))
		more += int64(bit(a.regs[i] > b.regs[i]))
	}
	return less, more
}

// forgetRegister removes a hash from registers that are stored as their value above zero.
func forgetRegister(regs []uint8, zero uint8, h uint64) (changed bool) {
	at, rank := register(h)
	most := zero + rank
	if regs[at] > most {
		return false
	}
	instead := uint8(math.MaxUint8) // where all others hold more, it is the least of them
	step := int(h%registers) | 1    // odd, so that it comes by all registers; of the last bits, which few ranks look at
	for i := (at + step) % registers; i != at; i = (i + step) % registers {
		if instead = min(instead, regs[i]); instead <= most {
			break
		}
	}
	changed = regs[at] != instead
	regs[at] = instead
	return changed
}
