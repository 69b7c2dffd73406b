package overview

import (
	"sync"
	"time"
)

// filling estimates when disks will be full from samples of their free space, taken while somebody looks and since
// the process started.
type filling struct {
	mu   sync.Mutex
	seen map[string][]spot // samples by store
}

// spot is a sample of a disk's free space.
type spot struct {
	at   time.Time
	free uint64
}

// How samples are taken.
const (
	fillingEvery = time.Minute      // minimum time between two
	fillingLeast = 15 * time.Minute // minimum time between first and last for an estimate
	fillingMost  = 24 * time.Hour   // older ones are dropped; a day covers daily patterns
)

// note adds a sample of a store's disk and sets disk.DaysLeft.
func (f *filling) note(store string, at time.Time, disk *Disk) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.seen[store]
	for len(seen) > 0 && at.Sub(seen[0].at) > fillingMost {
		seen = seen[1:]
	}
	if n := len(seen); n == 0 || at.Sub(seen[n-1].at) >= fillingEvery {
		seen = append(seen, spot{at, disk.Free})
	}
	if f.seen == nil {
		f.seen = map[string][]spot{}
	}
	f.seen[store] = seen
	disk.DaysLeft = daysLeft(seen[0], spot{at, disk.Free})
}

// daysLeft extrapolates the free space linearly from two samples; nil when they are too close in time or it does not
// decrease.
func daysLeft(first, last spot) *float64 {
	took := last.at.Sub(first.at)
	if took < fillingLeast || last.free >= first.free {
		return nil
	}
	days := float64(last.free) / float64(first.free-last.free) * took.Hours() / 24
	return &days
}
