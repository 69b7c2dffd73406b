package registry

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"weir/internal/event"
	"weir/internal/platform/firmware"
)

// Set is the schemas of one subject at one moment. It is immutable, so that a
// new version replaces the whole set at once.
type Set struct {
	subject string
	schemas []*Schema // newest first: where ranges overlap, the newest version wins

	// chosen has the index of the schema for each firmware version met so far. It is replaced,
	// never changed, and has at most chosenMax entries.
	chosen atomic.Pointer[map[string]int]
	mu     sync.Mutex
}

const chosenMax = 1024

// NewSet returns the set of a subject's schemas, which may be in any order.
func NewSet(subject string, schemas []*Schema) *Set {
	s := &Set{subject: subject, schemas: slices.Clone(schemas)}
	slices.SortFunc(s.schemas, func(a, b *Schema) int { return b.Version - a.Version })
	s.chosen.Store(&map[string]int{})
	return s
}

// Subject returns the subject of the schemas.
func (s *Set) Subject() string { return s.subject }

// Schemas returns the schemas, newest first.
func (s *Set) Schemas() []*Schema { return slices.Clone(s.schemas) }

// ForFirmware returns the index in Schemas of the schema for a firmware version, or -1.
func (s *Set) ForFirmware(version []byte) int {
	if place, ok := (*s.chosen.Load())[string(version)]; ok {
		return place
	}
	if v, ok := firmware.Parse(string(version)); ok {
		for place, schema := range s.schemas {
			if schema.firmware.Contains(v) {
				s.remember(string(version), place)
				return place
			}
		}
	}
	return -1 // not remembered: senders could fill the memory with such versions
}

// UnknownMetrics returns the header weir_unknown_metrics of an event by the set's present
// knowledge, for events that were judged when it knew less: a rebuild of rollups then counts
// metrics that schemas have declared since. For firmware without a schema it returns header.
func (s *Set) UnknownMetrics(firmware string, metrics []event.Metric, header string) string {
	place := s.ForFirmware([]byte(firmware))
	if place < 0 {
		return header
	}
	var list []byte
	for _, m := range metrics {
		if !s.schemas[place].metrics[m.Name] {
			list = event.AppendItem(list, m.Name)
		}
	}
	return string(list)
}

func (s *Set) remember(firmware string, place int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.chosen.Load()
	if len(old) >= chosenMax {
		return
	}
	next := make(map[string]int, len(old)+1)
	for k, v := range old {
		next[k] = v
	}
	next[firmware] = place
	s.chosen.Store(&next)
}

// rangesShown bounds how many ranges a message lists.
const rangesShown = 10

// Ranges lists the firmware that the set knows, for people.
func (s *Set) Ranges() string {
	var parts []string
	for i := len(s.schemas) - 1; i >= 0; i-- {
		if schema := s.schemas[i]; schema.Firmware != "" {
			parts = append(parts, fmt.Sprintf("%s (%s)", schema.Firmware, schema.Name()))
		}
	}
	if len(parts) == 0 {
		return "no schema of " + s.subject + " is registered for any firmware"
	}
	if n := len(parts) - rangesShown; n > 0 {
		parts = append([]string{fmt.Sprintf("%d more", n)}, parts[n:]...)
	}
	return "registered are " + strings.Join(parts, ", ")
}
