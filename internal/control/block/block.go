// Package block keeps which devices and users of a fleet may not send events for a time: since when, until when, why
// and by whom. A person sets a block, or a rule's result does. A block ends by itself at its time. The package
// imports no room of plugins.
package block

import (
	"errors"
	"fmt"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/platform/text"
)

// Kind is the kind of a subject.
type Kind string

// The kinds. A subject is named as events name it when the gate judges them: if the privacy processor replaces ids
// with tokens, by the token.
const (
	Device Kind = "device"
	User   Kind = "user"
)

// Block says that events of a subject are refused until a time.
type Block struct {
	ID      string    `json:"id"` // a rule's block has the id of the result, so that a redelivered result blocks once
	Kind    Kind      `json:"kind"`
	Subject string    `json:"subject"`
	Until   time.Time `json:"until"`
	Reason  string    `json:"reason,omitempty"`
	Rule    string    `json:"rule,omitempty"` // the rule whose result set it
	By      string    `json:"by"`             // id of an API key, a person, a local user, or rule:NAME
	At      time.Time `json:"at"`

	LiftedBy string     `json:"lifted_by,omitempty"`
	LiftedAt *time.Time `json:"lifted_at,omitempty"`
}

// The errors that callers distinguish.
var (
	errInvalid  = errors.New("invalid block")
	errNotFound = errors.New("nothing blocks the subject")
)

// The bounds.
const (
	maxSubject = 256
	maxReason  = 256
	maxInForce = 100_000 // per fleet: each gate holds them in memory
	longest    = 366 * 24 * time.Hour
)

// valid checks the kind and name of a subject.
func (k Kind) valid(subject string) error {
	if k != Device && k != User {
		return fmt.Errorf("%w: the kind is %q: expected %s or %s", errInvalid, k, Device, User)
	}
	if !text.Plain(subject, maxSubject) {
		return fmt.Errorf("%w: the subject must be 1 to %d bytes of text", errInvalid, maxSubject)
	}
	return nil
}

// valid checks a block that somebody asks for at the time now.
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

// Told is a rule's result that blocks a device or a user, or withdraws such a result.
type Told struct {
	ID       string // id of the result
	Revision int64
	Rule     string
	Fleet    string
	Device   string
	User     string // the user to block; "": block the device
	Reason   string
	For      time.Duration
	At       time.Time // end of the result's window
	Back     bool      // the result is withdrawn
}

// Subject returns whom the result blocks: the user, or the device when there is no valid user name.
func (t *Told) Subject() (Kind, string) {
	if t.User != "" && User.valid(t.User) == nil {
		return User, t.User
	}
	return Device, t.Device
}

// By returns the value of Block.By for the rule's blocks.
func (t *Told) By() string { return "rule:" + t.Rule }

// Noted says what became of results, by their index.
type Noted struct {
	Acts []int // results that the store now reflects
	Full int   // number of results left out because the fleet has reached its maximum of blocks
}
