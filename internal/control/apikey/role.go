package apikey

import (
	"cmp"
	"slices"
	"strings"

	"weir/internal/platform/httpx"
)

// Role is what a person is, where people come with tokens of an issuer instead
// of keys. The roles are a closed list; each has scopes.
type Role string

// The roles. Routes.Also says where a role is let in beside its scopes.
const (
	Viewer         Role = "viewer"          // sees what is summed and counted, and no event
	Analyst        Role = "analyst"         // reads events, dead letters and results too: the scope query
	Operator       Role = "operator"        // looks after fleets, too: query and operate
	PrivacyOfficer Role = "privacy_officer" // reads, and has consents, erasures, holds and the audit log
	Administrator  Role = "admin"           // the scope admin, who must be of all fleets
	Sender         Role = "sender"          // a program that sends events of its one fleet: ingest
)

// AllFleets is the name that stands for all fleets of a person.
const AllFleets = "*"

// Roles lists them.
func Roles() []Role { return []Role{Viewer, Analyst, Operator, PrivacyOfficer, Administrator, Sender} }

// scopes are those of a role.
func (r Role) scopes(everywhere bool) []Scope {
	switch r {
	case Analyst, PrivacyOfficer:
		return []Scope{Query}
	case Operator:
		return []Scope{Query, Operate}
	case Administrator:
		if everywhere {
			return []Scope{Admin}
		}
		return []Scope{Query, Operate} // of some fleets: there is no such administrator
	case Sender:
		return []Scope{Ingest}
	}
	return nil
}

// Person is a caller who came with a token instead of a key.
type Person struct {
	Name   string // as the audit log names who it was
	Roles  []Role
	Fleets []string // AllFleets is all
}

// Key is what the person may do, as if it were a key.
func (p Person) Key() *Key {
	k := &Key{Person: &p}
	everywhere := slices.Contains(p.Fleets, AllFleets)
	for _, s := range scopes() {
		if slices.ContainsFunc(p.Roles, func(r Role) bool { return slices.Contains(r.scopes(everywhere), s) }) {
			k.Scopes = append(k.Scopes, s)
		}
	}
	k.Admin = slices.Contains(k.Scopes, Admin)
	if len(p.Fleets) == 1 && !everywhere {
		k.Fleet = p.Fleets[0]
	}
	return k
}

// Caller names who has the key: its id, or the person.
func (k *Key) Caller() string {
	if k.Person != nil {
		return k.Person.Name
	}
	return k.ID
}

// Everywhere tells whether it is for all fleets.
func (k *Key) Everywhere() bool {
	return k.Admin || k.Person != nil && slices.Contains(k.Person.Fleets, AllFleets)
}

// Is tells whether a person has one of some roles.
func (k *Key) Is(roles ...Role) bool {
	return k.Person != nil && slices.ContainsFunc(roles, func(r Role) bool { return slices.Contains(k.Person.Roles, r) })
}

// may tells whether the route lets the caller in, whatever the fleet.
func (k *Key) may(to Route) bool { return k.Allows(to.Scope) || k.Is(to.Also...) }

// ofFleet is the key of a person for one of the fleets, which all that is asked
// then is about.
func (k *Key) ofFleet(fleet string) *Key {
	if k.Person == nil || k.Everywhere() || k.Fleet == fleet {
		return k
	}
	one := *k
	one.Fleet = fleet
	return &one
}

// reaches tells whether the caller may name the fleet.
func (k *Key) reaches(fleet string) bool {
	return fleet == k.Fleet || k.Everywhere() || k.Person != nil && slices.Contains(k.Person.Fleets, fleet)
}

// who is how refusals name the caller.
func (k *Key) who() string {
	if k.Person != nil {
		return "the person"
	}
	return "the key"
}

// lacksRole is the refusal of a person.
func (k *Key) lacksRole(s Scope) *Refusal {
	names := make([]string, len(k.Person.Roles))
	for i, r := range k.Person.Roles {
		names[i] = string(r)
	}
	r := k.forbidden("your roles are " + cmp.Or(strings.Join(names, ", "), "none") + "; this needs one with the scope " +
		string(s))
	r.problem.Extra = map[string]any{"missing_scope": s}
	r.Detail = k.who() + " lacks the scope " + string(s)
	return r
}

// TokenError is the error of a token that is refused, and why: a text of ours,
// which holds nothing of the token.
type TokenError struct{ Why string }

func (e *TokenError) Error() string { return "the token " + e.Why }
func (e *TokenError) Unwrap() error { return ErrUnknown }

// refusedToken is the refusal of a token.
func refusedToken(e *TokenError) Refusal {
	return Refusal{Reason: ReasonUnauthorized, Detail: e.Error(), problem: httpx.Problem{Type: "unauthorized",
		Status: 401, Title: "A valid token is required", Detail: e.Error() + ": get a new one from the issuer"}}
}
