// Package zstd replaces the C library for Zstandard that Pebble uses when a C compiler is present. Compiling it took
// an eighth of a cold build, and the Go library does the same: Pebble itself uses that when it is built without C, as
// in weir's releases. go.mod replaces the module by this folder.
//
// It has only what Pebble calls. The format is the same: each library reads the files of the other.
package zstd

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// Ctx compresses and decompresses blocks; one goroutine uses it at a time.
type Ctx interface {
	// CompressLevel compresses src at a level of the C library (1 to 22) into
	// dst, when dst has CompressBound(len(src)) bytes, and into a new slice
	// otherwise.
	CompressLevel(dst, src []byte, level int) ([]byte, error)
	// DecompressInto decompresses src into dst, which is at least as long as
	// what comes out, and returns that length in bytes.
	DecompressInto(dst, src []byte) (int, error)
}

type blocks struct {
	encoder *zstd.Encoder
	level   int
	decoder *zstd.Decoder
}

// NewCtx returns a Ctx. It holds memory only, made when first used.
func NewCtx() Ctx { return &blocks{} }

// CompressBound is the length in bytes that n compressed bytes do not exceed:
// the bytes as they are, three for each block of at most 128 KiB, and the head
// of a frame.
func CompressBound(n int) int { return n + n>>12 + 64 }

func (b *blocks) CompressLevel(dst, src []byte, level int) ([]byte, error) {
	if b.encoder == nil || b.level != level {
		encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
			zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true))
		if err != nil {
			return nil, fmt.Errorf("making a Zstandard encoder of level %d: %w", level, err)
		}
		b.encoder, b.level = encoder, level
	}
	if cap(dst) < CompressBound(len(src)) {
		dst = make([]byte, 0, CompressBound(len(src)))
	}
	return b.encoder.EncodeAll(src, dst[:0]), nil
}

func (b *blocks) DecompressInto(dst, src []byte) (int, error) {
	if b.decoder == nil {
		decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return 0, fmt.Errorf("making a Zstandard decoder: %w", err)
		}
		b.decoder = decoder
	}
	out, err := b.decoder.DecodeAll(src, dst[:0:len(dst)])
	if err != nil {
		return 0, fmt.Errorf("decompressing a block: %w", err)
	}
	return len(out), nil
}
