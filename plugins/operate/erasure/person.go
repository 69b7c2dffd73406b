package erasure

import (
	"context"
	"fmt"
	"slices"

	"weir/internal/control/identity"
	"weir/internal/lifecycle"
	"weir/internal/lifecycle/tombstone"
)

// A person is erased with all devices on which they were seen, each as a device is erased, and with all their names:
// those in aliases, consents and the audit log, and those in dead letters of any device. Devices are erased first. An
// event that names the person on a new device may be in flight. So before the second pass the person is resolved
// again, and the tombstones of names are written last, because from then on no alias with these names is stored.

// of returns the target of one of the erasure's names. Each has a job of its own, because the counts of deletions are
// stored by job.
func (e *Erasure) of(kind string, n int, name string) tombstone.Target {
	return tombstone.Target{Job: fmt.Sprintf("%s/%s%d", e.ID, kind, n), Fleet: e.Fleet, Device: name,
		Until: e.Until.UnixMicro(), Buried: e.buried}
}

// devices returns the targets of which all stores may have rows.
func (e *Erasure) devices() (targets []tombstone.Target) {
	if e.Person == "" {
		return []tombstone.Target{e.target()}
	}
	for n, device := range e.Devices {
		targets = append(targets, e.of("device-", n, device))
	}
	return targets
}

// aliases returns the targets that are not devices.
func (e *Erasure) aliases() (targets []tombstone.Target) {
	for n, alias := range e.Aliases {
		t := e.of("alias-", n, alias)
		t.Name = true
		targets = append(targets, t)
	}
	return targets
}

// jobs returns the jobs under which counts are stored. It also works after the names were removed.
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

// targets returns the targets of a store in a pass. In object stores, tombstones of names are written together with
// those of devices, because writers of objects read tombstones later than those of databases.
func (e *Erasure) targets(s named) []tombstone.Target {
	if s.sql {
		return e.devices()
	}
	return append(e.devices(), e.aliases()...)
}

// resolve looks up the person, and reports whether there are devices or names that were not known before. Devices on
// which other persons were seen too are left out unless SharedDevices is set: before anything is deleted they are an
// error, and later they are counted.
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

// grown appends new names and keeps the order of the others, because a target is identified by its index.
func grown(names, more []string) []string {
	for _, name := range more {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// forget writes the tombstones of a person's names in databases, and deletes the rows that have them. Once a tombstone
// is committed, no transaction stores such a name.
func (r *runner) forget(ctx context.Context, e *Erasure) error {
	for _, t := range e.aliases() {
		for _, s := range r.stores {
			if !s.sql {
				continue // done in its second pass
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

// finder looks up a person by one of their ids.
type finder func(ctx context.Context, fleet, person string) (*identity.Person, error)

// names returns all names that the erasure is about.
func (e *Erasure) names() []string {
	return slices.DeleteFunc(append([]string{e.Device, e.Person}, append(slices.Clone(e.Devices), e.Aliases...)...),
		func(name string) bool { return name == "" })
}

// without replaces the names in a text.
func (e *Erasure) without(text, instead string) string {
	for _, name := range e.names() {
		text = tombstone.Without(text, name, instead)
	}
	return text
}
