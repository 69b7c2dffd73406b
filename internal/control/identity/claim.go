package identity

import (
	"slices"
	"strings"
	"time"
)

// Claim is what a person's events, or somebody who looks after them, said: that
// whoever has this anonymous id is that user.
type Claim struct {
	Anonymous  string    `json:"anonymous_id"`
	User       string    `json:"user_id"`
	At         time.Time `json:"at"`                    // when it happened
	Version    int64     `json:"version"`               // of the fleet's aliases: since when it is known here
	Source     string    `json:"source,omitempty"`      // where it was said
	RecordedBy string    `json:"recorded_by,omitempty"` // the public id of an API key, a user at the command line, or a stream
	RecordedAt time.Time `json:"recorded_at"`
}

// before is the order in which claims count: the earliest first, and of two of one
// moment that of the user whose id is less. It does not ask when they were
// recorded: whatever order events come in, the same claim is the first.
func (c Claim) before(o Claim) int {
	if n := c.At.Compare(o.At); n != 0 {
		return n
	}
	return strings.Compare(c.User, o.User)
}

// Claims are all of one anonymous id.
type Claims []Claim

// known are those that were known at a version of the aliases; 0 is now.
func (all Claims) known(version int64) Claims {
	if version == 0 {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(c Claim) bool { return c.Version > version })
}

// Owner is the user that an anonymous id belongs to, as it was known at a version;
// 0 is now. The first who claims it has it, with all that it ever did: another user
// who claims it later - on a shared device - does not get it, and the two users
// stay two. It is "" while nobody has claimed it.
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

// tells tells whether a claim says something that the others do not: that a user
// has the anonymous id, or has had it for longer.
func (all Claims) tells(c Claim) bool {
	return !slices.ContainsFunc(all, func(o Claim) bool { return o.User == c.User && !o.At.After(c.At) })
}

// room tells whether there is room for a claim. Where too many users claim one id,
// only one who would be its owner matters any more.
func (all Claims) room(c Claim) bool {
	return len(all) < maxClaims || c.before(slices.MinFunc(all, Claim.before)) < 0
}

// Change is an anonymous id that came to another owner: what was counted for Before,
// "" for nobody, is to be counted for After.
type Change struct {
	Anonymous string `json:"anonymous_id"`
	Before    string `json:"before,omitempty"`
	After     string `json:"after"`
	Version   int64  `json:"version"`
}
