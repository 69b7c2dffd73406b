package rule

import (
	"context"
	"time"

	"github.com/cespare/xxhash/v2"

	"weir/internal/platform/rawjson"
	"weir/internal/platform/text"
)

// Ends are the windows of a rule that are open, each with when it ends. An id takes
// longer to make than all else that is known of a window, so that ids are made of those
// alone that somebody looks for.
type Ends struct {
	fleet    string
	from, to int64 // they end in [from, to)
	of       []endsOf
	open     int
	at       map[uint64]endAt // by key and start; nil until a window is looked for
	name     []byte
}

// endsOf are those of a rule in a partition. Of a rule that asks what a window holds
// before it is told (having) there is no partition: the names are the windows' ids.
type endsOf struct {
	p   *partition
	op  *operator
	all []ending
}

// ending is a window of a key.
type ending struct {
	name       string // of the key; empty when the window is dropped
	start, end int64
	next       endAt // another with the same place in the index
}

// endAt is the place of an ending; its second number counts from 1.
type endAt struct{ of, i int32 }

// Ends tells of a rule's open windows those that end in a range, for callers that
// count them: at a small part of what Of costs, and with no result in memory.
func (o *Openings) Ends(ctx context.Context, fleet, rule string, from, to time.Time) (*Ends, error) {
	e := &Ends{fleet: fleet, from: from.UnixMicro(), to: to.UnixMicro()}
	err := o.each(ctx, asking{fleet: fleet, rules: []string{rule}, ends: e})
	return e, err
}

// Len is how many are open and not dropped.
func (e *Ends) Len() int { return e.open }

// Find finds the window that a result is of, which has an id. Drop leaves it out from
// then on.
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
		if one.name != "" && of.idOf(one) == id {
			return func() { one.name = ""; e.open-- }, true
		}
		at = one.next
	}
	return nil, false
}

// take takes the windows in that a rule has open in a partition.
func (e *Ends) take(p *partition, op *operator, all []ending) {
	kept := all[:0]
	for _, one := range all {
		if one.end >= e.from && one.end < e.to {
			kept = append(kept, one)
		}
	}
	if len(kept) > 0 {
		e.of = append(e.of, endsOf{p, op, kept})
		e.open += len(kept)
	}
}

// made takes a window in whose result had to be made.
func (e *Ends) made(r Result) {
	e.take(nil, nil, []ending{{name: r.ID, end: r.End}})
}

func (e *Ends) index() {
	e.at = make(map[uint64]endAt, e.open)
	for i := range e.of {
		of := &e.of[i]
		for j := range of.all {
			one := &of.all[j]
			place := xxhash.Sum64String(one.name)
			if of.p != nil {
				place = placeOf(rawjson.Bytes(one.name), one.start)
			}
			one.next = e.at[place]
			e.at[place] = endAt{int32(i), int32(j + 1)}
		}
	}
}

// placeOf is where in the index a key's window is that begins at a time.
func placeOf(name []byte, start int64) uint64 {
	const odd = 0x9e3779b97f4a7c15 // so that times which are near each other are far apart
	return xxhash.Sum64(name) ^ uint64(start)*odd
}

// idOf is the id of a window.
func (of *endsOf) idOf(one *ending) string {
	if of.p == nil {
		return one.name
	}
	w := window{id: one.start}
	if of.op.window.grid != nil {
		w.id = one.end
	}
	return of.p.idOf(of.op, &keyState{name: one.name}, w)
}

// windowOf reads of a result the name of its key, as a keyState has it, and when its
// window began. What is retracted has no window.
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
