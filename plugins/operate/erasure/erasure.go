// Package erasure forgets a device, or a fleet: everything that was received of
// it up to a moment leaves every store, and nothing that is on its way brings it
// back. Erasures are rows of the control store; the input erasure_jobs carries
// them out, and leaves a receipt.
//
// What a crash leaves: an erasure whose lease ends. Whoever takes it up does its
// step again: each deletes what is there, and counts it with the deletion.
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

// State is where an erasure is in its life.
type State string

// The states.
const (
	Queued  State = "queued"
	Running State = "running"
	Held    State = "held"    // a legal hold came while it ran: it goes on when that is released
	Done    State = "done"    // everything is erased, and stays so
	Refused State = "refused" // a legal hold was there before anything was deleted
)

// Ended tells whether the erasure does nothing more.
func (s State) Ended() bool { return s == Done || s == Refused }

// Spec is what an erasure was asked to do.
type Spec struct {
	Fleet string `json:"fleet"`
	// Device is one device of the fleet. A receipt of an erasure that has ended
	// does not name it: it has the subject.
	Device string `json:"device_id,omitempty"`
	// Person is somebody by the id of a user or an anonymous one, as events have it
	// when they are stored. All devices where they were seen go, and all their aliases.
	Person string `json:"person,omitempty"`
	// SharedDevices says that devices may go where others were seen, too.
	SharedDevices bool   `json:"shared_devices,omitempty"`
	WholeFleet    bool   `json:"whole_fleet,omitempty"` // required without a device or a person
	Reason        string `json:"reason"`
	DryRun        bool   `json:"dry_run,omitempty"` // count, delete nothing
}

const maxReason = 1000

// check refuses what nobody could carry out.
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

// phase is the next thing to do for an erasure.
type phase string

const (
	begin  phase = "begin"  // bury the tombstones, delete what there is
	more   phase = "more"   // as begin: devices of a person were found that were not known before
	settle phase = "settle" // delete what writers had begun before they knew
	scrub  phase = "scrub"  // free the files of what is deleted
	ended  phase = "ended"
)

// Progress is how far an erasure has come.
type Progress struct {
	Step  int    `json:"step"`
	Steps int    `json:"steps"`
	Doing string `json:"doing,omitempty"`
}

// Erasure is an erasure and how it goes; once it is done, its receipt.
type Erasure struct {
	ID    string `json:"id"`
	State State  `json:"state"`
	Error string `json:"error,omitempty"` // what keeps it waiting, or why it was refused
	Spec
	// Devices and Aliases are a person's, until the erasure has ended.
	Devices    []string `json:"devices,omitempty"`
	Aliases    []string `json:"aliases,omitempty"`
	OfDevices  int      `json:"of_devices,omitempty"` // how many there were
	OfAliases  int      `json:"of_aliases,omitempty"`
	SharedLeft int      `json:"shared_devices_left,omitempty"` // that were found when others had gone already
	// Subject names the device or person for those who know its name: the SHA-256 of
	// "weir erased", a zero byte, the fleet, a zero byte and the name.
	Subject   string     `json:"subject,omitempty"`
	CreatedBy string     `json:"created_by,omitempty"` // the public id of the key
	CreatedAt time.Time  `json:"created_at"`
	Until     *time.Time `json:"until"` // everything received up to then goes
	DueBy     *time.Time `json:"due_by"`
	StartedAt *time.Time `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at"`
	Progress  Progress   `json:"progress"`
	// Erased counts what was deleted, by what it was; of a dry run, what there is.
	Erased    map[string]int64 `json:"erased"`
	Recounted int64            `json:"recounted_events"` // received later, and counted again into windows that had both
	// Remains says of each store in which sums stay that counted it what they are, and why
	// they name nobody.
	Remains []string `json:"remains,omitempty"`
	// LogClearBy is when the log's own retention has deleted the last record:
	// no record of a log can be deleted alone.
	LogClearBy    *time.Time `json:"log_clear_by"`
	ClaimsClearBy *time.Time `json:"claims_clear_by"` // the ids of its events, which the dedupe keeps

	phase   phase
	buried  int64     // microseconds since 1970: when all stores had the tombstone
	changed time.Time // when the row was last written, by the clock of the process
}

func (e *Erasure) target() tombstone.Target {
	return tombstone.Target{Job: e.ID, Fleet: e.Fleet, Device: e.Device, Until: e.Until.UnixMicro(), Buried: e.buried}
}

// nameless takes the names of the device or person out of what is kept.
func (e *Erasure) nameless() {
	e.Reason = e.without(e.Reason, "(erased)")
	e.Device, e.Person, e.Devices, e.Aliases = "", "", nil, nil
}
