package raw

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"weir/plugins/store/lake"
)

// LaterSums are rows of what was found out later, by what is known of their events: Rows
// is the sum of the five behind it.
type LaterSums struct {
	Rows      int64 `json:"rows"`
	Right     int64 `json:"right"`    // of a stored event, for which the look-up had failed
	Repeated  int64 `json:"repeated"` // another row of the event and the look-up was found before, and counts
	Erased    int64 `json:"erased"`   // the event was erased; the row is about to go
	Expired   int64 `json:"expired"`  // the event's time is over; the row is about to go
	Differing int64 `json:"differing"`

	Unread      int               `json:"unread_objects"` // left for the next run
	Differences []LaterDifference `json:"differences"`    // some of the rows that differ
}

// LaterDifference is a row that is not what it should be.
type LaterDifference struct {
	EventID string `json:"event_id"`
	Lookup  string `json:"lookup"`
	Object  string `json:"object"`
	What    string `json:"what"`
}

// String says it in a sentence.
func (d LaterDifference) String() string {
	return fmt.Sprintf("what the look-up %s said later of the event %s %s", d.Lookup, d.EventID, d.What)
}

// differencesMost bounds the rows that are named.
const differencesMost = 20

func (s *LaterSums) add(o *LaterSums) {
	s.Rows += o.Rows
	s.Right += o.Right
	s.Repeated += o.Repeated
	s.Erased += o.Erased
	s.Expired += o.Expired
	s.Differing += o.Differing
	s.Differences = append(s.Differences, o.Differences[:min(len(o.Differences), differencesMost-len(s.Differences))]...)
}

func (s *LaterSums) differs(r *checkedRow, what string) {
	s.Differing++
	if len(s.Differences) < differencesMost {
		s.Differences = append(s.Differences, LaterDifference{uuid.UUID(r.ID).String(), r.Lookup, r.object, what})
	}
}

// LaterCheck compares the rows of what was found out later with the events of the raw
// store: each is of an event that is there, as the event is, and lies where readers look
// for it. What it has read of objects it keeps for later runs, unless something differs:
// objects do not change. It is not for concurrent use.
type LaterCheck struct {
	events *lake.Store
	batch  int
	known  map[string]*LaterSums // by object, of those that are there
}

// NewLaterCheck makes one for a raw store.
func NewLaterCheck(events *lake.Store) *LaterCheck {
	return &LaterCheck{events: events, batch: pairRows, known: map[string]*LaterSums{}}
}

// Run reads the objects that no run has read, and those of which something differed, and
// tells of all that there are. It begins with no other object when it has decoded so many
// rows of events; 0 is no bound. It returns nil where nothing was found out later.
func (c *LaterCheck) Run(ctx context.Context, most int64) (*LaterSums, error) {
	objects, err := c.events.Below(LaterFolder).Objects(ctx, lake.Select{})
	if err != nil {
		return nil, fmt.Errorf("listing what was found out later: %w", err)
	}
	there := map[string]bool{}
	for _, o := range objects {
		there[o.Key] = true
	}
	maps.DeleteFunc(c.known, func(key string, _ *LaterSums) bool { return !there[key] })
	if len(objects) == 0 {
		return nil, nil
	}
	slices.SortFunc(objects, func(a, b lake.Object) int { return cmp.Or(a.Min.Compare(b.Min), cmp.Compare(a.Key, b.Key)) })
	var todo, again []lake.Object
	for _, o := range objects {
		switch known := c.known[o.Key]; {
		case known == nil:
			todo = append(todo, o)
		case known.Differing > 0:
			again = append(again, o)
		}
	}
	sums := &LaterSums{Differences: []LaterDifference{}}
	p := newPairing(c.events, c.batch)
	for i, o := range slices.Concat(todo, again) {
		if most > 0 && p.decoded >= most {
			sums.Unread = max(0, len(todo)-i)
			break
		}
		if err := p.object(ctx, o); err != nil && !errors.Is(err, lake.ErrNotFound) { // compacted meanwhile
			return nil, err
		}
	}
	if err := p.finish(ctx); err != nil {
		return nil, err
	}
	maps.Copy(c.known, p.sums)
	for _, key := range slices.Sorted(maps.Keys(c.known)) {
		sums.add(c.known[key])
	}
	return sums, nil
}
