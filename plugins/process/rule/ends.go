package rule

import (
	"context"
	"time"

	"github.com/cespare/xxhash/v2"

	"weir/internal/platform/rawjson"
	"weir/internal/platform/text"
)

// Ends are the open windows of a rule, each with its end. Making a window's id costs more than all else about it, so
// that ids are made only of windows that Find compares.
type Ends struct {
	fleet    string
	from, to int64 // windows end in [from, to)
	of       []endsOf
	open     int              // windows that are not dropped
	at       map[uint64]endAt // index by placeOf, or by the hash of an id; nil until a window is looked for
	name     []byte           // scratch of windowOf: the name of a key
}

// endsOf are the windows of a rule in a partition. If the rule has a having, whose results had to be made, p and op are
// nil, and names are ids of windows.
type endsOf struct {
	p   *partition
	op  *operator
	all []ending

	next []endAt // by ending, the next one with the same hash in the index
}

// ending is a window of a key. A query makes one for every key that a rule has, without looking at the name, which is
// elsewhere in memory.
type ending struct {
	name       *string // of the key; nil: the window is dropped
	start, end int64
}

// endAt is the place of an ending: Ends.of[of].all[i-1]. i is 0 for none.
type endAt struct{ of, i int32 }

// Ends returns a rule's open windows that end in a range, for callers that count them. It costs a small part of Of, and
// keeps no results in memory.
func (o *Openings) Ends(ctx context.Context, fleet, rule string, from, to time.Time) (*Ends, error) {
	e := &Ends{fleet: fleet, from: from.UnixMicro(), to: to.UnixMicro()}
	err := o.each(ctx, asking{fleet: fleet, rules: []string{rule}, ends: e})
	return e, err
}

// Len returns how many windows are open and not dropped.
func (e *Ends) Len() int { return e.open }

// Find looks for the window of a result, by the result's id. drop takes it out of e. It is not for concurrent use.
func (e *Ends) Find(id string, result []byte) (drop func(), is bool) {
	if e.open == 0 {
		return nil, false
	}
	if e.at == nil {
		e.index()
	}
	start, there := e.windowOf(result)
	if there {
		drop, is = e.look(placeOf(e.name, start), id)
	}
	if !is {
		drop, is = e.look(xxhash.Sum64String(id), id)
	}
	return drop, is
}

func (e *Ends) look(place uint64, id string) (drop func(), is bool) {
	for at := e.at[place]; at.i > 0; {
		of := &e.of[at.of]
		one := &of.all[at.i-1]
		if one.name != nil && of.idOf(one) == id {
			return func() { one.name = nil; e.open-- }, true
		}
		at = of.next[at.i-1]
	}
	return nil, false
}

// take adds the windows that a rule has open in a partition and that end in the range. It reuses all.
func (e *Ends) take(p *partition, op *operator, all []ending) {
	kept := all[:0]
	for _, one := range all {
		if one.end >= e.from && one.end < e.to {
			kept = append(kept, one)
		}
	}
	if len(kept) > 0 {
		e.of = append(e.of, endsOf{p: p, op: op, all: kept})
		e.open += len(kept)
	}
}

// made adds a window whose result had to be made.
func (e *Ends) made(r Result) {
	e.take(nil, nil, []ending{{name: &r.ID, end: r.End}})
}

func (e *Ends) index() {
	e.at = make(map[uint64]endAt, e.open)
	for i := range e.of {
		of := &e.of[i]
		of.next = make([]endAt, len(of.all))
		for j := range of.all {
			one := &of.all[j]
			place := xxhash.Sum64String(*one.name)
			if of.p != nil {
				place = placeOf(rawjson.Bytes(*one.name), one.start)
			}
			of.next[j] = e.at[place]
			e.at[place] = endAt{int32(i), int32(j + 1)}
		}
	}
}

// placeOf hashes a key's window for the index.
func placeOf(name []byte, start int64) uint64 {
	const odd = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio: spreads times that are close together
	return xxhash.Sum64(name) ^ uint64(start)*odd
}

// idOf returns the id of a window.
func (of *endsOf) idOf(one *ending) string {
	if of.p == nil {
		return *one.name
	}
	w := window{id: one.start}
	if of.op.window.grid != nil {
		w.id = one.end
	}
	return of.p.idOf(of.op, &keyState{name: *one.name}, w)
}

// windowOf reads the start of a result's window, and the name of its key, as keyState has it, into e.name. A retracted
// result has no window.
func (e *Ends) windowOf(result []byte) (start int64, there bool) {
	e.name = append(append(e.name[:0], e.fleet...), 0, '[')
	from := len(e.name)
	_, err := rawjson.Object(result, 0, 0, func(key []byte, _ bool, i int) (int, error) {
		end, err := rawjson.Value(result, i, 1)
		if err != nil {
			return end, err
		}
		switch string(key) {
		case "key":
			_, err = rawjson.Object(result, i, 1, func(_ []byte, _ bool, i int) (int, error) {
				end, err := rawjson.Value(result, i, 2)
				if len(e.name) > from {
					e.name = append(e.name, ',')
				}
				e.name = append(e.name, result[i:end]...)
				return end, err
			})
		case "window_start":
			if at, ok := text.ParseInstant(rawjson.Alias(result[i+1 : end-1])); ok {
				start, there = at.UnixMicro(), true
			}
		}
		return end, err
	})
	e.name = append(e.name, ']')
	return start, there && err == nil
}
