package broker

import (
	"encoding/binary"
	"sort"
	"sync"
	"time"
)

const (
	// pieceBytes is how much of a partition's end is kept in one piece; there are two.
	// 15,000 events a second fill one in an eighth of a second.
	pieceBytes = 1 << 20
	// unread is after how long without a reader the end of a partition is let go of.
	unread = 10 * time.Second
	// sureFor is how long a partition that had nothing more is taken to be still so, while
	// another has something: as long as a client waits for an answer. What is written in
	// ways that are not seen here is found after that.
	sureFor = time.Second
)

// tails are the ends of the partitions that somebody reads: what was acknowledged
// last, byte for byte as the log has it. All groups of a process read the same, a
// moment after it was written; kfake would read it from the disk for each, batch by
// batch, into answers that it copies as they grow.
//
// What is kept is never ahead of the log, which has synced it, and has no gap. It may
// be behind: what it lacks is read from the log.
type tails struct {
	mu sync.Mutex
	of map[place]*tail
}

// place is a partition of a topic that is named by its ID: one that was deleted and
// made again is another.
type place struct {
	topic     [16]byte
	partition int32
}

// tail is the end of one partition.
type tail struct {
	epoch    int32     // of its leader
	logStart int64     // when the log said so last
	old, new piece     // the older one ends where the newer begins, or is empty
	end      int64     // behind the last record; -1: not known yet
	sure     time.Time // when that was so
	asked    time.Time
}

// piece is some batches, one behind the other. Its bytes never change once they are
// there, so that they can be read without the lock.
type piece struct {
	bytes  []byte
	starts []begins
}

// begins is where a batch does.
type begins struct {
	offset int64
	at     int
}

func newTails() *tails { return &tails{of: map[place]*tail{}} }

// watch begins to keep a partition's end, or notes what the log said of it: where it
// starts, and where it ends, if who asked has read all of it, else -1.
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
	if has.end == end { // else it is a while ago, or something was not seen
		has.sure = now
	}
}

// any tells whether somebody reads some partition.
func (t *tails) any() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.of) > 0
}

// What the attributes of a batch say of it that keeps it from being kept: times that
// the log changes, and transactions, of which the log knows how they ended.
const notPlain = 0x08 | 0x10 | 0x20

// Where a batch's header has what is needed of it.
const (
	epochAt      = 12
	attributesAt = 21
	lastDeltaAt  = 23
	headerBytes  = 61
)

// add keeps a batch that the log has acknowledged from an offset on.
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
			return // it came twice
		}
		has.old, has.new = piece{}, piece{} // something came between that was not seen
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

// found is what a tail has from an offset on.
type found struct {
	batches  []byte // whole ones; the first has the offset, and perhaps some before it
	end      int64  // behind the last record there is
	epoch    int32
	logStart int64
}

// read returns the batches from an offset on, as many as fit into most bytes but one
// at least, or none at the partition's end. It is false when that is the log's to say.
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
	behind := sort.Search(len(p.starts), func(i int) bool { return p.starts[i].at > from+most }) // what does not fit
	to := p.starts[max(behind-1, first)].at
	if to == from { // the first one alone is more
		to = len(p.bytes)
		if first+1 < len(p.starts) {
			to = p.starts[first+1].at
		}
	}
	return p.bytes[from:to:to], true
}
