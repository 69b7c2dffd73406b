package quality

import (
	"slices"
	"time"

	"weir/plugins/store/lake"
)

// settle is how long after its end an hour is computed first: what comes later makes
// it computed again.
const settle = 10 * time.Minute

// pieces is the order in which hours are to be computed, and how far the written
// objects are accounted for when each is done.
type piece struct {
	hour time.Time
	seen time.Time // once it and those before it are computed; zero: no further
}

// plan says which hours the objects have rows of that are over, in the order in which
// the objects were written. An object that also has rows of an hour which is not over
// is looked at again by a later run, and so are all that were written after it; hours
// of those are computed all the same.
func plan(objects []lake.Object, now time.Time) (work []piece) {
	slices.SortFunc(objects, func(a, b lake.Object) int { return a.Written.Compare(b.Written) })
	planned, open := map[time.Time]bool{}, false
	for _, o := range objects {
		for hour := o.Min.Truncate(time.Hour); !hour.After(o.Max); hour = hour.Add(time.Hour) {
			switch {
			case now.Before(hour.Add(time.Hour + settle)):
				open = true
			case !planned[hour]:
				planned[hour] = true
				work = append(work, piece{hour: hour})
			}
		}
		if n := len(work); !open && n > 0 {
			work[n-1].seen = o.Written
		}
	}
	return work
}
