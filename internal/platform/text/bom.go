package text

import (
	"bufio"
	"bytes"
	"io"
)

// bom is the byte order mark that some programs write before UTF-8. JSON must not have one, but RFC 8259 lets readers
// ignore it.
const bom = "\uFEFF"

// WithoutBOM returns a text without its byte order mark, if any.
func WithoutBOM(b []byte) []byte { return bytes.TrimPrefix(b, []byte(bom)) }

// PassBOM returns a reader that skips the byte order mark, if any.
func PassBOM(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	if begin, _ := b.Peek(len(bom)); string(begin) == bom { // the next read returns the error
		_, _ = b.Discard(len(bom))
	}
	return b
}
