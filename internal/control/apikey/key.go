// Package apikey creates, stores and checks API keys and says what each may do: routes.go is the one table of what
// every endpoint requires. A key belongs to a fleet (the tenant) or administers all of them. Its text is shown once;
// the store holds only a hash of it.
package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Key is all that is stored of a key: not its text.
type Key struct {
	ID     string  `json:"id"` // the part of the text by which people name the key
	Fleet  string  `json:"fleet,omitempty"`
	Scopes []Scope `json:"scopes"`
	Admin  bool    `json:"admin"` // has the scope admin
	// DevicePrefix restricts which devices the key may send for and read; "" allows all.
	DevicePrefix string     `json:"device_prefix,omitempty"`
	Name         string     `json:"name,omitempty"` // a note for people
	CreatedAt    time.Time  `json:"created_at"`
	ExpiresAt    *time.Time `json:"expires_at"`
	RevokedAt    *time.Time `json:"revoked_at"`
	LastUsedAt   *time.Time `json:"last_used_at"`          // to about a minute
	ReplacedBy   string     `json:"replaced_by,omitempty"` // the id of the key that replaced it in a rotation

	// Person is set instead of an id when the caller sent a token; nil for an API key.
	Person *Person `json:"-"`

	hash [sha256.Size]byte
}

// Allows tells whether the key has a scope. An admin key has all scopes but Ingest, since events belong to a fleet.
func (k *Key) Allows(s Scope) bool {
	switch s {
	case Anyone:
		return true
	case AnyKey:
		return k.Person == nil || len(k.Person.Roles) > 0
	case Ingest:
		return k.Fleet != "" && slices.Contains(k.Scopes, Ingest)
	}
	return k.Admin || slices.Contains(k.Scopes, s)
}

// Covers tells whether the key may send for a device and read it.
func (k *Key) Covers(device string) bool { return strings.HasPrefix(device, k.DevicePrefix) }

// active tells whether the key is neither revoked nor expired at now.
func (k *Key) active(now time.Time) bool {
	return k.RevokedAt == nil && (k.ExpiresAt == nil || now.Before(*k.ExpiresAt))
}

// State returns "active", "revoked" or "expired".
func (k *Key) State(now time.Time) string {
	switch {
	case k.RevokedAt != nil:
		return "revoked"
	case !k.active(now):
		return "expired"
	}
	return "active"
}

// accepts returns nil when text is this key's text and the key is active.
func (k *Key) accepts(text string, now time.Time) error {
	switch {
	case !k.matches(hashOf(text)):
		return ErrUnknown
	case !k.active(now):
		return &endedError{k.ID, k.State(now)}
	}
	return nil
}

func (k *Key) matches(hash [sha256.Size]byte) bool {
	return subtle.ConstantTimeCompare(k.hash[:], hash[:]) == 1
}

// The text of a key is weir_<id>_<secret>: 10 and 52 characters of base32, of
// which the secret holds 256 random bits.
const (
	textPrefix = "weir_"
	idLen      = 10
	secretLen  = 52
	textLen    = len(textPrefix) + idLen + 1 + secretLen
)

const alphabet = "abcdefghijklmnopqrstuvwxyz234567"

// newText makes a random key text and the id in it.
func newText() (id, text string) {
	enc := base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)
	var raw [7 + 32]byte
	_, _ = rand.Read(raw[:])
	id = enc.EncodeToString(raw[:7])[:idLen]
	return id, textPrefix + id + "_" + enc.EncodeToString(raw[7:])
}

// idOf returns the id in a key's text, or false when the text does not have the form of a key; such a text is refused
// without a query.
func idOf(text string) (string, bool) {
	if len(text) != textLen || !strings.HasPrefix(text, textPrefix) || text[len(textPrefix)+idLen] != '_' {
		return "", false
	}
	for i := len(textPrefix); i < len(text); i++ {
		if c := text[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') && i != len(textPrefix)+idLen {
			return "", false
		}
	}
	return text[len(textPrefix) : len(textPrefix)+idLen], true
}

func hashOf(text string) [sha256.Size]byte { return sha256.Sum256([]byte(text)) }

// ValidFleet checks the name of a fleet, which appears in keys, paths and metric labels.
func ValidFleet(fleet string) error {
	ok := len(fleet) > 0 && len(fleet) <= 64 && fleet[0] != '.'
	for i := 0; i < len(fleet); i++ {
		c := fleet[i]
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-')
	}
	if !ok {
		return fmt.Errorf("%w: the fleet must be 1 to 64 of letters, digits, '.', '_' and '-', not starting with '.'",
			errInvalid)
	}
	return nil
}

// endedError is the error of a key that was revoked or has expired; unlike an unknown key, it can be named in logs.
type endedError struct {
	id    string
	state string
}

func (e *endedError) Error() string { return "the API key " + e.id + " is " + e.state }
func (e *endedError) Unwrap() error { return ErrUnknown }

// The errors that callers distinguish.
var (
	ErrUnknown     = errors.New("the API key is unknown, revoked or expired")
	errUnavailable = errors.New("the API key cannot be checked now")
	errNotFound    = errors.New("no such API key")
	errInvalid     = errors.New("invalid request")
)
