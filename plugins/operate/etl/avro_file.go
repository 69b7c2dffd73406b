package etl

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
)

// A file of Avro is a header, with the schema and the compression of its blocks, and then blocks.
// A block has the number of its values, their bytes, and a marker that is the same in the whole file.

const avroMagic = "Obj\x01"

const avroMarker = 16

// Bounds of the sizes that a file declares.
const (
	mostAvroHeader = 16 << 20
	mostAvroBlock  = 256 << 20 // also of a block that is unpacked
)

var errAvro = errors.New("it is no whole file of Avro")

// avroFile reads the blocks of a file.
type avroFile struct {
	in     *bufio.Reader
	codec  string
	marker [avroMarker]byte
	raw    []byte // JSON of the schema
	schema *avroValue
	cols   []column

	block []byte // unread rest of the current block
	left  int64  // values left in the block
}

// openAvro reads the header of a file.
func openAvro(in io.Reader) (*avroFile, error) {
	f := &avroFile{in: bufio.NewReaderSize(in, 1<<20)}
	magic := make([]byte, len(avroMagic))
	if _, err := io.ReadFull(f.in, magic); err != nil || string(magic) != avroMagic {
		return nil, f.broken(err)
	}
	facts := map[string]string{}
	room := int64(mostAvroHeader)
	for {
		n, err := binary.ReadVarint(f.in)
		if err == nil && n < 0 { // a negative count is followed by a size in bytes
			n = -n
			_, err = binary.ReadVarint(f.in)
		}
		if err != nil || n > mostAvroHeader {
			return nil, f.broken(err)
		}
		if n == 0 {
			break
		}
		for range n {
			name, err := f.bytes(&room)
			if err != nil {
				return nil, err
			}
			value, err := f.bytes(&room)
			if err != nil {
				return nil, err
			}
			facts[string(name)] = string(value)
		}
	}
	if _, err := io.ReadFull(f.in, f.marker[:]); err != nil {
		return nil, f.broken(err)
	}
	switch f.codec = facts["avro.codec"]; f.codec {
	case "", "null", "deflate", "snappy", "zstandard":
	default:
		return nil, dataError{fmt.Errorf("its blocks are compressed by %q: known are null, deflate, snappy and zstandard",
			f.codec)}
	}
	var schema any
	if err := json.Unmarshal([]byte(facts["avro.schema"]), &schema); err != nil {
		return nil, dataError{errors.New("its schema is no JSON")}
	}
	f.raw = []byte(facts["avro.schema"])
	var wrong []error
	if f.schema, f.cols, wrong = avroOf(schema); len(wrong) > 0 {
		return nil, dataError{errors.Join(wrong...)}
	}
	for i, c := range f.cols {
		if indexOf(f.cols[:i], c.name) >= 0 {
			return nil, dataError{fmt.Errorf("column %q stands twice", c.name)}
		}
	}
	return f, nil
}

// broken returns errAvro as a dataError when the file ends early or is malformed (err is nil).
// Other errors, as of its store, are returned as they are.
func (f *avroFile) broken(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return dataError{errAvro}
	}
	return err
}

func (f *avroFile) bytes(room *int64) ([]byte, error) {
	n, err := binary.ReadVarint(f.in)
	if *room -= n; err != nil || n < 0 || *room < 0 {
		return nil, f.broken(err)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(f.in, raw); err != nil {
		return nil, f.broken(err)
	}
	return raw, nil
}

// skip passes over whole blocks while they hold at most n values. It returns how many values the
// caller still has to read with next.
func (f *avroFile) skip(n int64) (int64, error) {
	for n > 0 {
		if f.left == 0 {
			if err := f.nextBlock(); err != nil {
				return n, err
			}
		}
		if f.left > n {
			return n, nil
		}
		n, f.left, f.block = n-f.left, 0, nil
	}
	return 0, nil
}

// next returns the next value, or io.EOF at the end. After a *rowError, which concerns this value
// alone, the caller can go on.
func (f *avroFile) next() (row, error) {
	for f.left == 0 {
		if len(f.block) > 0 {
			return nil, dataError{errAvro}
		}
		if err := f.nextBlock(); err != nil {
			return nil, err
		}
	}
	native, rest, err := f.schema.codec.NativeFromBinary(f.block)
	if err != nil {
		return nil, dataError{errors.New("a value is none of its schema: the file is damaged")}
	}
	f.block, f.left = rest, f.left-1
	out, err := f.schema.cells(native)
	if err != nil {
		raw, _ := f.schema.codec.TextualFromNative(nil, native) // cannot fail: native came from this codec
		return nil, &rowError{err.Error(), raw}
	}
	return out, nil
}

func (f *avroFile) nextBlock() error {
	n, err := binary.ReadVarint(f.in)
	if errors.Is(err, io.EOF) && n == 0 {
		return io.EOF
	}
	if err != nil || n < 0 {
		return f.broken(err)
	}
	size, err := binary.ReadVarint(f.in)
	if err != nil || size < 0 || size > mostAvroBlock {
		return f.broken(err)
	}
	raw := make([]byte, size+avroMarker)
	if _, err := io.ReadFull(f.in, raw); err != nil {
		return f.broken(err)
	}
	if !bytes.Equal(raw[size:], f.marker[:]) {
		return dataError{errAvro}
	}
	if f.block, err = f.plain(raw[:size]); err != nil {
		return dataError{fmt.Errorf("%w: a block cannot be unpacked", errAvro)}
	}
	f.left = n
	return nil
}

// plain decompresses a block, up to mostAvroBlock bytes.
func (f *avroFile) plain(raw []byte) ([]byte, error) {
	bounded := func(in io.Reader) ([]byte, error) {
		out, err := io.ReadAll(io.LimitReader(in, mostAvroBlock+1))
		if err == nil && len(out) > mostAvroBlock {
			err = errAvro
		}
		return out, err
	}
	switch f.codec {
	case "deflate":
		return bounded(flate.NewReader(bytes.NewReader(raw)))
	case "zstandard":
		d, err := zstd.NewReader(bytes.NewReader(raw), zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxMemory(mostAvroBlock))
		if err != nil {
			return nil, err
		}
		defer d.Close()
		return bounded(d)
	case "snappy": // followed by the CRC-32 of the unpacked block
		if len(raw) < crc32.Size {
			return nil, errAvro
		}
		packed, sum := raw[:len(raw)-crc32.Size], raw[len(raw)-crc32.Size:]
		if n, err := snappy.DecodedLen(packed); err != nil || n > mostAvroBlock {
			return nil, errAvro
		}
		out, err := snappy.Decode(nil, packed)
		if err == nil && crc32.ChecksumIEEE(out) != binary.BigEndian.Uint32(sum) {
			err = errAvro
		}
		return out, err
	}
	return raw, nil
}
