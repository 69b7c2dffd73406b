package dedupe

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"weir/internal/platform/heap"
)

// files is an open Pebble store of claims.
//
// Its keys begin with the start time of their bucket, so the claims of one period are stored together and expire
// together: the whole bucket is excised, which deletes its files without rewriting others. The value of a claim has
// its own time, so the TTL counts exactly, even if it has changed since. Its bytes stay for at most half a TTL longer.
type files struct {
	db         *pebble.DB
	ttl        time.Duration
	log        logger
	mu         sync.Mutex // excising
	background sync.WaitGroup
	buckets    []bucket // newest first; owner only
	seed       maphash.Seed
	recent     recent // owner only
	taken      taken  // by the group that is being decided
	key        []byte
	value      []byte
}

// bucket is a period of time. Its filter is nil, which excludes nothing, if an earlier process began it.
type bucket struct {
	start int64 // Unix milliseconds
	keys  *filter
}

func openFiles(fs vfs.FS, path string, ttl time.Duration, log logger) (*files, error) {
	f := &files{ttl: ttl, log: log, seed: maphash.MakeSeed(), recent: newRecent(recentMost * heap.Times(recentTimes))}
	opts := &pebble.Options{
		FS: waitForRoom(fs, path, log), Logger: pebbleLog{path, log},
		FormatMajorVersion: pebble.FormatNewest,
		MemTableSize:       uint64(16<<20) * uint64(heap.Times(4)), // so many times as many claims until files are merged
		CacheSize:          48 << 20,
		MaxOpenFiles:       256,
		// Claims are rarely searched for, and whole buckets are deleted: compacting their files earlier would cost more
		// than it saves.
		L0CompactionThreshold: 64,
		L0StopWritesThreshold: 512,
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(path, opts)
	if err != nil {
		return nil, fmt.Errorf("opening the claims store %q: %w (it only remembers the last %s: if it is damaged, stop "+
			"weir, delete the folder and start again)", path, err, ttl)
	}
	f.db = db
	if err := f.findBuckets(); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("opening the claims store %q: %w", path, err)
	}
	return f, nil
}

// findBuckets finds the buckets on disk, by the first key of each.
func (f *files) findBuckets() error {
	iter, err := f.db.NewIter(nil)
	if err != nil {
		return err
	}
	for ok := iter.First(); ok; {
		start := binary.BigEndian.Uint64(iter.Key()) // every key is longer
		f.buckets = append(f.buckets, bucket{start: int64(start)})
		ok = iter.SeekGE(bucketKey(int64(start) + 1))
	}
	slices.Reverse(f.buckets)
	return iter.Close()
}

// width is the period of a bucket, in milliseconds.
func (f *files) width() int64 { return max(f.ttl.Milliseconds()/2, 1) }

func bucketKey(start int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(start)) }

// decide sets held in every claim of the group, and applies the new ones. They are readable when it returns, and
// durable after batch.SyncWait.
func (f *files) decide(now time.Time, group []*request) (*pebble.Batch, error) {
	ms := now.UnixMilli()
	f.begin(ms)
	newest := &f.buckets[0]
	f.taken.begin(group)
	for _, r := range group {
		for i := range r.claims {
			c := &r.claims[i]
			hash := maphash.Bytes(f.seed, c.key)
			if c.held = f.taken.find(hash, c.key); c.held != nil {
				continue
			}
			if err := f.find(ms, c, hash); err != nil {
				return nil, fmt.Errorf("reading claims: %w", err)
			}
			if c.held != nil && c.old != nil && bytes.Equal(c.held, c.old) {
				c.held = nil
			}
			if c.held == nil {
				f.taken.add(hash, c)
			}
		}
	}
	batch := f.db.NewBatch()
	for _, t := range f.taken.sorted() {
		newest.keys.add(t.hash)
		f.key = append(binary.BigEndian.AppendUint64(f.key[:0], uint64(newest.start)), t.claim.key...)
		f.value = append(binary.AppendUvarint(f.value[:0], uint64(max(ms-newest.start, 0))), t.claim.mine...)
		if err := batch.Set(f.key, f.value, nil); err != nil {
			_ = batch.Close()
			return nil, fmt.Errorf("writing claims: %w", err)
		}
	}
	if batch.Empty() {
		return nil, batch.Close()
	}
	if err := f.db.ApplyNoSyncWait(batch, pebble.Sync); err != nil {
		return nil, fmt.Errorf("writing claims: %w", err)
	}
	for _, t := range f.taken.claims {
		f.recent.add(t.hash, ms, t.claim)
	}
	return batch, nil
}

// bucketsMost bounds the number of buckets. More of them begin after restarts, and when claims exceed a filter, which
// is at 25,000 new events a second for an hour. Each bucket costs searches.
const bucketsMost = 8

// begin starts a bucket when the period of the newest is over, its filter is full, or it is an earlier process's
// without a filter. Start times must grow even if the clock does not.
func (f *files) begin(ms int64) {
	if n := len(f.buckets); n > 0 {
		newest := f.buckets[0]
		if ms < newest.start+f.width() && (newest.keys != nil && !newest.keys.full() || n >= bucketsMost) {
			return
		}
		ms = max(ms, newest.start+1)
	}
	f.buckets = slices.Insert(f.buckets, 0, bucket{start: ms, keys: new(filter)})
}

// find sets held in a claim whose identity is held.
func (f *files) find(ms int64, c *claim, hash uint64) error {
	if held := f.recent.find(hash, c.key, ms-f.ttl.Milliseconds()); held != nil {
		c.heldBy(held)
		return nil
	}
	for i := range f.buckets {
		b := &f.buckets[i]
		if !b.keys.has(hash) {
			continue
		}
		f.key = append(binary.BigEndian.AppendUint64(f.key[:0], uint64(b.start)), c.key...)
		c.searched = true
		value, closer, err := f.db.Get(f.key)
		if err == pebble.ErrNotFound {
			continue
		}
		if err != nil {
			return err
		}
		if age, n := binary.Uvarint(value); n > 0 && ms-(b.start+int64(age)) < f.ttl.Milliseconds() {
			c.heldBy(value[n:])
		}
		return closer.Close() // an expired claim hides older ones, expired too
	}
	return nil
}

// expire removes the buckets in which every claim has expired, and deletes them in the background. A crash before that
// leaves them to the next start.
func (f *files) expire(now time.Time) {
	ms, ttl := now.UnixMilli(), f.ttl.Milliseconds()
	keep := len(f.buckets)
	for ; keep > 0; keep-- {
		end := f.buckets[0].start + f.width() // of the newest, which may still grow until then
		if keep > 1 {
			end = f.buckets[keep-2].start
		}
		if end+ttl > ms {
			break
		}
	}
	if keep == len(f.buckets) {
		return
	}
	span := pebble.KeyRange{Start: bucketKey(f.buckets[len(f.buckets)-1].start), End: bucketKey(f.buckets[keep].start + 1)}
	clear(f.buckets[keep:]) // their filters
	f.buckets = f.buckets[:keep]
	f.background.Go(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if err := f.db.Excise(context.Background(), span); err != nil {
			f.log.Errorf("deleting expired claims: %v; they are deleted at the next start", err)
		}
	})
}

func (f *files) close() error {
	f.background.Wait()
	return f.db.Close()
}
