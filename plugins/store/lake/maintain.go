package lake

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// Compaction says which small objects are merged.
type Compaction struct {
	Settle    time.Duration // younger objects are not merged
	MinGain   int           // merge only what reduces the number of objects by this
	SmallSize int64         // larger objects, in bytes, are not merged
	WideSize  int64         // objects of many hours are divided by hour once they have so many bytes together
	MaxInputs int           // objects merged at a time; all are open meanwhile
}

// DefaultCompaction returns settings for batches of a few seconds.
func DefaultCompaction() Compaction {
	return Compaction{Settle: time.Minute, MinGain: 8, SmallSize: 48 << 20, WideSize: 4 << 20, MaxInputs: 128}
}

// Compact merges the small objects of every folder. The results of queries do not change, except
// that rows which were stored twice remain once. It may run at any time and in several processes;
// at worst they do the same work.
func (s *Store) Compact(ctx context.Context, t *Table, c Compaction, now time.Time) (total Rewritten, err error) {
	objects, err := s.Objects(ctx, Select{})
	if err != nil {
		return total, err
	}
	folders := map[string][]Object{}
	for _, o := range objects {
		if o.Written.Before(now.Add(-c.Settle)) && o.Size <= c.SmallSize {
			folders[o.Folder] = append(folders[o.Folder], o)
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		for _, r := range c.plan(folders[folder]) {
			r.Table, r.Folder = t, folder
			done, err := s.rewrite(ctx, r)
			if errors.Is(err, ErrNotFound) {
				continue // another process compacts this folder
			}
			total.add(done)
			if err != nil {
				return total, err
			}
		}
	}
	return total, nil
}

// plan returns what to merge in a folder. Objects of an hour become one object. Objects that span
// many hours because of a few late rows are merged without being divided, until they are large
// enough for an object per hour.
func (c Compaction) plan(objects []Object) (plan []rewriting) {
	var narrow, wide []Object
	size := int64(0)
	for _, o := range objects {
		if len(hoursOf([]Object{o})) > 2 {
			wide = append(wide, o)
			size += o.Size
		} else {
			narrow = append(narrow, o)
		}
	}
	for inputs := range slices.Chunk(crowded(narrow), c.MaxInputs) {
		if hours := hoursOf(inputs); len(inputs)-len(hours) >= c.MinGain {
			plan = append(plan, rewriting{Inputs: inputs, Parts: hourly(hours)})
		}
	}
	for inputs := range slices.Chunk(wide, c.MaxInputs) {
		switch {
		case size >= c.WideSize:
			plan = append(plan, rewriting{Inputs: inputs, Parts: hourly(hoursOf(inputs))})
		case len(inputs)-1 >= c.MinGain:
			plan = append(plan, rewriting{Inputs: inputs, Parts: []Part{{}}})
		}
	}
	return plan
}

func hourly(hours []time.Time) (parts []Part) {
	for _, h := range hours {
		parts = append(parts, Part{From: h, To: h.Add(time.Hour)})
	}
	return parts
}

// crowdedHour is how many objects an hour must have to be merged: it is not worth it for fewer.
const crowdedHour = 4

// crowded returns the objects that have an hour in common with enough others.
func crowded(objects []Object) []Object {
	count := map[time.Time]int{}
	for _, o := range objects {
		for _, h := range hoursOf([]Object{o}) {
			count[h]++
		}
	}
	return slices.DeleteFunc(objects, func(o Object) bool {
		return !slices.ContainsFunc(hoursOf([]Object{o}), func(h time.Time) bool { return count[h] >= crowdedHour })
	})
}

func (r *Rewritten) add(o Rewritten) {
	r.Inputs += o.Inputs
	r.Outputs += o.Outputs
	r.Rows += o.Rows
	r.Repeats += o.Repeats
	r.Dropped += o.Dropped
	r.BytesIn += o.BytesIn
}

// hoursOf returns the hours in which the objects may have rows, sorted.
func hoursOf(objects []Object) []time.Time {
	seen := map[time.Time]bool{}
	var hours []time.Time
	for _, o := range objects {
		for h := o.Min.Truncate(time.Hour); !h.After(o.Max); h = h.Add(time.Hour) {
			if !seen[h] {
				seen[h] = true
				hours = append(hours, h)
			}
		}
	}
	slices.SortFunc(hours, func(a, b time.Time) int { return a.Compare(b) })
	return hours
}
