package etl

import (
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// tableEncoder writes rows in the text format of COPY. The sum of the rows does not depend on their
// order.
type tableEncoder struct {
	w       io.Writer
	columns []column
	most    []int // most characters of each text; 0: no bound
	key     []int // columns of a merge's key, which must not be null: a unique index takes null any number of times
	buf     []byte
	all     rowTeller
	bytes   int64
}

// newTableEncoder returns an encoder that discards what it writes; the caller sets e.w.
func newTableEncoder(columns []column, most []int) *tableEncoder {
	return &tableEncoder{w: io.Discard, columns: columns, most: most}
}

// fullCopy is the number of bytes that are written at once.
const fullCopy = 1 << 16

func (e *tableEncoder) write(r row) error {
	for i, c := range r {
		if i > 0 {
			e.buf = append(e.buf, '\t')
		}
		if c.null && slices.Contains(e.key, i) {
			return noKey(e.columns[i])
		}
		if c.null {
			e.buf = append(e.buf, `\N`...)
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
	}
	e.buf = append(e.buf, '\n')
	e.all.add(e.columns, r)
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

func (e *tableEncoder) told() (int64, string) { return e.bytes, e.all.sum.hex() }

// appendCopied appends a text, escaped for COPY.
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
