// Package erasure erases a device, a person or a fleet: everything that was received of it up to a moment is deleted
// from every store, and records that are still in flight do not restore it. Erasures are rows of the control store;
// the input erasure_jobs executes them and leaves a receipt.
//
// A crash leaves an erasure whose lease expires. The next process repeats its step: each step deletes what is left,
// and counts it in the same transaction.
package erasure

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/control/identity"
	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
)

// State is the state of an erasure.
type State string

// The states.
const (
	Queued  State = "queued"
	Running State = "running"
	Held    State = "held"    // a legal hold was set while it ran: it continues when the hold is released
	Done    State = "done"    // everything is erased, and stays so
	Refused State = "refused" // there was a legal hold before anything was deleted
)

// Ended reports whether the erasure is finished.
func (s State) Ended() bool { return s == Done || s == Refused }

// Spec describes what to erase.
type Spec struct {
	Fleet string `json:"fleet"`
	// Device is one device of the fleet. Once an erasure has ended, its receipt has the subject instead.
	Device string `json:"device_id,omitempty"`
	// Person is a user's id or an anonymous id, as stored events have it. All devices on which the person was seen are
	// erased, and all aliases.
	Person string `json:"person,omitempty"`
	// SharedDevices allows erasing devices on which other persons were seen too.
	SharedDevices bool   `json:"shared_devices,omitempty"`
	WholeFleet    bool   `json:"whole_fleet,omitempty"` // required if there is no device and no person
	Reason        string `json:"reason"`
	DryRun        bool   `json:"dry_run,omitempty"` // count only, and delete nothing
}

const maxReason = 1000

// check refuses a Spec that cannot be executed.
func (s *Spec) check() error {
	if s.Fleet == "" {
		return errors.New("fleet: name the fleet whose device, or all of which, is to be erased")
	}
	if err := apikey.ValidFleet(s.Fleet); err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	switch {
	case s.Device != "" && !event.ValidDevice(s.Device):
		return fmt.Errorf("device_id: %q is no device_id", s.Device)
	case s.Device != "" && s.WholeFleet:
		return errors.New("whole_fleet: name a device or the whole fleet, not both")
	case s.Person != "" && (s.WholeFleet || s.Device != ""):
		return errors.New("person: name a person, a device or the whole fleet, one of them")
	case s.Person != "" && identity.ValidID("person", s.Person) != nil:
		return fmt.Errorf("person: %w", identity.ValidID("person", s.Person))
	case s.SharedDevices && s.Person == "":
		return errors.New("shared_devices: it is about a person's: name the person")
	case s.Device == "" && s.Person == "" && !s.WholeFleet:
		return errors.New(`device_id: name a device, or a person; "whole_fleet": true erases the fleet with all its devices`)
	case strings.TrimSpace(s.Reason) == "":
		return errors.New("reason: say why, for those who read the receipt later")
	case len(s.Reason) > maxReason:
		return fmt.Errorf("reason: at most %d bytes", maxReason)
	}
	return nil
}

// phase is the next step of an erasure.
type phase string

const (
	begin  phase = "begin"  // write the tombstones, delete the present rows
	more   phase = "more"   // as begin, for devices of a person that were found later
	settle phase = "settle" // delete what writers have written that began before they knew the tombstones
	scrub  phase = "scrub"  // remove the deleted data from database files
	ended  phase = "ended"
)

// Progress is the progress of an erasure.
type Progress struct {
	Step  int    `json:"step"`
	Steps int    `json:"steps"`
	Doing string `json:"doing,omitempty"`
}

// Erasure is an erasure with its progress, or its receipt when it is done.
type Erasure struct {
	ID    string `json:"id"`
	State State  `json:"state"`
	Error string `json:"error,omitempty"` // why it waits or was refused
	Spec
	// Devices and Aliases are those of a person, until the erasure has ended.
	Devices    []string `json:"devices,omitempty"`
	Aliases    []string `json:"aliases,omitempty"`
	OfDevices  int      `json:"of_devices,omitempty"` // the number of Devices
	OfAliases  int      `json:"of_aliases,omitempty"`
	SharedLeft int      `json:"shared_devices_left,omitempty"` // shared devices that were found after others had been erased
	// Subject identifies the device or person to people who know its name: the SHA-256 of "weir erased", a zero byte,
	// the fleet, a zero byte and the name.
	Subject   string     `json:"subject,omitempty"`
	CreatedBy string     `json:"created_by,omitempty"` // the public id of the key
	CreatedAt time.Time  `json:"created_at"`
	Until     *time.Time `json:"until"` // everything received until then is erased
	DueBy     *time.Time `json:"due_by"`
	StartedAt *time.Time `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at"`
	Progress  Progress   `json:"progress"`
	// Erased counts what was deleted, by kind; in a dry run, what would be deleted.
	Erased    map[string]int64 `json:"erased"`
	Recounted int64            `json:"recounted_events"` // events received later, which were counted again in windows that also had erased ones
	// Remains describes, for each store, sums that counted erased events and stay, and why they identify nobody.
	Remains []string `json:"remains,omitempty"`
	// LogClearBy is when the retention of the log has deleted the last record, because single records of a log cannot be
	// deleted.
	LogClearBy    *time.Time `json:"log_clear_by"`
	ClaimsClearBy *time.Time `json:"claims_clear_by"` // when the claims of its events' ids have expired

	phase   phase
	buried  int64     // microseconds since 1970: when all stores had the tombstone
	changed time.Time // when the row was last written, by the clock of the process
}

func (e *Erasure) target() tombstone.Target {
	return tombstone.Target{Job: e.ID, Fleet: e.Fleet, Device: e.Device, Until: e.Until.UnixMicro(), Buried: e.buried}
}

// nameless removes the names of the device or person from the stored row.
func (e *Erasure) nameless() {
	e.Reason = e.without(e.Reason, "(erased)")
	e.Device, e.Person, e.Devices, e.Aliases = "", "", nil, nil
}
