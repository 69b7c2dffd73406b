package lake

import (
	"runtime"

	"github.com/klauspost/compress/zstd"
	parquetzstd "github.com/parquet-go/parquet-go/compress/zstd"
)

// compression is the codec of all objects. Unlike the library's codec it keeps its encoders, with
// 1 MiB each instead of 8 MiB for every object.
var compression = newCompressor()

// window is how many bytes back compression finds repetitions; most pages are smaller.
const window = 512 << 10

type compressor struct {
	parquetzstd.Codec // decompresses
	encoder           *zstd.Encoder
}

func newCompressor() *compressor {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(window),
		zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)), zstd.WithZeroFrames(true), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // impossible: the options are constant
	}
	return &compressor{encoder: e}
}

// Encode returns the compressed page, in the memory of dst if that is large enough.
func (c *compressor) Encode(dst, src []byte) ([]byte, error) {
	return c.encoder.EncodeAll(src, dst[:0]), nil
}
