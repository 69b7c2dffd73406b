package rule

import (
	"cmp"
	"slices"
)

// recount is the state of a replay over rows of different moments. A key whose row counts the current entry already
// sleeps: the replay skips its events, and its timers do not fire, until the first entry that the row does not count.
// By then the watermark is the one at which the row was written, so the same timers are due as then.
type recount struct {
	first    int64    // the number of the first entry
	at       int64    // the number of the current entry
	bounded  bool     // an earlier version of weir wrote the entry: it does not say which keys were refused
	refused  []string // the rules that refused the current event
	sleepers []sleeper
	sorted   bool
	graves   map[*operator]map[string]int64 // by name of a key that has ended: the last entry that its row counts
}

type sleeper struct {
	op *operator
	k  *keyState
}

// sleeps puts a key to sleep if its row counts entries of the replay, and reports whether it did.
func (r *recount) sleeps(op *operator, k *keyState) bool {
	if r == nil || k.asOf < r.first {
		return false
	}
	r.sleepers = append(r.sleepers, sleeper{op, k})
	return true
}

// gone remembers the grave of a key if it counts entries of the replay.
func (r *recount) gone(op *operator, name string, seq int64) {
	if r == nil || seq < r.first {
		return
	}
	if r.graves[op] == nil {
		r.graves[op] = map[string]int64{}
	}
	r.graves[op][name] = seq
}

// comes begins the entry seq.
func (r *recount) comes(p *partition, seq int64, version byte) {
	r.at, r.bounded = seq, version < entryVersion
	r.wake(p, seq)
}

// wake schedules the timers of the sleeping keys whose rows count only entries before seq.
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

// has reports whether the row of a key, or its grave, counts the current event already. k is nil for a key without
// state.
func (r *recount) has(op *operator, k *keyState, name []byte) bool {
	switch {
	case r == nil:
		return false
	case k != nil:
		return k.asOf >= r.at
	}
	return r.graves[op][string(name)] >= r.at
}

// beyond reports whether a new key was refused because its fleet had reached its limit of keys.
func (m *Miss) beyond() bool { return m.Outcome == OverLimit && m.Why == "" }

// over reports whether a new key is refused because its fleet has reached its limit of keys. In a replay the number of
// keys is not what it was, because rows of later keys have been read: there the journal says which rules refused the
// key.
func (p *partition) over(op *operator, as *form, fleet string) bool {
	if p.recount != nil && !p.recount.bounded {
		return slices.Contains(p.recount.refused, op.Name)
	}
	most := p.keysOf(as)
	return most > 0 && op.fleets[fleet] >= most
}
