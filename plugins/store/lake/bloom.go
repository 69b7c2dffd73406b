package lake

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/bloom"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Bloom is the bloom filter of one column of one row group.
type Bloom struct{ filter bloom.SplitBlockFilter }

// Bloom reads the bloom filter of a leaf column. If the column has none, it returns one that rules
// out nothing. (In v0.29.0 the library's own reading on demand looks at the wrong offset and finds
// nothing.)
func (f *File) Bloom(group, leaf int) (Bloom, error) {
	meta := &f.Metadata().RowGroups[group].Columns[leaf].MetaData
	if meta.BloomFilterOffset == 0 || meta.BloomFilterLength <= 0 {
		return Bloom{}, nil
	}
	raw := make([]byte, meta.BloomFilterLength)
	if _, err := f.reader.ReadAt(raw, meta.BloomFilterOffset); err != nil && !errors.Is(err, io.EOF) {
		return Bloom{}, fmt.Errorf("reading a bloom filter: %w", err)
	}
	var header format.BloomFilterHeader
	if err := thrift.NewDecoder(new(thrift.CompactProtocol).NewReader(bytes.NewReader(raw))).Decode(&header); err != nil {
		return Bloom{}, fmt.Errorf("reading a bloom filter: %w", err)
	}
	if n := int(header.NumBytes); n > 0 && n <= len(raw) && n%bloom.BlockSize == 0 {
		return Bloom{bloom.MakeSplitBlockFilter(raw[len(raw)-n:])}, nil
	}
	return Bloom{}, fmt.Errorf("reading a bloom filter: %d bytes of %d", header.NumBytes, len(raw))
}

// MayHold reports whether the column may have the value.
func (b Bloom) MayHold(value []byte) bool {
	return b.filter == nil || b.filter.Check(bloom.XXH64{}.Sum64(value))
}
