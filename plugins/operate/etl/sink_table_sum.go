package etl

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	mathbits "math/bits"
)

// rowTeller computes a checksum of rows that does not depend on their order.
type rowTeller struct {
	sum rowSum
	buf []byte
}

// add adds a row. Columns of JSON do not count, as a table may store them in another form.
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

// rowSum is equal for the same rows in any order, each as often as it occurs.
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
