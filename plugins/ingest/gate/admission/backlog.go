package admission

import (
	"fmt"
	"time"
)

// intake is how much the gate admits, given the backlog.
type intake int

const (
	flowing intake = iota // everything
	pressed               // less than the readers process, in fair shares
	stopped               // nothing
)

// Bounds bound the backlog.
type Bounds struct {
	Records int
	Age     time.Duration
	Resume  float64 // flow again below this share of the bounds
}

// overrun is the multiple of a bound at which nothing is admitted, in case the backlog grows
// although little is admitted.
const overrun = 1.25

// drained is the share of the drain that is admitted while pressed; the rest shortens the backlog.
const drained = 0.8

// reading is a measurement of one group.
type reading struct {
	group   string
	records int           // written and not yet processed
	age     time.Duration // since the oldest of them was written
	behind  time.Duration // of that, what is more than the time its store gathers a batch
	drain   float64       // records a second that the group processes
	watched time.Duration // how long the drain was measured
}

// Backlog is the reading of the group that is furthest behind, and what follows from it.
type Backlog struct {
	reading
	state  intake
	limits Bounds
}

// next returns the backlog after a new reading. Between the resume point and the bound the state
// stays as it was, so that it does not flap.
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
		state = pressed // below the bound again: admit the fair shares
	}
	return Backlog{reading: r, state: state, limits: l}
}

// ahead adds the events that were admitted since the reading, so that a burst counts before the
// next reading.
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

// drainKnown is how long the drain must be measured to be known. Until then, clients are told to
// wait for drainUnknownWait.
const (
	drainKnown       = 10 * time.Second
	drainUnknownWait = 3 * time.Second
)

// admitted returns how many events a second are admitted while pressed.
func (b Backlog) admitted() float64 { return drained * b.drain }

// relief estimates how long it takes, at the measured drain, until the backlog is below the resume
// point.
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
