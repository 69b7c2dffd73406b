package validate

import (
	"weir/plugins/ingest/registry"
)

// rules is a set of schemas with the plan of each. It is immutable.
type rules struct {
	set     *registry.Set
	schemas []*planned // at the indices of the set
}

// planned is a schema and its plan.
type planned struct {
	*registry.Schema
	name any   // "telemetry/2", boxed once for message metadata
	plan *node // nil: the library judges every event
}

func planOf(s *registry.Schema) *planned {
	return &planned{Schema: s, name: s.Name(), plan: planEvent(s.Library.Schema)}
}

func rulesOf(set *registry.Set) *rules {
	r := &rules{set: set}
	for _, s := range set.Schemas() {
		r.schemas = append(r.schemas, planOf(s))
	}
	return r
}

// forFirmware returns the schema of a firmware version, nil if there is none.
func (r *rules) forFirmware(firmware []byte) *planned {
	if place := r.set.ForFirmware(firmware); place >= 0 {
		return r.schemas[place]
	}
	return nil
}
