package text

import (
	"bufio"
	"bytes"
	"io"
)

// bom is what some programs begin UTF-8 with. It says nothing, and JSON texts
// do not have it; RFC 8259 lets a reader pass over it.
const bom = "\uFEFF"

// WithoutBOM returns a text without the byte order mark that it may begin with.
func WithoutBOM(b []byte) []byte { return bytes.TrimPrefix(b, []byte(bom)) }

// PassBOM reads a text from behind the byte order mark that it may begin with.
func PassBOM(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	if begin, _ := b.Peek(len(bom)); string(begin) == bom { // the next read has the error
		_, _ = b.Discard(len(bom))
	}
	return b
}
