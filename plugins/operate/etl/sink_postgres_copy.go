package etl

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	mathbits "math/bits"
	"slices"
	"strings"
	"unicode/utf8"
)

// tableEncoder writes rows as COPY reads them, and sums them up in any order.
type tableEncoder struct {
	w       io.Writer
	columns []column
	most    []int // characters of each text; 0: any number
	key     []int // columns of a merge's key: an index takes rows with a null in them again and again
	buf     []byte
	told    []byte
	sum     rowSum
	bytes   int64
}

// newTableEncoder makes one; what it writes to is set by who has it.
func newTableEncoder(columns []column, most []int) *tableEncoder {
	return &tableEncoder{w: io.Discard, columns: columns, most: most}
}

// fullCopy is how much is handed on at once.
const fullCopy = 1 << 16

func (e *tableEncoder) write(r row) error {
	e.told = e.told[:0]
	for i, c := range r {
		if i > 0 {
			e.buf = append(e.buf, '\t')
		}
		if c.null && slices.Contains(e.key, i) {
			return fmt.Errorf("column %q is null in a row: it has no key to merge by", e.columns[i].name)
		}
		if c.null {
			e.buf, e.told = append(e.buf, `\N`...), append(e.told, 0)
			continue
		}
		of := e.columns[i].of.kind
		switch {
		case of == kindBytes:
			e.buf = hex.AppendEncode(append(e.buf, `\\x`...), []byte(c.text))
		case strings.Contains(c.text, "\x00"):
			return fmt.Errorf("column %q: PostgreSQL keeps no text with a zero byte", e.columns[i].name)
		case e.most[i] > 0 && utf8.RuneCountInString(c.text) > e.most[i]:
			return fmt.Errorf("column %q: a text is longer than the %d characters that the table takes", e.columns[i].name,
				e.most[i])
		default:
			e.buf = appendCopied(e.buf, c.text)
		}
		if of != kindJSON { // which a table may keep in another form
			e.told = append(binary.AppendUvarint(e.told, uint64(len(c.text))+1), c.text...)
		}
	}
	e.buf = append(e.buf, '\n')
	e.sum.add(e.told)
	if len(e.buf) < fullCopy {
		return nil
	}
	return e.end()
}

func (e *tableEncoder) end() error {
	n, err := e.w.Write(e.buf)
	e.bytes, e.buf = e.bytes+int64(n), e.buf[:0]
	return err
}

// appendCopied writes a text as COPY reads it.
func appendCopied(b []byte, text string) []byte {
	for i := range len(text) {
		switch c := text[i]; c {
		case '\\', '\t', '\n', '\r':
			b = append(b, '\\', map[byte]byte{'\\': '\\', '\t': 't', '\n': 'n', '\r': 'r'}[c])
		default:
			b = append(b, c)
		}
	}
	return b
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
