package erasure

import (
	"context"
	"fmt"
	"slices"

	"weir/internal/control/identity"
	"weir/internal/lifecycle"
	"weir/internal/lifecycle/tombstone"
)

// A person is forgotten with all devices where they were seen, as each of these is,
// and with all names that they have: those are in aliases, consents and the audit
// log, and in dead letters, whatever device these are of. Devices come first. An
// event that names the person on a device that nobody knew of yet may be on its way:
// before the second pass it is asked again who the person is, and names are buried
// last, since what names them is not noted any more from then on.

// of is the target of one of the erasure's names. Each has a job of its own: counts
// are kept with deletions, by job.
func (e *Erasure) of(kind string, n int, name string) tombstone.Target {
	return tombstone.Target{Job: fmt.Sprintf("%s/%s%d", e.ID, kind, n), Fleet: e.Fleet, Device: name,
		Until: e.Until.UnixMicro(), Buried: e.buried}
}

// devices are the targets that all stores have rows of.
func (e *Erasure) devices() (targets []tombstone.Target) {
	if e.Person == "" {
		return []tombstone.Target{e.target()}
	}
	for n, device := range e.Devices {
		targets = append(targets, e.of("device-", n, device))
	}
	return targets
}

// aliases are the targets that are no devices.
func (e *Erasure) aliases() (targets []tombstone.Target) {
	for n, alias := range e.Aliases {
		t := e.of("alias-", n, alias)
		t.Name = true
		targets = append(targets, t)
	}
	return targets
}

// jobs are those that counts were kept by. It may be asked when the names are gone.
func (e *Erasure) jobs() []string {
	jobs := []string{e.ID}
	for n := range e.OfDevices {
		jobs = append(jobs, e.of("device-", n, "").Job)
	}
	for n := range e.OfAliases {
		jobs = append(jobs, e.of("alias-", n, "").Job)
	}
	return jobs
}

// targets are those of a store in a pass. Names are buried in stores of objects with
// the devices: their writers learn of it later than those of databases.
func (e *Erasure) targets(s named) []tombstone.Target {
	if s.sql {
		return e.devices()
	}
	return append(e.devices(), e.aliases()...)
}

// resolve asks who the person is, and tells whether there are devices or names that were
// not known before. Devices where others were seen, too, stay unless they may go: before
// anything is deleted that is an error, and later they are counted.
func (r *runner) resolve(ctx context.Context, e *Erasure) (grew bool, err error) {
	if e.Person == "" {
		return false, nil
	}
	e.SharedLeft = 0
	p, err := r.people(ctx, e.Fleet, e.Person)
	if err != nil {
		return false, err
	}
	if !e.SharedDevices && len(p.Shared) > 0 && e.buried == 0 {
		return false, held{fmt.Sprintf("others were seen on %d of the person's %d devices, too, and what these sent would "+
			"go with them: say shared_devices (--shared-devices) if it may", len(p.Shared), len(p.Devices))}
	}
	before := len(e.Devices) + len(e.Aliases)
	e.Aliases = grown(e.Aliases, p.Names())
	for _, device := range p.Devices {
		if !e.SharedDevices && slices.Contains(p.Shared, device) && !slices.Contains(e.Devices, device) {
			e.SharedLeft++
			continue
		}
		e.Devices = grown(e.Devices, []string{device})
	}
	e.OfDevices, e.OfAliases = len(e.Devices), len(e.Aliases)
	return len(e.Devices)+len(e.Aliases) > before, nil
}

// grown keeps the order of names: a target is known by its place.
func grown(names, more []string) []string {
	for _, name := range more {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// forget buries the names of a person in databases, and deletes what has them: from
// the moment that a tombstone is there, no transaction keeps such a name.
func (r *runner) forget(ctx context.Context, e *Erasure) error {
	for _, t := range e.aliases() {
		for _, s := range r.stores {
			if !s.sql {
				continue // in its second pass
			}
			if err := s.Bury(ctx, t.Stone()); err != nil {
				return fmt.Errorf("burying a tombstone beside %s: %w", s.name, err)
			}
		}
	}
	free := func() error { return r.free(ctx, e.Fleet) }
	for _, t := range e.aliases() {
		for _, s := range r.stores {
			if !s.sql {
				continue
			}
			if err := s.Erase(ctx, lifecycle.Erasure{Target: t, Held: free}); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return nil
}

// finder tells who a person is.
type finder func(ctx context.Context, fleet, person string) (*identity.Person, error)

// names are all that the erasure is about.
func (e *Erasure) names() []string {
	return slices.DeleteFunc(append([]string{e.Device, e.Person}, append(slices.Clone(e.Devices), e.Aliases...)...),
		func(name string) bool { return name == "" })
}

// without takes the names out of a text.
func (e *Erasure) without(text, instead string) string {
	for _, name := range e.names() {
		text = tombstone.Without(text, name, instead)
	}
	return text
}
