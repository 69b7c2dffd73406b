package rollup

import "math/bits"

// note is what a batch puts into the journal: one entry, or, where entries are
// read by others, several, each of a part of the devices.
//
// The parts are nodes of a binary tree over hashes of devices: node 1 is all of
// them, and 2n and 2n+1 are the halves of n. What a device has is in the nodes on
// the way to it, so that who asks for one device reads few entries of large batches,
// and small batches are few entries. Which node a device is in is part of the
// stored format.
type note struct {
	level   int
	entries []entryWriter // of the nodes of a level

	// alone tells which windows are written with the batch, and not noted.
	alone func(*windowRow) bool
}

const (
	nodeLevels = 10
	// nodeBytes is how large entries of parts are at most, or thereabouts: one
	// fits into a page.
	nodeBytes = 6000
)

// begin empties the note for a batch of about some bytes.
func (n *note) begin(bytes int) {
	n.level = min(bits.Len(uint(bytes/nodeBytes)), nodeLevels)
	for len(n.entries) < 1<<n.level {
		n.entries = append(n.entries, entryWriter{})
	}
	for i := range n.entries {
		n.entries[i].begin()
	}
}

// of is the entry that a device belongs into.
func (n *note) of(k Key) *entryWriter {
	return &n.entries[nodeAt(k.Fleet, k.Device, n.level)-1<<n.level]
}

// filled lists the entries that hold something, with their nodes.
func (n *note) filled() (list []*entryWriter) {
	for i := range n.entries[:1<<n.level] {
		if e := &n.entries[i]; !e.empty() {
			e.node = 1<<n.level + i
			list = append(list, e)
		}
	}
	return list
}

// nodeAt is the node of a device at a level.
func nodeAt(fleet, device string, level int) int {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	h := uint64(offset)
	for i := range len(fleet) {
		h = (h ^ uint64(fleet[i])) * prime
	}
	h *= prime // a zero byte
	for i := range len(device) {
		h = (h ^ uint64(device[i])) * prime
	}
	return 1<<level + int(mix(h)>>(64-level))
}

// nodesOf lists the nodes on the ways to some devices of a fleet.
func nodesOf(fleet string, devices []string) (list []int32) {
	known := map[int]bool{}
	for _, d := range devices {
		for n := nodeAt(fleet, d, nodeLevels); n > 0 && !known[n]; n /= 2 {
			known[n] = true
			list = append(list, int32(n))
		}
	}
	return list
}

// noteBytes is about how many bytes windows have in the journal.
func noteBytes(windows []*Window) (n int) {
	for _, w := range windows {
		n += len(w.Device) + 8
		for i := range w.events {
			n += 14 + 9*len(w.events[i].readings)
		}
	}
	return n
}
