package broker

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
)

// aBatch is what a producer sends: some records, of which only the batch's head is
// looked at here, and other bytes.
func aBatch(r *rand.Rand, records, size int) []byte {
	b := make([]byte, headerBytes+size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	binary.BigEndian.PutUint64(b, 0)
	binary.BigEndian.PutUint16(b[attributesAt:], 0)
	binary.BigEndian.PutUint32(b[lastDeltaAt:], uint32(records-1))
	return b
}

// logged is a batch as the log has it.
type logged struct {
	base, next int64
	bytes      []byte
}

func asLogged(batch []byte, base int64, epoch int32) logged {
	b := bytes.Clone(batch)
	binary.BigEndian.PutUint64(b, uint64(base))
	binary.BigEndian.PutUint32(b[epochAt:], uint32(epoch))
	return logged{base, base + int64(binary.BigEndian.Uint32(b[lastDeltaAt:])) + 1, b}
}

// Whatever is written, noticed or not, once or twice, in whichever sizes: what a tail
// hands out is what the log has from there on, whole batches without a gap.
func TestTail_IsAPartOfTheLog(t *testing.T) {
	const epoch = 7
	at := place{[16]byte{1}, 3}
	now := time.Unix(1_800_000_000, 0)
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		tails := newTails()
		tails.watch(at, epoch, 0, -1, now)
		var log []logged
		next := int64(r.IntN(1000))
		read, empty := 0, 0
		for range 400 {
			batch := aBatch(r, 1+r.IntN(50), r.IntN(1<<(4+r.IntN(14))))
			one := asLogged(batch, next, epoch)
			log, next = append(log, one), one.next
			if r.IntN(40) > 0 { // else nobody noticed
				tails.add(at, one.base, batch, now)
			}
			if r.IntN(10) == 0 { // a producer that had no answer sends it again
				again := log[max(0, len(log)-1-r.IntN(3))]
				tails.add(at, again.base, again.bytes, now)
			}
			first := log[max(0, len(log)-1-r.IntN(30))]
			offset, most := first.base+r.Int64N(first.next-first.base+1), r.IntN(1<<18)
			f, ok := tails.read(at, offset, most, now)
			if !ok {
				continue
			}
			if f.epoch != epoch || f.end > next {
				t.Fatalf("seed %d: it says %+v of a log that ends at %d", seed, f, next)
			}
			if len(f.batches) == 0 {
				if empty++; offset != f.end {
					t.Fatalf("seed %d: nothing from %d on, of %d", seed, offset, f.end)
				}
				continue
			}
			read++
			i := 0
			for log[i].next <= offset {
				i++
			}
			n := 0
			for rest := f.batches; len(rest) > 0; n++ {
				var whole bool
				if rest, whole = bytes.CutPrefix(rest, log[i+n].bytes); !whole {
					t.Fatalf("seed %d: from %d on, batch %d differs from the log's", seed, offset, n)
				}
			}
			if len(f.batches) > most && n > 1 {
				t.Fatalf("seed %d: %d batches of %d bytes, where %d were asked for", seed, n, len(f.batches), most)
			}
		}
		if read < 100 {
			t.Errorf("seed %d: only %d of 400 readers found something, %d the end", seed, read, empty)
		}
	}
}

// What a tail cannot vouch for it does not say.
func TestTail_LeavesToTheLogWhatItDoesNotKnow(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	at, now := place{[16]byte{1}, 0}, time.Unix(1_800_000_000, 0)
	made := func() *tails {
		tails := newTails()
		tails.watch(at, 1, 0, 10, now)
		tails.add(at, 10, aBatch(r, 5, 100), now)
		return tails
	}
	knows := func(tails *tails, offset int64, after time.Duration) bool {
		_, ok := tails.read(at, offset, 1<<20, now.Add(after))
		return ok
	}
	tails := made()
	for offset, want := range map[int64]bool{9: false, 10: true, 14: true, 15: true, 16: false} {
		if knows(tails, offset, 0) != want {
			t.Errorf("from offset %d on: %v, expected %v", offset, !want, want)
		}
	}
	if !knows(tails, 10, sureFor) || knows(tails, 15, sureFor) {
		t.Error("that there is nothing more holds for a moment only, what there is for longer")
	}
	if tails.watch(at, 1, 0, 15, now.Add(sureFor)); !knows(tails, 15, sureFor) {
		t.Error("the log has said that there is nothing more")
	}
	if _, ok := tails.read(place{[16]byte{2}, 0}, 10, 1, now); ok {
		t.Error("it knows a partition that nobody reads")
	}
	if tails.watch(at, 2, 0, -1, now); knows(tails, 10, 0) {
		t.Error("it knows what another leader wrote")
	}
	for name, batch := range map[string]func([]byte) []byte{
		"a transaction's": func(b []byte) []byte { b[attributesAt+1] |= 0x10; return b },
		"a marker":        func(b []byte) []byte { b[attributesAt+1] |= 0x20; return b },
		"the log's time":  func(b []byte) []byte { b[attributesAt+1] |= 0x08; return b },
		"too large":       func(b []byte) []byte { return append(b, make([]byte, pieceBytes)...) },
		"no batch":        func([]byte) []byte { return []byte("short") },
	} {
		tails := made()
		if tails.add(at, 15, batch(aBatch(r, 1, 10)), now); knows(tails, 15, 0) || knows(tails, 10, 0) {
			t.Errorf("%s was kept", name)
		}
	}
	tails = made()
	if tails.add(at, 17, aBatch(r, 1, 10), now); knows(tails, 14, 0) || !knows(tails, 17, 0) {
		t.Error("after a gap it knows what was before, or not what came after")
	}
	tails = made()
	if tails.add(at, 15, aBatch(r, 1, 10), now.Add(unread+1)); tails.any() {
		t.Error("what nobody reads any more was kept")
	}
}
