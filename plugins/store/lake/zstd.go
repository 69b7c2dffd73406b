package lake

import (
	"runtime"

	"github.com/klauspost/compress/zstd"
	parquetzstd "github.com/parquet-go/parquet-go/compress/zstd"
)

// compression is that of all objects. It differs from the library's codec in the
// memory of its encoders, which it keeps: 1 MiB each and not 8 for every object.
var compression = newCompressor()

// window is how far back a page may repeat itself: most are shorter.
const window = 512 << 10

type compressor struct {
	parquetzstd.Codec // which reads
	encoder           *zstd.Encoder
}

func newCompressor() *compressor {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(window),
		zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)), zstd.WithZeroFrames(true), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // the options above contradict each other
	}
	return &compressor{encoder: e}
}

// Encode compresses a page into dst.
func (c *compressor) Encode(dst, src []byte) ([]byte, error) {
	return c.encoder.EncodeAll(src, dst[:0]), nil
}
