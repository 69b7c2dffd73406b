package dedupe

// filter tells which keys a bucket may have, so that a new identity, as nearly all are, needs no search on disk. It is
// a blocked Bloom filter, with one cache line for a key, in parts that double in size. It has no false negatives. A
// nil filter, and a full one, exclude no key.
type filter struct {
	parts []filterPart
}

type filterPart struct {
	blocks [][8]uint64
	room   int // keys it takes, at 16 bits each: about 0.2 % of strangers pass
}

const (
	filterFirst = 1 << 13 // blocks of 64 bytes: 512 KiB
	filterParts = 6       // 32 MiB in all, for 16 million keys
	filterBits  = 6       // set for each key
)

// add takes the hash of a key.
func (f *filter) add(hash uint64) {
	if f == nil {
		return
	}
	n := len(f.parts)
	if n == 0 || f.parts[n-1].room == 0 {
		if n == filterParts {
			f.parts = append(f.parts, filterPart{room: -1}) // full
			return
		}
		if n > filterParts {
			return
		}
		blocks := make([][8]uint64, filterFirst<<n)
		f.parts = append(f.parts, filterPart{blocks: blocks, room: len(blocks) * 512 / 16})
		n++
	}
	p := &f.parts[n-1]
	p.room--
	block := &p.blocks[hash&uint64(len(p.blocks)-1)]
	for range filterBits {
		hash *= 0x9e3779b97f4a7c15
		bit := hash >> 55
		block[bit>>6] |= 1 << (bit & 63)
	}
}

// full reports whether one more key would exceed its capacity, so that it excludes nothing any more.
func (f *filter) full() bool {
	n := len(f.parts)
	return n > filterParts || n == filterParts && f.parts[n-1].room == 0
}

// has returns false only if the key was never added.
func (f *filter) has(hash uint64) bool {
	if f == nil {
		return true
	}
	for i := range f.parts {
		if f.parts[i].has(hash) {
			return true
		}
	}
	return false
}

func (p *filterPart) has(hash uint64) bool {
	if p.blocks == nil {
		return true
	}
	block := &p.blocks[hash&uint64(len(p.blocks)-1)]
	for range filterBits {
		hash *= 0x9e3779b97f4a7c15
		bit := hash >> 55
		if block[bit>>6]&(1<<(bit&63)) == 0 {
			return false
		}
	}
	return true
}
