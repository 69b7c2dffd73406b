package broker

import (
	"encoding/binary"
	"sort"
	"sync"
	"time"
)

const (
	// pieceBytes is the size of one piece of a partition's end. There are two pieces. 15,000 events a second fill one in
	// an eighth of a second.
	pieceBytes = 1 << 20
	// unread is how long after its last reader the end of a partition is dropped from memory.
	unread = 10 * time.Second
	// sureFor is how long it is assumed that a partition has no records after those known, while another one has some:
	// as long as a client waits for an answer. Records that were written in a way which conn does not see are found
	// after that.
	sureFor = time.Second
)

// tails has the ends of the partitions that are read: the last acknowledged batches, byte for byte as in the log. All
// groups of a process read the same records shortly after they were written. kfake would read them from disk for each
// group, batch by batch, into growing answers.
//
// A tail is never ahead of the log, which has synced its batches, and has no gap. It may be behind the log: what it
// lacks is read from the log.
type tails struct {
	mu sync.Mutex
	of map[place]*tail
}

// place is a partition of a topic, by the topic's ID: a topic that was deleted and created again is another one.
type place struct {
	topic     [16]byte
	partition int32
}

// tail is the end of one partition.
type tail struct {
	epoch    int32     // of the partition's leader
	logStart int64     // the start of the log when kfake last answered a fetch
	old, new piece     // old ends where new begins, or is empty
	end      int64     // the offset after the last record; -1: not known yet
	sure     time.Time // when end was last known to be the end of the log
	asked    time.Time
}

// piece has consecutive batches. Bytes that are in it never change, so they can be read without the lock.
type piece struct {
	bytes  []byte
	starts []begins
}

// begins is the beginning of a batch in a piece.
type begins struct {
	offset int64
	at     int
}

func newTails() *tails { return &tails{of: map[place]*tail{}} }

// watch begins to keep a partition's end, or updates it from kfake's answer to a fetch: the start of the log, and its
// end if the reader has read everything, else -1.
func (t *tails) watch(p place, epoch int32, logStart, end int64, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	has := t.of[p]
	if has == nil || has.epoch != epoch {
		has = &tail{epoch: epoch, end: -1}
		t.of[p] = has
	}
	has.logStart, has.asked = logStart, now
	if has.end < 0 {
		has.end = end
	}
	if has.end == end { // otherwise the answer is old, or a write was not seen
		has.sure = now
	}
}

// any reports whether any partition is being read.
func (t *tails) any() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.of) > 0
}

// notPlain are the attributes of batches that are not kept: those whose times the log sets, and those of transactions,
// whose outcome only the log knows.
const notPlain = 0x08 | 0x10 | 0x20

// The positions of fields in the header of a batch.
const (
	epochAt      = 12
	attributesAt = 21
	lastDeltaAt  = 23
	headerBytes  = 61
)

// add keeps a batch that the log has acknowledged at an offset.
func (t *tails) add(p place, base int64, batch []byte, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	has := t.of[p]
	switch {
	case has == nil:
		return
	case now.Sub(has.asked) > unread, len(batch) < headerBytes, len(batch) > pieceBytes,
		binary.BigEndian.Uint16(batch[attributesAt:])&notPlain != 0:
		delete(t.of, p)
		return
	}
	next := base + int64(binary.BigEndian.Uint32(batch[lastDeltaAt:])) + 1
	if base != has.end {
		if next <= has.end {
			return // a duplicate
		}
		has.old, has.new = piece{}, piece{} // a batch before it was not seen
	}
	has.end, has.sure = next, now
	if len(has.new.bytes)+len(batch) > cap(has.new.bytes) {
		has.old, has.new = has.new, piece{bytes: make([]byte, 0, pieceBytes)}
	}
	has.new.add(base, has.epoch, batch)
}

func (p *piece) add(base int64, epoch int32, batch []byte) {
	at := len(p.bytes)
	p.starts = append(p.starts, begins{base, at})
	p.bytes = append(p.bytes, batch...)
	binary.BigEndian.PutUint64(p.bytes[at:], uint64(base))
	binary.BigEndian.PutUint32(p.bytes[at+epochAt:], uint32(epoch))
}

// found is the part of a tail from an offset on.
type found struct {
	batches  []byte // whole batches; the first may begin before the offset
	end      int64  // the offset after the last record
	epoch    int32
	logStart int64
}

// read returns the batches from an offset on: as many as fit into most bytes, at least one, or none at the end of the
// partition. ok is false if the log must be read.
func (t *tails) read(p place, offset int64, most int, now time.Time) (f found, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	has := t.of[p]
	if has == nil || has.end < 0 || offset > has.end {
		return f, false
	}
	has.asked = now
	f = found{end: has.end, epoch: has.epoch, logStart: has.logStart}
	if offset == has.end {
		return f, now.Sub(has.sure) < sureFor
	}
	for _, from := range []*piece{&has.new, &has.old} {
		if f.batches, ok = from.read(offset, most); ok {
			return f, true
		}
	}
	return f, false
}

func (p *piece) read(offset int64, most int) ([]byte, bool) {
	first := sort.Search(len(p.starts), func(i int) bool { return p.starts[i].offset > offset }) - 1
	if first < 0 {
		return nil, false
	}
	from := p.starts[first].at
	if len(p.bytes)-from <= most {
		return p.bytes[from:len(p.bytes):len(p.bytes)], true
	}
	// the first batch that does not fit
	behind := sort.Search(len(p.starts), func(i int) bool { return p.starts[i].at > from+most })
	to := p.starts[max(behind-1, first)].at
	if to == from { // the first batch alone exceeds it
		to = len(p.bytes)
		if first+1 < len(p.starts) {
			to = p.starts[first+1].at
		}
	}
	return p.bytes[from:to:to], true
}
