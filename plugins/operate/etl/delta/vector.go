package delta

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"path"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"weir/plugins/store/lake"
)

// Vector is a deletion vector, which tells the deleted rows of a file.
type Vector struct {
	StorageType string `json:"storageType"`    // u: a file below the table; i: inline; p: any file
	Path        string `json:"pathOrInlineDv"` // in Z85
	Offset      *int32 `json:"offset,omitempty"`
	Size        int32  `json:"sizeInBytes"`
	Cardinality int64  `json:"cardinality"` // number of deleted rows
}

// id distinguishes the vectors of one file.
func (v *Vector) id() string {
	if v.Offset == nil {
		return v.StorageType + v.Path
	}
	return v.StorageType + v.Path + "@" + strconv.Itoa(int(*v.Offset))
}

// keyOf returns the key by which a remove finds its add. A file with another vector has another
// key; without a vector, the key is the path.
func keyOf(path string, v *Vector) string {
	if v == nil {
		return path
	}
	return path + "\x00" + v.id()
}

// Key returns the key of the file in Snapshot.Files.
func (a *Add) Key() string { return keyOf(a.Path, a.DeletionVector) }

// ErrVector says that a vector is damaged, so that no row of its file can be read.
var ErrVector = errors.New("its deletion vector is damaged")

// VectorKey returns the key of the object that has the vector; "": the vector is inline.
func (t Table) VectorKey(v *Vector) (string, error) {
	const name = 20 // letters of a UUID in Z85
	switch {
	case v.StorageType == "i":
		return "", nil
	case v.StorageType != "u":
		return "", &UnknownError{fmt.Sprintf("a deletion vector of storage type %q", v.StorageType)}
	case len(v.Path) < name:
		return "", ErrVector
	}
	folder, letters := v.Path[:len(v.Path)-name], v.Path[len(v.Path)-name:]
	raw, err := z85(letters)
	if err != nil {
		return "", err
	}
	id, err := uuid.FromBytes(raw)
	if err != nil {
		return "", err
	}
	return t.Key(path.Join(Path(folder), "deletion_vector_"+id.String()+".bin"))
}

// mostVector bounds the bytes of a vector: two bytes for each row of a file of 500 million rows.
const mostVector = 1 << 30

// Deleted returns which rows of a file are deleted: bit i of the set is row i. nil: the file has no
// vector.
func (t Table) Deleted(ctx context.Context, a Add, rows int64) (set []uint64, err error) {
	v := a.DeletionVector
	if v == nil {
		return nil, nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("the deletion vector of %s: %w", a.Path, err)
		}
	}()
	if v.Size < 0 || v.Size > mostVector || v.Offset != nil && *v.Offset < 0 {
		return nil, ErrVector
	}
	raw, err := t.vector(ctx, v)
	if err != nil {
		return nil, err
	}
	set = make([]uint64, (rows+63)/64)
	if err := decode(raw, rows, set); err != nil {
		return nil, err
	}
	var n int64
	for _, word := range set {
		n += int64(bits.OnesCount64(word))
	}
	if n != v.Cardinality {
		return nil, fmt.Errorf("%w: it has %d rows, and the log says %d", ErrVector, n, v.Cardinality)
	}
	return set, nil
}

// vector reads the bytes of a vector and checks them.
func (t Table) vector(ctx context.Context, v *Vector) ([]byte, error) {
	key, err := t.VectorKey(v)
	if err != nil {
		return nil, err
	}
	if key == "" {
		raw, err := z85(v.Path)
		if err != nil || len(raw) < int(v.Size) {
			return nil, ErrVector
		}
		return raw[:v.Size], nil // the rest pads the last letters
	}
	at := int64(1) // after the format's version
	if v.Offset != nil {
		at = int64(*v.Offset)
	}
	framed := make([]byte, 4+int(v.Size)+4) // size, vector, checksum
	r, err := t.Store.Open(ctx, lake.Blob{Key: key, Size: at + int64(len(framed))})
	if err != nil {
		return nil, err
	}
	defer r.Close() // it was only read
	if n, err := r.ReadAt(framed, at); n < len(framed) {
		if err == nil || errors.Is(err, io.EOF) {
			err = ErrVector
		}
		return nil, err
	}
	raw, sum := framed[4:4+v.Size], binary.BigEndian.Uint32(framed[4+v.Size:])
	if binary.BigEndian.Uint32(framed) != uint32(v.Size) || crc32.ChecksumIEEE(raw) != sum {
		return nil, ErrVector
	}
	return raw, nil
}

// First bytes of a vector, which is an array of bitmaps for 2^32 rows each. magicFirst is the form
// in the protocol's example, whose own numbers are big-endian.
const (
	magicFirst    = 1681511376
	magicPortable = 1681511377
)

// decode sets the bits of a vector's rows.
func decode(raw []byte, rows int64, set []uint64) error {
	r := &reading{in: bytes.NewReader(raw)}
	one := func(high uint64) {
		r.bitmap(high<<32, func(row uint64) {
			if row >= uint64(rows) {
				r.err = ErrVector
				return
			}
			set[row/64] |= 1 << (row % 64)
		})
	}
	magic := r.bytes(4)
	switch {
	case binary.LittleEndian.Uint32(magic) == magicPortable:
		for n := r.u64(); n > 0 && r.err == nil; n-- {
			one(uint64(r.u32()))
		}
	case binary.BigEndian.Uint32(magic) == magicFirst:
		bitmaps := uint64(binary.BigEndian.Uint32(r.bytes(4)))
		for i := uint64(0); i < bitmaps && r.err == nil; i++ {
			r.bytes(4) // its size
			one(i)
		}
	default:
		return ErrVector
	}
	if r.err != nil || r.in.Len() > 0 {
		return ErrVector
	}
	return nil
}

// reading reads little-endian numbers. After an error it returns zeros.
type reading struct {
	in  *bytes.Reader
	err error
}

func (r *reading) bytes(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(r.in, b); err != nil && r.err == nil {
		r.err = err
	}
	return b
}

func (r *reading) u16() uint32 { return uint32(binary.LittleEndian.Uint16(r.bytes(2))) }
func (r *reading) u32() uint32 { return binary.LittleEndian.Uint32(r.bytes(4)) }
func (r *reading) u64() uint64 { return binary.LittleEndian.Uint64(r.bytes(8)) }

// Roaring bitmaps in their portable format: containers of 2^16 numbers, each in the smallest of
// three forms.
const (
	cookieNoRuns = 12346
	cookieRuns   = 12347
	fewOffsets   = 4    // with runs, there are offsets only from so many containers on
	mostInArray  = 4096 // numbers; a larger container is a bitmap
)

func (r *reading) bitmap(base uint64, each func(uint64)) {
	cookie := r.u32()
	containers, runs := 0, []byte(nil)
	switch {
	case cookie == cookieNoRuns:
		containers = int(min(r.u32(), 1<<16+1))
	case cookie&0xffff == cookieRuns:
		containers = int(cookie>>16) + 1
		runs = r.bytes((containers + 7) / 8)
	default:
		r.err = ErrVector
	}
	if r.err != nil || containers > 1<<16 {
		r.err = ErrVector
		return
	}
	type header struct {
		base uint64
		size int
	}
	headers := make([]header, containers)
	for i := range headers {
		headers[i] = header{base + uint64(r.u16())<<16, int(r.u16()) + 1}
	}
	if runs == nil || containers >= fewOffsets {
		r.bytes(4 * containers) // offsets of the containers, which follow each other
	}
	for i, h := range headers {
		switch {
		case r.err != nil:
			return
		case runs != nil && runs[i/8]&(1<<(i%8)) != 0:
			r.runs(h.base, each)
		case h.size <= mostInArray:
			for range h.size {
				each(h.base + uint64(r.u16()))
			}
		default:
			for word, given := range r.bytes(1 << 13) {
				for ; given != 0; given &= given - 1 {
					each(h.base + uint64(word*8+bits.TrailingZeros8(given)))
				}
			}
		}
	}
}

func (r *reading) runs(base uint64, each func(uint64)) {
	for n := r.u16(); n > 0 && r.err == nil; n-- {
		first, more := r.u16(), r.u16()
		for i := uint64(0); i <= uint64(more) && r.err == nil; i++ {
			each(base + uint64(first) + i)
		}
	}
}

// z85Letters is the alphabet of Z85 (ZeroMQ RFC 32).
const z85Letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"

// z85 decodes Z85: five letters for four bytes.
func z85(text string) ([]byte, error) {
	if len(text)%5 != 0 {
		return nil, ErrVector
	}
	out := make([]byte, 0, len(text)/5*4)
	for ; text != ""; text = text[5:] {
		var n uint64
		for _, letter := range []byte(text[:5]) {
			digit := strings.IndexByte(z85Letters, letter)
			if digit < 0 {
				return nil, ErrVector
			}
			n = n*85 + uint64(digit)
		}
		if n > 1<<32-1 {
			return nil, ErrVector
		}
		out = binary.BigEndian.AppendUint32(out, uint32(n))
	}
	return out, nil
}
