// Package tombstone knows what was erased: which devices, people or fleets, and up to when. Stores keep tombstones
// beside their data, and writers reject by them what is still in flight - in the log, a replay or a redrive. A
// tombstone holds a hash of the name, so that it does not itself keep the name. The package imports no room of
// plugins.
package tombstone

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Stone says that everything of a fleet, a device or a person that was received up to a time is erased. Later data is
// accepted, because a name may be used again.
type Stone struct {
	Fleet   string    `json:"fleet"`
	Subject string    `json:"subject,omitempty"` // hash of the name; "" is the whole fleet
	Until   time.Time `json:"until"`             // inclusive, in whole microseconds
}

// Of returns the tombstone of a device, or of a whole fleet when device is "".
func Of(fleet, device string, until time.Time) Stone {
	return Stone{Fleet: fleet, Subject: Subject(fleet, device), Until: until.UTC().Truncate(time.Microsecond)}
}

// OfName returns the tombstone of a person's user id or anonymous id. It does not cover a device of the same name.
func OfName(fleet, name string, until time.Time) Stone {
	sum := hash(prefixName, fleet, name)
	return Stone{Fleet: fleet, Subject: hex.EncodeToString(sum[:]), Until: until.UTC().Truncate(time.Microsecond)}
}

// Subject returns the hash by which tombstones and receipts name a device: it can be found from the name, not the
// name from it. "" is the whole fleet.
func Subject(fleet, device string) string {
	if device == "" {
		return ""
	}
	sum := hash(prefixDevice, fleet, device)
	return hex.EncodeToString(sum[:])
}

// Prefixes of the hashed text, so that a person and a device of the same name have different hashes.
const (
	prefixDevice = "weir erased\x00"
	prefixName   = "weir erased name\x00"
)

func hash(prefix, fleet, name string) [sha256.Size]byte {
	var room [512]byte
	b := append(append(append(append(room[:0], prefix...), fleet...), 0), name...)
	return sha256.Sum256(b)
}

// Set is an immutable set of tombstones for lookups. A nil Set is empty.
type Set struct{ fleets map[string]*graves }

type graves struct {
	whole, latest int64                       // newest stones of the fleet, of anything in it; 0: none
	subjects      map[[sha256.Size]byte]int64 // devices, and names of people
}

// NewSet makes a set, nil when there are no stones. Of several stones of a subject the latest counts.
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

// Holds tells whether data of a device, received at a time in microseconds since 1970, is erased. Pass 0 for an
// unknown time: it counts as before all tombstones. Data received after the fleet's newest tombstone costs one
// comparison.
func (s *Set) Holds(fleet, device string, received int64) bool {
	return s.holds(prefixDevice, fleet, device, received)
}

// HoldsName is Holds for data that names a person, by a user id or an anonymous id.
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

// Touches tells whether any tombstone of a fleet may cover data that was received at a time.
func (s *Set) Touches(fleet string, received int64) bool {
	if s == nil {
		return false
	}
	g := s.fleets[fleet]
	return g != nil && received <= g.latest
}
