package dedupe

import (
	"hash/maphash"

	"github.com/cockroachdb/pebble/v2"
)

// learned is the filter of a bucket that an earlier process wrote, made by learn.
type learned struct {
	start int64
	keys  *filter
}

// learn makes filters for the buckets that have none and are not written to any more, by reading their keys. So soon
// after a restart, when there is a backlog, new identities need no search on disk. It ends when all are read, or when
// stop is closed.
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
			if err != nil { // without a filter the bucket is searched, as before
				f.log.Errorf("reading the claims of an earlier run: %v", err)
			} else if keys != nil {
				out <- learned{start, keys}
			}
		}
	})
	return out
}

// readKeys returns the filter of a bucket, nil if it was stopped.
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

// know sets the filter of a bucket that learn has made.
func (f *files) know(l learned) {
	for i := range f.buckets {
		if b := &f.buckets[i]; b.start == l.start {
			b.keys = l.keys
		}
	}
}
