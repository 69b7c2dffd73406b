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

// LaterSums counts rows of later facts by what is known of their events. Rows is the sum
// of the six fields after it.
type LaterSums struct {
	Rows      int64 `json:"rows"`
	Right     int64 `json:"right"`    // the event is stored, and the look-up had failed for it
	Repeated  int64 `json:"repeated"` // as Right, but a row compared just before it has the same event and look-up
	Erased    int64 `json:"erased"`   // the event was erased; the row will be erased, too
	Expired   int64 `json:"expired"`  // the event is older than the retention; the row will be deleted, too
	Unknown   int64 `json:"unknown"`  // the event is not stored; its day has too many rows to find out whether it is Expired
	Differing int64 `json:"differing"`

	Unread      int               `json:"unread_objects"` // left for the next run
	Differences []LaterDifference `json:"differences"`    // at most differencesMost of the differing rows
}

// LaterDifference is a row that does not agree with the stored events.
type LaterDifference struct {
	EventID string `json:"event_id"`
	Lookup  string `json:"lookup"`
	Object  string `json:"object"`
	What    string `json:"what"`
}

// String describes the difference in a sentence.
func (d LaterDifference) String() string {
	return fmt.Sprintf("what the look-up %s said later of the event %s %s", d.Lookup, d.EventID, d.What)
}

// differencesMost bounds how many differing rows are listed.
const differencesMost = 20

func (s *LaterSums) add(o *LaterSums) {
	s.Rows += o.Rows
	s.Right += o.Right
	s.Repeated += o.Repeated
	s.Erased += o.Erased
	s.Expired += o.Expired
	s.Unknown += o.Unknown
	s.Differing += o.Differing
	s.Differences = append(s.Differences, o.Differences[:min(len(o.Differences), differencesMost-len(s.Differences))]...)
}

func (s *LaterSums) differs(r *checkedRow, what string) {
	s.Differing++
	if len(s.Differences) < differencesMost {
		s.Differences = append(s.Differences, LaterDifference{uuid.UUID(r.ID).String(), r.Lookup, r.object, what})
	}
}

// LaterCheck compares the rows of later facts with the events of the raw store: the event
// of each row must be stored and agree with it, and the row must lie in the object in
// which readers look for it. The result for an object is kept for later runs, because
// objects do not change; an object with rows that differ or are unknown is read again. A LaterCheck is not
// safe for concurrent use.
type LaterCheck struct {
	events  *lake.Store
	batch   int
	dayRows int64                 // of a bounded run
	known   map[string]*LaterSums // by object; only objects that still exist
}

// NewLaterCheck returns a check of a raw store.
func NewLaterCheck(events *lake.Store) *LaterCheck {
	return &LaterCheck{events: events, batch: pairRows, dayRows: dayRows, known: map[string]*LaterSums{}}
}

// Run reads the objects that no earlier run has read, then those with rows that differ or
// are unknown, and returns the sums over all objects. After it has decoded `most` rows of
// events it begins no further object; 0 is no bound, and leaves no row unknown. It returns nil
// when there are no later facts.
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
		case known.Differing > 0 || known.Unknown > 0:
			again = append(again, o)
		}
	}
	sums := &LaterSums{Differences: []LaterDifference{}}
	p := newPairing(c.events, c.batch, c.dayRows)
	if most == 0 {
		p.dayRows = 0
	}
	for i, o := range slices.Concat(todo, again) {
		if most > 0 && p.decoded >= most {
			sums.Unread = max(0, len(todo)-i)
			break
		}
		if err := p.object(ctx, o); err != nil && !errors.Is(err, lake.ErrNotFound) { // compaction replaced it
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
