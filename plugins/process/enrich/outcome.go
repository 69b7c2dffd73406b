package enrich

import "weir/internal/event"

// outcome is what became of a look-up for one event.
type outcome int

const (
	outcomeHit     outcome = iota // known already
	outcomeFound                  // asked for
	outcomeAbsent                 // there is none, known or asked for
	outcomeFailed                 // the event has not what it should have
	outcomeSkipped                // the event has no key
)

var outcomeNames = [...]string{"hit", "found", "absent", "failed", "skipped"}

// later is what an event that is asked for again carries of it.
func (o outcome) later() string {
	switch o {
	case outcomeFailed:
		return event.EnrichedFailed
	case outcomeAbsent:
		return event.EnrichedAbsent
	case outcomeSkipped:
		return event.EnrichedNoKey
	}
	return event.EnrichedFound
}

// counted are the events of a batch by outcome, for one look-up.
type counted [len(outcomeNames)]int64

// count hands what became of the look-ups to the engine, once a batch: it makes a
// text of the labels each time.
func (p *processor) count(counts []counted) {
	for i, of := range counts {
		for outcome, n := range of {
			if n > 0 {
				p.outcomes.Incr(n, p.lookups[i].name, outcomeNames[outcome])
			}
		}
	}
}
