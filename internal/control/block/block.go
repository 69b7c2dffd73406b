// Package block keeps who may not send events for a time: a device or a user of a
// fleet, since when, until when, why and by whom. Somebody says so, or a rule whose
// results do. What ends, ends by itself, at its time. It is a leaf: it imports no
// room.
package block

import (
	"errors"
	"fmt"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/platform/text"
)

// Kind is what a subject is.
type Kind string

// The kinds. Subjects are named as events name them when they are judged: where
// the processor privacy makes a token of an id, the token.
const (
	Device Kind = "device"
	User   Kind = "user"
)

// Block says that events of a subject are refused until a time.
type Block struct {
	ID      string    `json:"id"` // of a rule's, that of the result: what is told twice blocks once
	Kind    Kind      `json:"kind"`
	Subject string    `json:"subject"`
	Until   time.Time `json:"until"`
	Reason  string    `json:"reason,omitempty"`
	Rule    string    `json:"rule,omitempty"` // whose result it is
	By      string    `json:"by"`             // id of an API key, a person, a user at the command line, or rule:NAME
	At      time.Time `json:"at"`

	LiftedBy string     `json:"lifted_by,omitempty"`
	LiftedAt *time.Time `json:"lifted_at,omitempty"`
}

// The errors that callers tell apart.
var (
	errInvalid  = errors.New("invalid block")
	errNotFound = errors.New("nothing blocks the subject")
)

// The bounds.
const (
	maxSubject = 256
	maxReason  = 256
	maxInForce = 100_000 // of a fleet: each gate has them in memory
	longest    = 366 * 24 * time.Hour
)

// valid says what is wrong with a subject.
func (k Kind) valid(subject string) error {
	if k != Device && k != User {
		return fmt.Errorf("%w: the kind is %q: expected %s or %s", errInvalid, k, Device, User)
	}
	if !text.Plain(subject, maxSubject) {
		return fmt.Errorf("%w: the subject must be 1 to %d bytes of text", errInvalid, maxSubject)
	}
	return nil
}

// valid says what is wrong with a block that somebody wishes at a time.
func (b *Block) valid(fleet string, now time.Time) error {
	var wrong error
	if !b.Until.After(now) || b.Until.After(now.Add(longest)) {
		wrong = fmt.Errorf("%w: until must be ahead, and at most %d days", errInvalid, longest/(24*time.Hour))
	}
	if !text.Plain(b.Reason, maxReason) {
		wrong = errors.Join(wrong, fmt.Errorf("%w: give a reason, a line of at most %d bytes, for those who read it later",
			errInvalid, maxReason))
	}
	if err := errors.Join(apikey.ValidFleet(fleet), b.Kind.valid(b.Subject), wrong); err != nil {
		return fmt.Errorf("%w: %w", errInvalid, err)
	}
	return nil
}

// Told is a result of a rule that blocks a device, or a user of it, or takes back that
// it does.
type Told struct {
	ID       string // of the result
	Revision int64
	Rule     string
	Fleet    string
	Device   string
	User     string // whom it blocks; "": the device
	Reason   string
	For      time.Duration
	At       time.Time // the end of what the result is of
	Back     bool      // what was told is not so
}

// Subject is whom it blocks: of a name that no block can have, the device.
func (t *Told) Subject() (Kind, string) {
	if t.User != "" && User.valid(t.User) == nil {
		return User, t.User
	}
	return Device, t.Device
}

// By is who blocks by it.
func (t *Told) By() string { return "rule:" + t.Rule }

// Noted is what became of results, by their place.
type Noted struct {
	Acts []int // what is in the store as they say
	Full int   // that were left out, since the fleet has as many blocks as it may
}
