package rollup

import "math/bits"

// note collects what a batch adds to the journal: one entry or, if other processes read
// entries, several, each for a part of the devices.
//
// The parts are nodes of a binary tree over hashes of devices: node 1 is all devices, and
// nodes 2n and 2n+1 are the halves of n. What a device has is in the nodes on its path
// from the root. So a query for one device reads few entries of large batches, and a small
// batch makes few entries. The node of a device is part of the stored format.
type note struct {
	level   int
	entries []entryWriter // one for each node of the level

	// alone reports whether a window's row is written with the batch instead of being noted.
	alone func(*windowRow) bool
}

const (
	nodeLevels = 10
	// nodeBytes is about how large an entry is at most, where a batch is divided: it fits into
	// a page of PostgreSQL.
	nodeBytes = 6000
)

// begin empties the note for a batch of about so many bytes.
func (n *note) begin(bytes int) {
	n.level = min(bits.Len(uint(bytes/nodeBytes)), nodeLevels)
	for len(n.entries) < 1<<n.level {
		n.entries = append(n.entries, entryWriter{})
	}
	for i := range n.entries {
		n.entries[i].begin()
	}
}

// release lets go of the windows' texts.
func (n *note) release() {
	for i := range n.entries[:1<<n.level] {
		n.entries[i].release()
	}
}

// of returns the entry for a device.
func (n *note) of(k Key) *entryWriter {
	return &n.entries[nodeAt(k.Fleet, k.Device, n.level)-1<<n.level]
}

// filled returns the entries that are not empty, and sets their nodes.
func (n *note) filled() (list []*entryWriter) {
	for i := range n.entries[:1<<n.level] {
		if e := &n.entries[i]; !e.empty() {
			e.node = 1<<n.level + i
			list = append(list, e)
		}
	}
	return list
}

// nodeAt returns the node of a device at a level.
func nodeAt(fleet, device string, level int) int {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	h := uint64(offset)
	for i := range len(fleet) {
		h = (h ^ uint64(fleet[i])) * prime
	}
	h *= prime // a zero byte between the two
	for i := range len(device) {
		h = (h ^ uint64(device[i])) * prime
	}
	return 1<<level + int(mix(h)>>(64-level))
}

// nodesOf returns the nodes on the paths from the root to some devices of a fleet.
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

// noteBytes estimates the size of windows in the journal.
func noteBytes(windows []*Window) (n int) {
	for _, w := range windows {
		n += len(w.Device) + 8
		for i := range w.events {
			n += 14 + 9*len(w.events[i].readings)
		}
	}
	return n
}
