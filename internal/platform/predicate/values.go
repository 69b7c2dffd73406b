package predicate

import (
	bin "encoding/binary"
	"errors"
	"math"

	"weir/internal/platform/rawjson"
)

// The byte that Append writes before a value: its kind and flags.
const (
	kindBits = 0x07
	oddBit   = 0x08
	trueBit  = 0x10
)

var errNoValues = errors.New("these are no values of this layout")

// farthest is the magnitude from which a float64 may not represent the number exactly as written.
const farthest = 1 << 62

// Append appends the values that were read. From them, Take gives compiled expressions the same results without the
// document. all is false where that does not hold, because a number may be an integer beyond int64.
func (r *Reader) Append(b []byte) (values []byte, all bool) {
	all = true
	for i := range r.slots {
		v := &r.slots[i]
		head := byte(v.Kind)
		if v.odd {
			head |= oddBit
		}
		switch v.Kind {
		case Bool:
			if v.Int == 1 {
				head |= trueBit
			}
			b = append(b, head)
		case Int:
			b = bin.AppendVarint(append(b, head), v.Int)
		case Float:
			all = all && v.Num > -farthest && v.Num < farthest
			b = bin.LittleEndian.AppendUint64(append(b, head), math.Float64bits(v.Num))
		case String, Other:
			b = bin.AppendUvarint(append(b, head), uint64(len(v.Text)))
			b = append(b, v.Text...)
		default:
			b = append(b, head)
		}
	}
	return b, all
}

// Take fills the slots with what Append wrote for a reader of the same layout. The values share b's memory.
func (r *Reader) Take(b []byte) error {
	r.raw, r.tree, r.asked, r.set = nil, nil, false, true
	for i := range r.slots {
		if len(b) == 0 {
			return errNoValues
		}
		v, used := Value{Kind: Kind(b[0] & kindBits), odd: b[0]&oddBit != 0}, 0
		on := b[0]&trueBit != 0
		b = b[1:]
		switch v.Kind {
		case Missing, Null:
		case Bool:
			if on {
				v.Int = 1
			}
		case Int:
			v.Int, used = bin.Varint(b)
			if v.Num = float64(v.Int); used <= 0 {
				return errNoValues
			}
		case Float:
			if used = 8; len(b) < used {
				return errNoValues
			}
			v.Num = math.Float64frombits(bin.LittleEndian.Uint64(b))
		case String, Other:
			n, head := bin.Uvarint(b)
			if head <= 0 || n > uint64(len(b)-head) {
				return errNoValues
			}
			v.Text, used = rawjson.Alias(b[head:head+int(n)]), head+int(n)
		default:
			return errNoValues
		}
		r.slots[i], b = v, b[used:]
	}
	if len(b) > 0 {
		return errNoValues
	}
	return nil
}
