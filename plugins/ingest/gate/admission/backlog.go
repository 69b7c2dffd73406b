package admission

import (
	"fmt"
	"time"
)

// intake is what the gate does about the backlog.
type intake int

const (
	flowing intake = iota // takes everything
	pressed               // takes less than the readers drain, in fair shares
	stopped               // takes nothing
)

// Bounds are those of the backlog.
type Bounds struct {
	Records int
	Age     time.Duration
	Resume  float64 // flow again below this part of the bounds
}

// overrun is how far above a bound the gate stops altogether, in case that the
// backlog grows although little is admitted.
const overrun = 1.25

// drained is the part of the drain that is admitted while pressed: the rest
// brings the backlog down.
const drained = 0.8

// reading is one measurement of the group that is furthest behind.
type reading struct {
	group   string
	records int           // written and not yet processed
	age     time.Duration // since the oldest of them was written
	behind  time.Duration // of that, what its store does not hold to gather a batch
	drain   float64       // records a second that the group processes
	watched time.Duration // for how long the drain was measured
}

// Backlog is the latest reading, and what follows from it.
type Backlog struct {
	reading
	state  intake
	limits Bounds
}

// next moves the state along with a new reading. Between the resume point and
// the bound the state stays what it was, so that it does not flap.
func (b Backlog) next(r reading, l Bounds) Backlog {
	fill := float64(r.records) / float64(l.Records)
	if age := float64(r.age) / float64(l.Age); age > fill {
		fill = age
	}
	state := b.state
	switch {
	case fill >= overrun:
		state = stopped
	case fill >= 1:
		state = max(state, pressed)
	case fill < l.Resume:
		state = flowing
	case state == stopped:
		state = pressed // below the bound again: let the shares through
	}
	return Backlog{reading: r, state: state, limits: l}
}

// ahead is the backlog with what has come in since the reading: a burst is
// noticed before the next one.
func (b Backlog) ahead(events int) Backlog {
	if b.limits.Records == 0 { // not measured
		return b
	}
	b.records += events
	switch fill := float64(b.records) / float64(b.limits.Records); {
	case fill >= overrun:
		b.state = stopped
	case fill >= 1:
		b.state = max(b.state, pressed)
	}
	return b
}

// How long to send clients away while it is not known how fast the backlog
// drains, and when it is known that it does not.
const (
	drainKnown       = 10 * time.Second
	drainUnknownWait = 3 * time.Second
)

// admitted is how many events a second may come in while pressed.
func (b Backlog) admitted() float64 { return drained * b.drain }

// relief is how long it takes, at the measured drain, to be below the resume
// point again.
func (b Backlog) relief() time.Duration {
	over := float64(b.records) - b.limits.Resume*float64(b.limits.Records)
	wait := b.age - time.Duration(b.limits.Resume*float64(b.limits.Age)) // a queue of that age shortens by as much
	if over <= 0 {
		return max(wait, time.Second)
	}
	switch {
	case b.drain > 0:
	case b.watched < drainKnown:
		return drainUnknownWait
	default:
		return maxRetryAfter
	}
	return max(wait, seconds(over/b.drain), time.Second)
}

func backlogFull(b Backlog, after time.Duration) *Refusal {
	detail := fmt.Sprintf("processing (%s) is %d events and %s behind, of %d and %s that it may be", b.group,
		b.records, b.age.Round(time.Second), b.limits.Records, b.limits.Age)
	return tooMany("backlog-full", "Processing is behind", detail, after, map[string]any{
		"limit": b.limits.Records, "behind": b.records, "behind_seconds": int(b.age.Seconds()),
		"limit_seconds": int(b.limits.Age.Seconds()), "drained_per_second": int(b.drain)})
}

func quotaSpent(q Quota, after time.Duration) *Refusal {
	return tooMany("quota-exceeded", "The fleet's quota is used up",
		fmt.Sprintf("the fleet may send %g events a second, and %g at once", q.Rate, q.Burst), after,
		map[string]any{"limit": q.Rate, "burst": q.Burst, "unit": "events per second"})
}

func inFlightFull(what string, limit int, after time.Duration) *Refusal {
	return tooMany("too-many-in-flight", "Too much is in flight",
		fmt.Sprintf("the bound of %d %s in flight is reached", limit, what), after, map[string]any{"limit": limit,
			"unit": what})
}

func fleetFull(what string, held int, after time.Duration) *Refusal {
	return tooMany("fleet-in-flight", "The fleet has too much in flight",
		fmt.Sprintf("the fleet holds its share of what may be in flight, %d %s", held, what), after,
		map[string]any{"held": held, "unit": what})
}
