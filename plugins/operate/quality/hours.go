package quality

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/plugins/store/lake"
)

const (
	// settle is how long after its end an hour is computed first: what comes later makes
	// it computed again.
	settle = 10 * time.Minute
	// repeated is until when after its end duplicates of its events are looked for: a
	// claim stands for an hour.
	repeated = 90 * time.Minute
)

// content is what the stores have of an hour, as their listings tell.
type content struct {
	hour    time.Time
	events  []lake.Object
	letters []lake.Object
	wide    uint64        // the deliveries that lie in objects of many hours
	about   []lake.Object // that were written then: they may have its duplicates
	mark    mark          // what it was computed of; nothing: never
	final   bool          // all duplicates are there
}

func (c *content) end() time.Time { return c.hour.Add(time.Hour) }

// over tells whether the hour may be computed, and whether all duplicates are there.
func (c *content) over(now time.Time) (over, final bool) {
	return !now.Before(c.end().Add(settle)), !now.Before(c.end().Add(repeated))
}

// names is a digest of the names of the objects: the same names have the same rows,
// and once all duplicates are there, the same duplicates.
func (c *content) names(final bool) string {
	all := slices.Concat(c.events, c.letters)
	if final {
		all = append(all, c.about...)
	}
	keys := make([]string, 0, len(all))
	for _, o := range all {
		keys = append(keys, o.Key)
	}
	slices.Sort(keys)
	h := sha256.New()
	for _, key := range keys {
		fmt.Fprintln(h, key)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// spread is how an object's rows lie in hours: each with the sum of hashes of their
// deliveries.
type spread map[time.Time]uint64

// isWide tells whether an object spans so many hours that its name does not say which
// of them it has rows of.
func isWide(o lake.Object) bool {
	return o.Max.Truncate(time.Hour).Sub(o.Min.Truncate(time.Hour)) > time.Hour
}

// contents puts objects to their hours. Of is asked of what is wide.
func contents(all, letters []lake.Object, of func(lake.Object) (spread, error)) (map[time.Time]*content, error) {
	found := map[time.Time]*content{}
	at := func(hour time.Time) *content {
		c := found[hour]
		if c == nil {
			c = &content{hour: hour}
			found[hour] = c
		}
		return c
	}
	for _, o := range all {
		if strings.HasPrefix(o.Folder, lake.DuplicatesFolder) {
			continue // it has no rows
		}
		if !isWide(o) {
			for hour := o.Min.Truncate(time.Hour); !hour.After(o.Max); hour = hour.Add(time.Hour) {
				at(hour).events = append(at(hour).events, o)
			}
			continue
		}
		hours, err := of(o)
		if err != nil {
			return nil, err
		}
		for hour, sum := range hours {
			c := at(hour)
			c.events = append(c.events, o)
			c.wide += sum
		}
	}
	for _, o := range letters {
		for hour := o.Min.Truncate(time.Hour); !hour.After(o.Max); hour = hour.Add(time.Hour) {
			at(hour).letters = append(at(hour).letters, o)
		}
	}
	for _, o := range all {
		hour := o.Written.Truncate(time.Hour)
		for ; o.Written.Before(hour.Add(time.Hour + repeated)); hour = hour.Add(-time.Hour) {
			if c := found[hour]; c != nil {
				c.about = append(c.about, o)
			}
		}
	}
	return found, nil
}

// mark is what was stored of an hour when it was computed.
type mark struct {
	Names   string // of objects
	Stored  string // digest of the deliveries
	Repeats string // digest of their duplicates
	Final   bool   // all duplicates were there
}

// plan says which hours to look at, the newest first: those that are over and have
// objects that were not looked at. An hour of which nothing is left, though there is
// something older, was erased.
func plan(found map[time.Time]*content, marks map[time.Time]mark, now time.Time) (work []*content) {
	oldest := now
	for hour, c := range found {
		if hour.Before(oldest) {
			oldest = hour
		}
		over, final := c.over(now)
		m, known := marks[hour]
		if over && (!known || m.Names != c.names(final) || final && !m.Final) {
			work = append(work, c)
		}
	}
	empty := (&content{}).names(false)
	for hour, m := range marks {
		if found[hour] == nil && oldest.Before(hour) && m.Names != empty {
			work = append(work, &content{hour: hour})
		}
	}
	slices.SortFunc(work, func(a, b *content) int { return b.hour.Compare(a.hour) })
	return work
}

// repeat is a duplicate of a record.
type repeat struct {
	of, at         int64 // offsets
	ofPart, atPart int   // partitions, by number
}

// repeats are the duplicates of the records of an hour.
type repeats struct {
	list  []repeat // each once, by what they repeat
	parts map[lake.Partition]int
	cut   bool // there are more than are kept
}

// repeatsMost bounds memory: 32 bytes each.
const repeatsMost = 2_000_000

func (r *repeats) part(p lake.Partition) int {
	n, ok := r.parts[p]
	if !ok {
		n = len(r.parts)
		if r.parts == nil {
			r.parts = map[lake.Partition]int{}
		}
		r.parts[p] = n
	}
	return n
}

// add adds those of an object that repeat some of the stored records.
func (r *repeats) add(c lake.Coverage, stored map[lake.Partition]lake.Offsets) {
	for p, list := range c.Duplicates {
		for _, d := range list {
			of := lake.PartitionOf(d.Of)
			if !stored[of].Has(d.Of.Offset) {
				continue
			}
			if len(r.list) == repeatsMost {
				r.cut = true
				return
			}
			r.list = append(r.list, repeat{d.Of.Offset, d.Offset, r.part(of), r.part(p)})
		}
	}
}

// sort brings them into order, each once.
func (r *repeats) sort() {
	slices.SortFunc(r.list, func(a, b repeat) int {
		return cmp.Or(cmp.Compare(a.ofPart, b.ofPart), cmp.Compare(a.of, b.of), cmp.Compare(a.atPart, b.atPart),
			cmp.Compare(a.at, b.at))
	})
	r.list = slices.Compact(r.list)
}

// count is how many repeat a record.
func (r *repeats) count(p lake.Partition, offset int64) (n int64) {
	part, ok := r.parts[p]
	if !ok {
		return 0
	}
	i, _ := slices.BinarySearchFunc(r.list, repeat{of: offset, ofPart: part}, func(a, b repeat) int {
		return cmp.Or(cmp.Compare(a.ofPart, b.ofPart), cmp.Compare(a.of, b.of))
	})
	for ; i < len(r.list) && r.list[i].ofPart == part && r.list[i].of == offset; i++ {
		n++
	}
	return n
}
