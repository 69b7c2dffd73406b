package gate

import (
	"bytes"
	"errors"
	"runtime"
	"sync"

	"weir/plugins/ingest/gate/admission"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// The content encodings, as the header names them.
const (
	encodingIdentity = "identity"
	encodingGzip     = "gzip"
	encodingZstd     = "zstd"
)

// errUndecodable says that a body does not have the encoding that Content-Encoding names.
var errUndecodable = errors.New("the body cannot be decoded")

// decoders decompress bodies. They read from memory, never from a client, so that a slow client
// occupies none. What a decompression bomb can take is bounded by the limit of a body and, for
// zstd, a window of at most 8 MiB for each processor.
type decoders struct {
	gzip sync.Pool // *gzip.Reader
	zstd *zstd.Decoder
}

func newDecoders(limit int) (*decoders, error) {
	z, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(runtime.GOMAXPROCS(0)),
		zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxMemory(uint64(max(limit, 8<<20))),
		zstd.WithDecoderMaxWindow(8<<20), // what RFC 8878 asks decoders to support
		zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	return &decoders{zstd: z}, nil
}

func (d *decoders) close() { d.zstd.Close() }

// decode returns the decoded body. The error is errUndecodable, or a *refusal if there is no room
// for the body or it is above the limit, which is noticed before more than the limit is decoded.
func (d *decoders) decode(encoding string, body []byte, limit int, held *admission.Hold) ([]byte, error) {
	switch encoding {
	case encodingGzip:
		return d.gunzip(body, limit, held)
	case encodingZstd:
		return d.unzstd(body, limit, held)
	}
	return body, nil
}

func (d *decoders) gunzip(body []byte, limit int, held *admission.Hold) ([]byte, error) {
	z, _ := d.gzip.Get().(*gzip.Reader)
	if z == nil {
		z = new(gzip.Reader)
	}
	defer d.gzip.Put(z)
	if err := z.Reset(bytes.NewReader(body)); err != nil {
		return nil, errUndecodable
	}
	out, ref := readAll(z, limit, held)
	if ref != nil && ref.name == incompleteBody {
		return nil, errUndecodable
	}
	if ref != nil {
		return nil, ref
	}
	return out, nil
}

func (d *decoders) unzstd(body []byte, limit int, held *admission.Hold) ([]byte, error) {
	var head zstd.Header
	if err := head.Decode(body); err != nil {
		return nil, errUndecodable
	}
	size := min(limit, 16*len(body)+4<<10) // a guess; what does not fit is decoded again
	if head.HasFCS {
		if head.FrameContentSize > uint64(limit) {
			return nil, bodyTooLarge(limit)
		}
		size = int(head.FrameContentSize)
	}
	for {
		if ref := full(held.Grow(size)); ref != nil {
			return nil, ref
		}
		out, err := d.zstd.DecodeAll(body, make([]byte, 0, size)) // never beyond its capacity
		switch {
		case err == nil:
			return out, nil
		case size < limit: // the room may have been too small
		case errors.Is(err, zstd.ErrDecoderSizeExceeded):
			return nil, bodyTooLarge(limit)
		default:
			return nil, errUndecodable
		}
		held.Shrink(size)
		size = limit
	}
}
