// Package mmdb writes small IP databases in MaxMind's DB format, for tests.
package mmdb

import (
	"encoding/binary"
	"net/netip"
	"os"
	"slices"
	"testing"
)

// Write writes a database with a record for each network, such as "203.0.113.0/24", and replaces path atomically.
// Records are maps, lists and strings.
func Write(t testing.TB, path string, records map[string]any) {
	t.Helper()
	b := &builder{nodes: [][2]uint32{{}}}
	for _, network := range sorted(records) {
		prefix, err := netip.ParsePrefix(network)
		if err != nil {
			t.Fatal(err)
		}
		at := uint32(len(b.data))
		b.data = encode(b.data, records[network])
		b.put(prefix, at)
	}
	if err := os.WriteFile(path+".new", b.bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func sorted(records map[string]any) (names []string) {
	for name := range records {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// builder is the binary search tree over address bits. Each of the two sides of a node is 0 for nothing, the index of
// a node, or isRecord | the offset of a record in data.
type builder struct {
	nodes [][2]uint32
	data  []byte
}

const isRecord = 1 << 31

func (b *builder) put(prefix netip.Prefix, record uint32) {
	bits, address := prefix.Bits(), prefix.Addr().As16()
	if prefix.Addr().Is4() { // IPv4 addresses are in ::/96
		v4 := prefix.Addr().As4()
		bits, address = bits+96, [16]byte{}
		copy(address[12:], v4[:])
	}
	node := uint32(0)
	for i := range bits {
		side := address[i/8] >> (7 - i%8) & 1
		if i == bits-1 {
			b.nodes[node][side] = isRecord | record
			return
		}
		if b.nodes[node][side] == 0 {
			b.nodes = append(b.nodes, [2]uint32{})
			b.nodes[node][side] = uint32(len(b.nodes) - 1)
		}
		node = b.nodes[node][side]
	}
}

func (b *builder) bytes() (out []byte) {
	const between = 16
	count := uint32(len(b.nodes))
	for _, node := range b.nodes {
		for _, to := range node {
			switch {
			case to == 0:
				to = count
			case to&isRecord != 0:
				to = count + between + to&^isRecord
			}
			out = append(out, byte(to>>16), byte(to>>8), byte(to))
		}
	}
	out = append(out, make([]byte, between)...)
	out = append(out, b.data...)
	out = append(out, "\xab\xcd\xefMaxMind.com"...)
	return encode(out, map[string]any{"binary_format_major_version": uint16(2), "binary_format_minor_version": uint16(0),
		"build_epoch": uint64(1_790_000_000), "database_type": "Test", "description": map[string]any{"en": "Test"},
		"ip_version": uint16(6), "languages": []any{"en"}, "node_count": count, "record_size": uint16(24)})
}

// Type numbers of the format.
const (
	typeText   = 2
	typeUint16 = 5
	typeUint32 = 6
	typeMap    = 7
	typeUint64 = 9
	typeList   = 11
)

func encode(out []byte, v any) []byte {
	control := func(kind, size int) {
		if size > 28 {
			panic("mmdb: a text or list of a test is short")
		}
		if kind <= typeMap {
			out = append(out, byte(kind<<5|size))
			return
		}
		out = append(out, byte(size), byte(kind-typeMap))
	}
	switch v := v.(type) {
	case string:
		control(typeText, len(v))
		out = append(out, v...)
	case uint16:
		control(typeUint16, 2)
		out = binary.BigEndian.AppendUint16(out, v)
	case uint32:
		control(typeUint32, 4)
		out = binary.BigEndian.AppendUint32(out, v)
	case uint64:
		control(typeUint64, 8)
		out = binary.BigEndian.AppendUint64(out, v)
	case []any:
		control(typeList, len(v))
		for _, one := range v {
			out = encode(out, one)
		}
	case map[string]any:
		control(typeMap, len(v))
		for _, name := range sorted(v) {
			out = encode(encode(out, name), v[name])
		}
	}
	return out
}
