package delta

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func rowsOf(set []uint64) (all []int) {
	for i, word := range set {
		for ; word != 0; word &= word - 1 {
			all = append(all, i*64+bits.TrailingZeros64(word))
		}
	}
	return all
}

// The inline vector that the protocol's text gives as its example, with the rows that
// it says are in it.
func specVector() *Vector {
	return &Vector{StorageType: "i", Path: "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L", Size: 40, Cardinality: 6}
}

func TestVector_TheExampleOfTheProtocolIsRead(t *testing.T) {
	portable := &Vector{StorageType: "i", Path: "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L", Size: 44,
		Cardinality: 6} // as engines write it now
	for _, v := range []*Vector{specVector(), portable} {
		set, err := Table{}.Deleted(t.Context(), Add{Path: "f", DeletionVector: v}, 30)
		if want := []int{3, 4, 7, 11, 18, 29}; err != nil || !slices.Equal(rowsOf(set), want) {
			t.Errorf("%s: %v, %v", v.Path, rowsOf(set), err)
		}
	}
	at := Table{Folder: "a/b"}
	four := int32(4)
	v := &Vector{StorageType: "u", Path: "ab^-aqEH.-t@S}K{vb[*k^", Offset: &four}
	key, err := at.VectorKey(v)
	if want := "a/b/ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin"; err != nil || key != want {
		t.Errorf("%s, %v", key, err)
	}
	if v.id() != "uab^-aqEH.-t@S}K{vb[*k^@4" {
		t.Error(v.id())
	}
}

// le appends numbers as a bitmap has them: 16 bits each.
func le(b []byte, numbers ...int) []byte {
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint16(b, uint16(n))
	}
	return b
}

// Containers of each shape, in a file, with what is before and behind.
func TestVector_EachShapeOfAContainerIsRead(t *testing.T) {
	array := le(nil, 1, 5, 65535)
	full := make([]byte, 1<<13)
	for i := range 5000 {
		full[i/8] |= 1 << (i % 8)
	}
	runs := le(nil, 2, 10, 2, 100, 0) // two: 10 to 12, and 100
	bitmap := binary.LittleEndian.AppendUint32(nil, cookieRuns|3<<16)
	bitmap = append(bitmap, 0b1000)                               // the last of the four has runs
	bitmap = le(bitmap, 0, 2, 1, 4999, 2, 0, 3, 3)                // numbers and sizes less one
	bitmap = append(bitmap, make([]byte, 16)...)                  // where they begin
	bitmap = slices.Concat(bitmap, array, full, le(nil, 7), runs) // 7 is one alone
	raw := binary.LittleEndian.AppendUint32(nil, magicPortable)
	raw = binary.LittleEndian.AppendUint64(raw, 1)
	raw = append(binary.LittleEndian.AppendUint32(raw, 0), bitmap...)

	want := []int{1, 5, 65535}
	for i := range 5000 {
		want = append(want, 65536+i)
	}
	want = append(want, 2*65536+7, 3*65536+10, 3*65536+11, 3*65536+12, 3*65536+100)

	dir := t.TempDir()
	table := at(t, dir)
	offset := int32(9)
	v := &Vector{StorageType: "u", Path: "ab^-aqEH.-t@S}K{vb[*k^", Offset: &offset, Size: int32(len(raw)),
		Cardinality: int64(len(want))}
	key, err := table.VectorKey(v)
	if err != nil {
		t.Fatal(err)
	}
	body := append([]byte("\x01another "), binary.BigEndian.AppendUint32(nil, uint32(len(raw)))...)
	body = append(body, raw...)
	body = binary.BigEndian.AppendUint32(body, crc32.ChecksumIEEE(raw))
	file := filepath.Join(dir, key)
	put := func(body []byte) {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, body, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	put(body)
	const rows = 4 * 65536
	set, err := table.Deleted(t.Context(), Add{DeletionVector: v}, rows)
	if err != nil || !slices.Equal(rowsOf(set), want) {
		t.Fatalf("%d rows, %v", len(rowsOf(set)), err)
	}
	if _, err := table.Deleted(t.Context(), Add{DeletionVector: v}, 3*65536); !errors.Is(err, ErrVector) {
		t.Errorf("a row behind the file's end: %v", err)
	}
	fewer := *v
	fewer.Cardinality--
	if _, err := table.Deleted(t.Context(), Add{DeletionVector: &fewer}, rows); !errors.Is(err, ErrVector) {
		t.Errorf("one row more than the log says: %v", err)
	}
	for at := int(offset); at < len(body); at += 97 { // whichever byte is another
		bad := slices.Clone(body)
		bad[at] ^= 0x10
		put(bad)
		if _, err := table.Deleted(t.Context(), Add{DeletionVector: v}, rows); !errors.Is(err, ErrVector) {
			t.Fatalf("byte %d is another: %v", at, err)
		}
		put(body[:at])
		if _, err := table.Deleted(t.Context(), Add{DeletionVector: v}, rows); !errors.Is(err, ErrVector) {
			t.Fatalf("the file ends at byte %d: %v", at, err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Deleted(t.Context(), Add{DeletionVector: v}, rows); err == nil {
		t.Error("the file is gone, and nobody says so")
	}
}

// Whatever a vector is, it is read or refused; it neither ends the program nor sets a
// row that the file has not.
func FuzzVector(f *testing.F) {
	raw, err := z85(specVector().Path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw[:40], int64(30))
	f.Add([]byte{}, int64(0))
	f.Fuzz(func(t *testing.T, raw []byte, rows int64) {
		rows &= 1<<20 - 1
		set := make([]uint64, (rows+63)/64)
		if decode(raw, rows, set) != nil {
			return
		}
		if all := rowsOf(set); len(all) > 0 && int64(all[len(all)-1]) >= rows {
			t.Errorf("row %d of %d", all[len(all)-1], rows)
		}
	})
}
