package dedupe

import (
	"hash/maphash"

	"github.com/cockroachdb/pebble/v2"
)

// learned is the filter of a bucket that an earlier process wrote.
type learned struct {
	start int64
	keys  *filter
}

// learn reads the keys of the buckets that have no filter and are not written
// to any more, so that after a restart - when there is a backlog to catch up
// with - new identities soon cost no search on disk again. It ends when all are
// read, or when stop is closed.
func (f *files) learn(stop <-chan struct{}) <-chan learned {
	var old []int64
	for _, b := range f.buckets[1:] {
		if b.keys == nil {
			old = append(old, b.start)
		}
	}
	out := make(chan learned, len(old))
	f.background.Go(func() {
		for _, start := range old {
			keys, err := f.readKeys(start, stop)
			if err != nil { // without it the bucket is searched, as before
				f.log.Errorf("reading the claims of an earlier run: %v", err)
			} else if keys != nil {
				out <- learned{start, keys}
			}
		}
	})
	return out
}

// readKeys returns nil when it was stopped.
func (f *files) readKeys(start int64, stop <-chan struct{}) (_ *filter, err error) {
	iter, err := f.db.NewIter(&pebble.IterOptions{LowerBound: bucketKey(start), UpperBound: bucketKey(start + 1)})
	if err != nil {
		return nil, err
	}
	keys, n := new(filter), 0
	for ok := iter.First(); ok; ok = iter.Next() {
		if n++; n%1024 == 0 {
			select {
			case <-stop:
				return nil, iter.Close()
			default:
			}
		}
		keys.add(maphash.Bytes(f.seed, iter.Key()[8:]))
	}
	return keys, iter.Close()
}

// know takes over a filter that was learned.
func (f *files) know(l learned) {
	for i := range f.buckets {
		if b := &f.buckets[i]; b.start == l.start {
			b.keys = l.keys
		}
	}
}
