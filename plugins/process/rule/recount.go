package rule

import (
	"cmp"
	"slices"
)

// recount is a journal that is counted again over rows of different moments. A key whose row
// counts more than the entry at hand sleeps: entries pass it over, and no timer of it
// rings, until those come that its row does not count. By then the partition's time is
// what it was when the row was written, so that what is due of it is what was due then.
type recount struct {
	first    int64 // the entry that it begins with
	at       int64 // the entry at hand
	bounded  bool  // of an earlier weir: who refused keys is counted, and not noted
	refused  []string
	sleepers []sleeper
	sorted   bool
	graves   map[*operator]map[string]int64 // of keys that are gone: the last entry that this counts
}

type sleeper struct {
	op *operator
	k  *keyState
}

// sleeps takes a key in that counts entries which come again. It is false when there are
// none.
func (r *recount) sleeps(op *operator, k *keyState) bool {
	if r == nil || k.asOf < r.first {
		return false
	}
	r.sleepers = append(r.sleepers, sleeper{op, k})
	return true
}

// gone notes the grave of a key.
func (r *recount) gone(op *operator, name string, seq int64) {
	if r == nil || seq < r.first {
		return
	}
	if r.graves[op] == nil {
		r.graves[op] = map[string]int64{}
	}
	r.graves[op][name] = seq
}

// comes begins the next entry.
func (r *recount) comes(p *partition, seq int64, version byte) {
	r.at, r.bounded = seq, version < entryVersion
	r.wake(p, seq)
}

// wake has the timers of those ring again whose rows count less than an entry.
func (r *recount) wake(p *partition, seq int64) {
	if r == nil {
		return
	}
	if !r.sorted {
		slices.SortStableFunc(r.sleepers, func(x, y sleeper) int { return cmp.Compare(x.k.asOf, y.k.asOf) })
		r.sorted = true
	}
	for len(r.sleepers) > 0 && r.sleepers[0].k.asOf < seq {
		p.schedule(r.sleepers[0].op, r.sleepers[0].k)
		r.sleepers = r.sleepers[1:]
	}
}

// has tells whether what is kept of a key counts the event at hand.
func (r *recount) has(op *operator, k *keyState, name []byte) bool {
	switch {
	case r == nil:
		return false
	case k != nil:
		return k.asOf >= r.at
	}
	return r.graves[op][string(name)] >= r.at
}

// beyond tells whether a new key was refused since its fleet had as many as it may.
func (m *Miss) beyond() bool { return m.Outcome == OverLimit && m.Why == "" }

// over tells whether a new key is one more than its fleet may have. When the journal is
// counted again, other keys have their rows already: it has who was refused.
func (p *partition) over(op *operator, as *form, fleet string) bool {
	if p.recount != nil && !p.recount.bounded {
		return slices.Contains(p.recount.refused, op.Name)
	}
	most := p.keysOf(as)
	return most > 0 && op.fleets[fleet] >= most
}
