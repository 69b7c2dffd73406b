// Package tombstone knows what was erased: of which device or fleet, and up to
// when. Stores keep tombstones beside their data, and writers refuse by them
// what is still on its way - in the log, in a replay, in a redrive. A tombstone
// names a device by a hash: it must not be what keeps the name alive. It is a
// leaf: it imports no room.
package tombstone

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Stone says that everything of a fleet, or of one device of it, that was
// received up to a time is erased. What comes later is welcome: a name may be
// given again.
type Stone struct {
	Fleet   string    `json:"fleet"`
	Subject string    `json:"subject,omitempty"` // of the device; "" is the whole fleet
	Until   time.Time `json:"until"`             // whole microseconds, inclusive
}

// Of makes the tombstone of a device, or, for "", of a whole fleet.
func Of(fleet, device string, until time.Time) Stone {
	return Stone{Fleet: fleet, Subject: Subject(fleet, device), Until: until.UTC().Truncate(time.Microsecond)}
}

// OfName makes the tombstone of a name of a person: a user's id or an anonymous one.
// It holds no device that happens to have the same.
func OfName(fleet, name string, until time.Time) Stone {
	sum := hash(prefixName, fleet, name)
	return Stone{Fleet: fleet, Subject: hex.EncodeToString(sum[:]), Until: until.UTC().Truncate(time.Microsecond)}
}

// Subject is how tombstones and receipts name a device: whoever knows the name
// finds it, and nobody reads it. "" is the whole fleet.
func Subject(fleet, device string) string {
	if device == "" {
		return ""
	}
	sum := hash(prefixDevice, fleet, device)
	return hex.EncodeToString(sum[:])
}

// What hashes begin with: a person's name and a device's are never the same.
const (
	prefixDevice = "weir erased\x00"
	prefixName   = "weir erased name\x00"
)

func hash(prefix, fleet, name string) [sha256.Size]byte {
	var room [512]byte
	b := append(append(append(append(room[:0], prefix...), fleet...), 0), name...)
	return sha256.Sum256(b)
}

// Set is some tombstones, for looking up. It does not change: a nil one is
// empty, and asking it costs nothing.
type Set struct{ fleets map[string]*graves }

type graves struct {
	whole, latest int64                       // microseconds since 1970; 0 is none
	subjects      map[[sha256.Size]byte]int64 // devices, and names of people
}

// NewSet makes a set, nil of no stones. Of several stones of one subject the
// latest counts.
func NewSet(stones []Stone) *Set {
	if len(stones) == 0 {
		return nil
	}
	s := &Set{fleets: map[string]*graves{}}
	for _, stone := range stones {
		g := s.fleets[stone.Fleet]
		if g == nil {
			g = &graves{subjects: map[[sha256.Size]byte]int64{}}
			s.fleets[stone.Fleet] = g
		}
		until := stone.Until.UnixMicro()
		g.latest = max(g.latest, until)
		if stone.Subject == "" {
			g.whole = max(g.whole, until)
			continue
		}
		var sum [sha256.Size]byte
		if n, err := hex.Decode(sum[:], []byte(stone.Subject)); err == nil && n == len(sum) {
			g.subjects[sum] = max(g.subjects[sum], until)
		}
	}
	return s
}

// Holds tells whether something of a device, received at a time in microseconds
// since 1970, is erased. 0 is a time that nobody knows: it is before all others.
// What came after the fleet's newest tombstone costs one comparison.
func (s *Set) Holds(fleet, device string, received int64) bool {
	return s.holds(prefixDevice, fleet, device, received)
}

// HoldsName tells whether something that names a person, by a user's id or an
// anonymous one, is erased, as Holds does of a device.
func (s *Set) HoldsName(fleet, name string, received int64) bool {
	return s.holds(prefixName, fleet, name, received)
}

func (s *Set) holds(prefix, fleet, name string, received int64) bool {
	if s == nil {
		return false
	}
	g := s.fleets[fleet]
	switch {
	case g == nil || received > g.latest:
		return false
	case g.whole > 0 && received <= g.whole:
		return true
	case name == "" || len(g.subjects) == 0:
		return false
	}
	until, ok := g.subjects[hash(prefix, fleet, name)]
	return ok && received <= until
}

// Touches tells whether the set has any tombstone of a fleet that holds what
// was received at a time.
func (s *Set) Touches(fleet string, received int64) bool {
	if s == nil {
		return false
	}
	g := s.fleets[fleet]
	return g != nil && received <= g.latest
}
