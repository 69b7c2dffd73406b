package identity

import (
	"slices"
	"strings"
	"time"
)

// Claim is the statement, by an event or an administrator, that an anonymous id belongs to a user.
type Claim struct {
	Anonymous  string    `json:"anonymous_id"`
	User       string    `json:"user_id"`
	At         time.Time `json:"at"`                    // when the event happened
	Version    int64     `json:"version"`               // the fleet's version of aliases in which it was recorded
	Source     string    `json:"source,omitempty"`      // where it was made
	RecordedBy string    `json:"recorded_by,omitempty"` // the public id of an API key, a user at the command line, or a stream
	RecordedAt time.Time `json:"recorded_at"`
}

// before orders claims by time, then by user id. The first claim decides, so the owner does not depend on the order
// in which events arrive.
func (c Claim) before(o Claim) int {
	if n := c.At.Compare(o.At); n != 0 {
		return n
	}
	return strings.Compare(c.User, o.User)
}

// Claims are all claims of one anonymous id.
type Claims []Claim

// known returns the claims recorded up to a version of the aliases; version 0 means now.
func (all Claims) known(version int64) Claims {
	if version == 0 {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(c Claim) bool { return c.Version > version })
}

// Owner returns the user that an anonymous id belongs to at a version (0: now), or "" while nobody has claimed it.
// The first user who claims the id owns it and all its history; a user who claims it later, as on a shared device,
// does not.
func (all Claims) Owner(version int64) string {
	all = all.known(version)
	if len(all) == 0 {
		return ""
	}
	return slices.MinFunc(all, Claim.before).User
}

// contested tells whether more than one user claims the anonymous id.
func (all Claims) contested(version int64) bool {
	all = all.known(version)
	return slices.ContainsFunc(all, func(c Claim) bool { return c.User != all[0].User })
}

// tells tells whether a claim adds something: a new user, or an earlier time for a known one.
func (all Claims) tells(c Claim) bool {
	return !slices.ContainsFunc(all, func(o Claim) bool { return o.User == c.User && !o.At.After(c.At) })
}

// room tells whether a claim may be kept. When an id has maxClaims claims, only one that would change the owner is.
func (all Claims) room(c Claim) bool {
	return len(all) < maxClaims || c.before(slices.MinFunc(all, Claim.before)) < 0
}

// Change says that an anonymous id has a new owner: what was counted for Before ("" for nobody) counts for After.
type Change struct {
	Anonymous string `json:"anonymous_id"`
	Before    string `json:"before,omitempty"`
	After     string `json:"after"`
	Version   int64  `json:"version"`
}
