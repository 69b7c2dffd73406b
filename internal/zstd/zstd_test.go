package zstd_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/DataDog/zstd"
)

// Pebble hands in a buffer of the bound's length and panics if the result lies
// elsewhere.
func TestZstd_BlocksComeBackAndStayInTheirBuffer(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, 3, 100, 4096, 32 << 10, 128 << 10, 128<<10 + 1, 1 << 20, 5<<20 + 7} {
		for _, letters := range []int{1, 4, 256} {
			src := make([]byte, size)
			for i := range src {
				src[i] = byte(random.IntN(letters))
			}
			ctx := zstd.NewCtx()
			for _, level := range []int{1, 3, 7, 22} {
				buffer := make([]byte, zstd.CompressBound(size))
				packed, err := ctx.CompressLevel(buffer, src, level)
				if err != nil {
					t.Fatal(err)
				}
				if len(packed) == 0 || &packed[0] != &buffer[0] {
					t.Fatalf("%d bytes of %d letters at level %d: %d bytes, elsewhere", size, letters, level, len(packed))
				}
				out := make([]byte, size)
				if n, err := ctx.DecompressInto(out, packed); err != nil || n != size || !bytes.Equal(out, src) {
					t.Fatalf("%d bytes of %d letters at level %d came back as %d: %v", size, letters, level, n, err)
				}
				if size > 0 {
					if _, err := ctx.DecompressInto(out[:size-1], packed); err == nil {
						t.Fatal("a buffer that is too small was taken")
					}
					if _, err := ctx.DecompressInto(out, packed[:len(packed)-1]); err == nil {
						t.Fatal("a block that is cut was taken")
					}
				}
			}
		}
	}
}
