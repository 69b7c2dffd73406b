package rollup

import (
	"cmp"
	"slices"
	"strings"
)

// owner is the device, with its fleet, that a window belongs to. Old minutes are sorted by it.
type owner struct{ Fleet, Device string }

func (o owner) compare(p owner) int {
	return cmp.Or(strings.Compare(o.Fleet, p.Fleet), strings.Compare(o.Device, p.Device))
}

// within is a range of owners, from Low to High, both inclusive.
type within struct{ Low, High owner }

func (w within) has(o owner) bool { return w.Low.compare(o) <= 0 && o.compare(w.High) <= 0 }

// owners selects windows by owner: a list, a fleet, or all; and by time.
type owners struct {
	Fleet    string  // "": all fleets
	List     []owner // sorted; nil: all devices of the fleet
	From, To int64   // of the windows' buckets, [From, To); To 0: no bound
	early    *early  // windows that were read before the transaction
}

// ownersOf returns the owners of keys.
func ownersOf(keys []Key) owners {
	list := make([]owner, len(keys))
	for i, k := range keys {
		list[i] = owner{k.Fleet, k.Device}
	}
	slices.SortFunc(list, owner.compare)
	return owners{List: slices.Compact(list)}
}

// owners returns the owners that a span selects.
func (s *span) owners() owners {
	if s.Devices == nil {
		return owners{Fleet: s.Fleet}
	}
	list := make([]owner, len(s.Devices))
	for i, d := range s.Devices {
		list[i] = owner{s.Fleet, d}
	}
	return owners{Fleet: s.Fleet, List: list}
}

func (c owners) has(o owner) bool {
	if c.List == nil {
		return c.Fleet == "" || c.Fleet == o.Fleet
	}
	_, found := slices.BinarySearchFunc(c.List, o, owner.compare)
	return found
}

// meets reports whether a range may contain one of the selected owners.
func (c owners) meets(w within) bool {
	if c.List == nil {
		return c.Fleet == "" || w.Low.Fleet <= c.Fleet && c.Fleet <= w.High.Fleet
	}
	i, _ := slices.BinarySearchFunc(c.List, w.Low, owner.compare)
	return i < len(c.List) && c.List[i].compare(w.High) <= 0
}

// wants reports whether a window is selected.
func (c owners) wants(k Key) bool {
	return (c.To == 0 || k.Bucket >= c.From && k.Bucket < c.To) && c.has(owner{k.Fleet, k.Device})
}

// span returns the range from the first to the last listed owner; all is true when there is
// no list.
func (c owners) span() (w within, all bool) {
	if len(c.List) == 0 {
		return within{}, c.List == nil
	}
	return within{c.List[0], c.List[len(c.List)-1]}, false
}
