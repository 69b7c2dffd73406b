package overview

import (
	"sync"
	"time"
)

// filling tells when disks will be full, by how their free space went while
// somebody looked. What was seen before this process began is not known to it.
type filling struct {
	mu   sync.Mutex
	seen map[string][]spot // by store
}

// spot is the free space of a disk at a time.
type spot struct {
	at   time.Time
	free uint64
}

// What a disk's free space did goes by these.
const (
	fillingEvery = time.Minute      // between two spots
	fillingLeast = 15 * time.Minute // between the first and the last: less is chance
	fillingMost  = 24 * time.Hour   // a day has all that comes round within one
)

// note takes a look at a store's disk, and sets how many days it lasts.
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

// daysLeft is how long the free space lasts if it goes on as between two spots;
// nil when they are too near each other, or it does not become less.
func daysLeft(first, last spot) *float64 {
	took := last.at.Sub(first.at)
	if took < fillingLeast || last.free >= first.free {
		return nil
	}
	days := float64(last.free) / float64(first.free-last.free) * took.Hours() / 24
	return &days
}
