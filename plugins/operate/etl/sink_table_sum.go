package etl

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	mathbits "math/bits"
)

// rowTeller sums up rows in any order.
type rowTeller struct {
	sum rowSum
	buf []byte
}

// add takes a row, without its JSON, which a table may keep in another form.
func (t *rowTeller) add(columns []column, r row) {
	t.buf = t.buf[:0]
	for i, c := range r {
		switch {
		case c.null:
			t.buf = append(t.buf, 0)
		case columns[i].of.kind != kindJSON:
			t.buf = append(binary.AppendUvarint(t.buf, uint64(len(c.text))+1), c.text...)
		}
	}
	t.sum.add(t.buf)
}

// rowSum is the same for the same rows in any order, each as often as it is there.
type rowSum [4]uint64

func (s *rowSum) add(row []byte) {
	sum := sha256.Sum256(row)
	carry := uint64(0)
	for i := range s {
		s[i], carry = mathbits.Add64(s[i], binary.LittleEndian.Uint64(sum[8*i:]), carry)
	}
}

func (s *rowSum) hex() string {
	var out []byte
	for _, part := range s {
		out = binary.LittleEndian.AppendUint64(out, part)
	}
	return hex.EncodeToString(out)
}
